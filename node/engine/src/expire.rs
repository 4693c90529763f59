//! Shards whose upload died: collected when their lease has run out and enough siblings
//! say that nobody committed the stripe. One commit found anywhere keeps it, unless another
//! pair keeps the same shard: then its client, or who rebuilt it, found another place after all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{Request, Response, ShardKey};
use defs_core::port::{Change, Disk, Peers, ShardState, StoredShard};
use defs_core::statement::{Commit, Signed};
use defs_identity::authorise;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::superseded::Word;
use crate::locate::Patience;

/// Shards looked at in one step of the scan.
const PAGE: usize = 256;

/// Pairs that are asked about one stripe. In a larger network an upload that broke off
/// early may stay until its holders are asked about more of it.
const PAIRS_ASKED_MAX: usize = 1000;

/// What siblings know of a stripe.
enum Siblings {
    Committed(Signed<Commit>),
    /// Nobody who was asked knows of a commit.
    Uncommitted {
        /// The distinct indices that their holders spoke for.
        indices: BTreeSet<ShardIndex>,
        /// Whether somebody of every pair of the network has spoken.
        all_pairs: bool,
    },
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
                self.settle(stripe, shards, deadline).await;
            }
        }
    }

    async fn settle(
        &self,
        stripe: StripeId,
        shards: Vec<(ShardKey, StoredShard)>,
        deadline: Duration,
    ) {
        let Some((_, first)) = shards.first() else { return };
        let keys: Vec<_> = shards.iter().map(|(key, _)| *key).collect();
        let descriptor = &first.head.descriptor.body;
        let mine = shards.iter().map(|(key, _)| key.index).collect();
        let changes = match self.ask_siblings(stripe, first, mine).await {
            Siblings::Committed(commit) => self.keep_what_is_needed(commit, shards, deadline).await,
            Siblings::Uncommitted { indices, all_pairs } => {
                // With so many against it, fewer than k can be left that say otherwise. An
                // upload that broke off early never had so many: then everybody must speak.
                let enough = descriptor.geometry.total() - descriptor.geometry.data() + 1;
                if indices.len() < enough && !all_pairs {
                    return;
                }
                tracing::info!(%stripe, shards = shards.len(), "an unfinished upload is collected");
                // Its owner may have come back while others were asked.
                shards.iter().map(|(key, _)| Change::ExpireShard(*key, deadline)).collect()
            }
        };
        let applied = self.disk.apply(changes).await;
        self.note_failure(applied);
        for key in keys {
            if matches!(self.disk.shard(key).await, Ok(None)) {
                self.metrics.shards_expired.one();
            }
        }
    }

    /// Keeps the shards of a finished file, but for what another pair keeps.
    async fn keep_what_is_needed(
        &self,
        commit: Signed<Commit>,
        shards: Vec<(ShardKey, StoredShard)>,
        deadline: Duration,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, stored) in shards {
            if self.is_kept_elsewhere(key, &stored).await {
                tracing::info!(stripe = %key.stripe, index = %key.index, "a copy too many is collected");
                changes.push(Change::ExpireShard(key, deadline));
            } else {
                let state = ShardState { commit: Some(commit.clone()), ..stored.state };
                changes.push(Change::ShardState(key, state));
            }
        }
        changes
    }

    /// Whether both members of another pair keep the shard and show its bytes.
    async fn is_kept_elsewhere(&self, key: ShardKey, stored: &StoredShard) -> bool {
        let others = self.membership.all_pairs().into_iter().take(PAIRS_ASKED_MAX);
        for other in others.filter(|other| other.pair != stored.state.pair) {
            let told = self.ask_about(other.clone(), stored).await;
            if told.is_some_and(|told| told.sure.contains(&key.index))
                && matches!(self.ask_members(key, stored, &other).await, Word::Kept)
            {
                return true;
            }
        }
        false
    }

    async fn ask_siblings(
        &self,
        stripe: StripeId,
        stored: &StoredShard,
        mut indices: BTreeSet<ShardIndex>,
    ) -> Siblings {
        let descriptor = &stored.head.descriptor.body;
        let bound = usize::from(descriptor.per_pair);
        let mut likely: BTreeSet<PairId> =
            stored.head.watched.iter().map(|watched| watched.pair).collect();
        let locator = stripe_locator(&self.network, &descriptor.tag);
        if let Ok(found) = self.broadcast(locator, Patience::AllAnswers).await {
            likely.extend(found);
        }
        let mut all_pairs = true;
        // Those who probably know come first: one commit ends the asking.
        let mut pairs = self.membership.all_pairs();
        pairs.sort_by_key(|pair| !likely.contains(&pair.pair));
        for pair in pairs.into_iter().take(PAIRS_ASKED_MAX) {
            let is_own = pair.role_of(&self.me).is_some();
            let (mut answered, mut spoken_for) = (is_own, BTreeSet::new());
            for node in pair.members.into_iter().filter(|node| *node != self.me) {
                let Some((held, commit)) = self.ask_holder(node, stripe).await else { continue };
                answered = true;
                if let Some(commit) = commit.filter(|commit| self.is_genuine(commit, stored)) {
                    return Siblings::Committed(commit);
                }
                spoken_for.extend(held);
            }
            // A pair speaks for what it may hold at most, and this node's partner for nothing
            // that this node doesn't: else one liar would be as good as all holders.
            if !is_own {
                indices.extend(spoken_for.into_iter().take(bound));
            }
            all_pairs &= answered;
        }
        all_pairs &= self.membership.all_pairs().len() <= PAIRS_ASKED_MAX;
        Siblings::Uncommitted { indices, all_pairs }
    }

    async fn ask_holder(
        &self,
        node: NodeId,
        stripe: StripeId,
    ) -> Option<(Vec<ShardIndex>, Option<Signed<Commit>>)> {
        let answer = self.peers.call(node, Request::StripeStatus { stripe }, Body::empty()).await;
        match answer.ok()?.response {
            Response::Stripe { indices, commit, .. } => Some((indices, commit)),
            _ => None,
        }
    }

    /// Whether the owner of `stored` wants its stripe kept.
    pub(crate) fn is_genuine(&self, commit: &Signed<Commit>, stored: &StoredShard) -> bool {
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
        if stored.state.expires_before(deadline) {
            stripes.entry(key.stripe).or_default().push((key, stored));
        }
    }
    stripes
}
