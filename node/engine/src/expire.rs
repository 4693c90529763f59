//! Shards whose upload died: collected when their lease has run out and enough siblings
//! say that nobody committed the stripe. One commit found anywhere keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{PairId, ShardIndex, StripeId};
use defs_core::message::{Request, Response, ShardKey};
use defs_core::port::{Change, Disk, Peers, ShardState, StoredShard};
use defs_core::statement::{Commit, Signed};
use defs_identity::authorise;

use crate::config::World;
use crate::engine::Engine;
use crate::keep::distinct;
use crate::locate::Patience;

/// Shards looked at in one step of the scan.
const PAGE: usize = 256;

/// What siblings know of a stripe.
enum Siblings {
    Committed(Signed<Commit>),
    Deleted,
    /// The distinct indices whose holders know of no commit.
    Uncommitted(Vec<ShardIndex>),
}

impl<W: World> Engine<W> {
    /// One pass over all shards that are held without a commit.
    pub(crate) async fn expire(self: Arc<Self>) {
        let deadline = self.lease_clock().saturating_sub(self.config.timings.lease_grace);
        let mut after = None;
        loop {
            let page = match self.disk.shards_after(after, PAGE).await {
                Ok(page) => page,
                Err(error) => return self.note_failure(Err(error)),
            };
            let Some((last, _)) = page.last() else { return };
            after = Some(*last);
            for (stripe, shards) in expired(page, deadline) {
                self.settle(stripe, shards).await;
            }
        }
    }

    async fn settle(&self, stripe: StripeId, shards: Vec<(ShardKey, StoredShard)>) {
        let Some((_, first)) = shards.first() else { return };
        let descriptor = &first.head.descriptor.body;
        let mine = shards.iter().map(|(key, _)| key.index).collect();
        let changes = match self.ask_siblings(stripe, first, mine).await {
            Siblings::Committed(commit) => shards
                .into_iter()
                .map(|(key, stored)| {
                    let state = ShardState { commit: Some(commit.clone()), ..stored.state };
                    Change::ShardState(key, state)
                })
                .collect(),
            Siblings::Deleted => shards.iter().map(|(key, _)| Change::DeleteShard(*key)).collect(),
            Siblings::Uncommitted(indices) => {
                // With so many against it, fewer than k can be left that say otherwise.
                let enough = descriptor.geometry.total() - descriptor.geometry.data() + 1;
                if indices.len() < enough {
                    return;
                }
                tracing::info!(%stripe, shards = shards.len(), "an unfinished upload is collected");
                shards.iter().map(|(key, _)| Change::DeleteShard(*key)).collect()
            }
        };
        self.note_failure(self.disk.apply(changes).await);
    }

    async fn ask_siblings(
        &self,
        stripe: StripeId,
        stored: &StoredShard,
        mut uncommitted: Vec<ShardIndex>,
    ) -> Siblings {
        let tag = &stored.head.descriptor.body.tag;
        let mut pairs: BTreeSet<PairId> = stored.head.watched.iter().map(|one| one.pair).collect();
        let locator = stripe_locator(&self.network, tag);
        if let Ok(found) = self.broadcast(locator, Patience::AllAnswers).await {
            pairs.extend(found);
        }
        for member in pairs.iter().filter_map(|pair| self.membership.pair(pair)) {
            for node in member.record.members.into_iter().filter(|node| *node != self.me) {
                let answer =
                    self.peers.call(node, Request::StripeStatus { stripe }, Body::empty()).await;
                let Ok(Response::Stripe { indices, commit, deleted }) =
                    answer.map(|reply| reply.response)
                else {
                    continue;
                };
                if deleted {
                    return Siblings::Deleted;
                }
                if let Some(commit) = commit.filter(|commit| self.is_genuine(commit, stored)) {
                    return Siblings::Committed(commit);
                }
                uncommitted.extend(indices);
            }
        }
        Siblings::Uncommitted(distinct(uncommitted))
    }

    fn is_genuine(&self, commit: &Signed<Commit>, stored: &StoredShard) -> bool {
        let descriptor = &stored.head.descriptor.body;
        let now = self.unix_time();
        commit.body.stripe == descriptor.id()
            && authorise(commit, &descriptor.lock, &self.network, now, &self.checker).is_ok()
    }
}

fn expired(
    page: Vec<(ShardKey, StoredShard)>,
    deadline: Duration,
) -> BTreeMap<StripeId, Vec<(ShardKey, StoredShard)>> {
    let mut stripes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, stored) in page {
        if stored.state.commit.is_none() && stored.state.lease_until < deadline {
            stripes.entry(key.stripe).or_default().push((key, stored));
        }
    }
    stripes
}
