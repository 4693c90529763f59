//! Siblings hand deletions on. The owner tells every pair that it reaches; a pair that was
//! away would keep its shards of a deleted stripe for ever, since they are committed. So
//! whoever is told by the owner tells the pairs of the siblings that its shards watch,
//! until they have heard it. Each pair is watched by two others.
//!
//! A pair that has heard it already holds nothing of the stripe and says so at once, so a
//! tombstone goes round once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::{NodeId, PairId, StripeId};
use defs_core::message::Request;
use defs_core::port::{CallError, Change, Disk, Peers, StateKey};
use defs_core::statement::{Signed, Tombstone};
use defs_core::stripe::{ShardHead, Watched};

use crate::config::World;
use crate::engine::Engine;

/// Between two looks for what is to be handed on.
pub(crate) const EVERY: Duration = Duration::from_secs(30);

/// How long a pair that can't be reached is tried, in this node's own time. A pair that
/// is away for longer is as good as lost.
const PATIENCE: Duration = Duration::from_hours(30 * 24);

/// Tombstones looked at in one step.
const STEP: usize = 4096;

/// Tombstones in one request: with the longest signatures, well within a message.
const REQUEST: usize = 64;

/// Pairs that one tombstone is for at most: of 200 shards, each watching two.
const PAIRS_MAX: usize = 400;

/// A tombstone and the pairs that have not heard it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tell {
    tombstone: Signed<Tombstone>,
    pairs: Vec<PairId>,
    /// When to give up, by this node's own time.
    until_ms: u64,
}

impl Format for Tell {
    const NAME: &'static str = "a tombstone to hand on";

    fn write(&self, out: &mut Writer) {
        self.tombstone.write_versioned(out);
        out.list(&self.pairs, |out, pair| out.raw(&pair.0));
        out.u64(self.until_ms);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            tombstone: Signed::read_versioned(input)?,
            pairs: input.list("pairs", PAIRS_MAX, |input| Ok(PairId(input.array("pair")?)))?,
            until_ms: input.u64("until")?,
        })
    }
}

fn key(stripe: &StripeId) -> StateKey {
    StateKey([b"tell/".as_slice(), &stripe.0].concat())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<W: World> Engine<W> {
    /// Remembers that the siblings which `heads` watch are to hear of `tombstone`.
    pub(crate) fn to_pass_on<'a>(
        &self,
        tombstone: &Signed<Tombstone>,
        heads: impl Iterator<Item = &'a Arc<ShardHead>>,
    ) -> Option<Change> {
        let own = self.membership.own_pair().map(|own| own.record.pair);
        let stripe = tombstone.body.stripe;
        // Where it was rebuilt since, as far as that was heard.
        let pairs_of = |watched: &Watched| {
            [Some(watched.pair), self.hints.moved(stripe, watched.index)].into_iter().flatten()
        };
        let watched = heads.flat_map(|head| head.watched.iter().flat_map(pairs_of));
        let pairs: BTreeSet<_> = watched.filter(|pair| Some(*pair) != own).collect();
        if pairs.is_empty() {
            return None;
        }
        let tell = Tell {
            tombstone: tombstone.clone(),
            pairs: pairs.into_iter().take(PAIRS_MAX).collect(),
            until_ms: millis(self.lease_clock().saturating_add(PATIENCE)),
        };
        Some(Change::Put(key(&tombstone.body.stripe), tell.encode()))
    }

    /// Tells those who have not heard yet.
    pub(crate) async fn pass_on(self: Arc<Self>) {
        let stored = match self.disk.scan(StateKey(b"tell/".to_vec()), STEP).await {
            Ok(stored) if !stored.is_empty() => stored,
            Ok(_) => return,
            Err(error) => return self.note_failure(Err(error)),
        };
        let tells: Vec<_> =
            stored.into_iter().map(|(key, bytes)| (key, Tell::decode(&bytes).ok())).collect();
        let told = self.tell(tells.iter().filter_map(|(_, tell)| tell.as_ref())).await;
        let now = millis(self.lease_clock());
        let changes: Vec<_> = tells
            .into_iter()
            .filter_map(|(key, tell)| match tell.map(|tell| still_to_tell(tell, &told, now)) {
                Some(Left::AsMany) => None,
                Some(Left::Fewer(tell)) => Some(Change::Put(key, tell.encode())),
                Some(Left::Nobody) | None => Some(Change::Remove(key)),
            })
            .collect();
        if !changes.is_empty() {
            self.note_failure(self.disk.apply(changes).await);
        }
    }

    /// Hands on `tells`; answers which pairs have heard theirs.
    async fn tell(&self, tells: impl Iterator<Item = &Tell>) -> BTreeSet<PairId> {
        let mut by_pair: BTreeMap<PairId, Vec<Signed<Tombstone>>> = BTreeMap::new();
        for tell in tells {
            for pair in &tell.pairs {
                by_pair.entry(*pair).or_default().push(tell.tombstone.clone());
            }
        }
        let mut told = BTreeSet::new();
        let alive = self.alive();
        for (pair, tombstones) in by_pair {
            let Some(known) = self.membership.pair(&pair) else { continue };
            for member in known.record.members.into_iter().filter(|one| alive.contains(one)) {
                if self.tell_member(member, &tombstones).await {
                    told.insert(pair);
                    break;
                }
            }
        }
        told
    }

    /// Whether `member` has heard all of `tombstones`.
    async fn tell_member(&self, member: NodeId, tombstones: &[Signed<Tombstone>]) -> bool {
        for some in tombstones.chunks(REQUEST) {
            let request = Request::Delete { tombstones: some.to_vec(), both: true };
            let answer = self.peers.call(member, request, Body::empty()).await;
            let later = |error: &CallError| {
                error.refusal().is_none_or(|refusal| refusal.reason.is_about_this_node())
            };
            // What it refuses for good now it refuses for good later.
            if let Err(error) = answer
                && later(&error)
            {
                tracing::debug!(%member, %error, "tombstones were not handed on");
                return false;
            }
        }
        true
    }
}

/// Who is still to hear of a tombstone.
enum Left {
    AsMany,
    Fewer(Tell),
    /// All have heard it, or their time is over.
    Nobody,
}

fn still_to_tell(mut tell: Tell, told: &BTreeSet<PairId>, now_ms: u64) -> Left {
    let before = tell.pairs.len();
    tell.pairs.retain(|pair| !told.contains(pair));
    if tell.pairs.is_empty() || now_ms >= tell.until_ms {
        Left::Nobody
    } else if tell.pairs.len() == before {
        Left::AsMany
    } else {
        Left::Fewer(tell)
    }
}
