//! Handing a shard and its share to whoever rebuilds lost siblings: only when this node itself
//! holds them to be lost, to one rebuilder of a stripe at a time, and written into the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use defs_core::ids::{NodeId, PairId, StripeId};
use defs_core::message::{Reason, Refusal, Request, Response, ShardKey};
use defs_core::port::{Clock, Disk, Reply, StoredShard};
use defs_core::stripe::Watched;

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, refuse};

/// How long one rebuilder has a stripe for itself: longer than a rebuild takes.
const LEASE: Duration = Duration::from_secs(60);

/// Stripes that may be leased at once.
const LEASES_MAX: usize = 4096;

/// Who rebuilds which stripe.
#[derive(Debug, Default)]
pub(crate) struct Rebuilders(Mutex<BTreeMap<StripeId, Lease>>);

#[derive(Debug, Clone, Copy)]
struct Lease {
    node: NodeId,
    until: Duration,
    /// Whose time ran out before.
    before: Option<NodeId>,
}

impl Rebuilders {
    /// Gives the stripe to `node`, unless another has it whose id is lower, or whose turn it is
    /// after this one's. Two that begin at once would else each get some of the holders, and
    /// neither ever enough of them.
    fn take(&self, stripe: StripeId, node: NodeId, now: Duration) -> Result<(), Refusal> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if leases.len() >= LEASES_MAX {
            leases.retain(|_, lease| lease.until > now);
        }
        let known = leases.get(&stripe).copied();
        let running = known.filter(|lease| lease.until > now);
        match running {
            Some(lease) if lease.node == node => Ok(()),
            Some(lease) if lease.node < node || lease.before == Some(node) => {
                Err(refuse(Reason::Busy, format!("{} rebuilds this stripe now", lease.node)))
            }
            None if leases.len() >= LEASES_MAX => {
                Err(refuse(Reason::Busy, "too many stripes are being rebuilt"))
            }
            Some(_) | None => {
                let ran_out = known.filter(|lease| running.is_none() && lease.node != node);
                let before = ran_out.map(|lease| lease.node);
                let until = now.saturating_add(LEASE);
                leases.insert(stripe, Lease { node, until, before });
                Ok(())
            }
        }
    }
}

impl<W: World> Engine<W> {
    pub(crate) async fn release(
        &self,
        caller: NodeId,
        key: ShardKey,
        lost: Vec<Watched>,
    ) -> Result<Reply, Refusal> {
        let theirs = self.membership.pair_of(&caller);
        if theirs.is_none_or(|pair| self.lost.is_lost(&pair)) {
            return Err(refuse(Reason::NotAllowed, "only a member of a pair rebuilds"));
        }
        let standing = self.standing();
        if !standing.may_heal() {
            return Err(refuse(Reason::Busy, format!("{standing}")));
        }
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let stored = stored.ok_or_else(|| refuse(Reason::NotFound, "the shard is not here"))?;
        if stored.state.commit.is_none() {
            return Err(refuse(Reason::NotAllowed, "the stripe is no finished file's"));
        }
        self.check_losses(key.stripe, &stored, &lost).await?;
        self.rebuilders.take(key.stripe, caller, self.clock.elapsed())?;
        tracing::info!(stripe = %key.stripe, index = %key.index, to = %caller, lost = lost.len(),
            "a shard and its share are released for a rebuild");
        self.metrics.shares_released.one();
        let body = self.disk.read(key, 0..stored.length).await.map_err(disk_refusal)?;
        Ok(Reply { response: Response::Released { share: stored.head.share }, body })
    }

    /// Every lost sibling must be lost by this node's own judgement too.
    async fn check_losses(
        &self,
        stripe: StripeId,
        stored: &StoredShard,
        lost: &[Watched],
    ) -> Result<(), Refusal> {
        if lost.is_empty() {
            return Err(refuse(Reason::NotAllowed, "nothing is lost"));
        }
        let geometry = stored.head.descriptor.body.geometry;
        for one in lost {
            if !geometry.has(one.index) {
                return Err(refuse(Reason::Malformed, "the stripe has no such shard"));
            }
            let key = ShardKey { stripe, index: one.index };
            let here = self.disk.shard(key).await.map_err(disk_refusal)?;
            // The last member of a lost pair has what is to be rebuilt elsewhere.
            if here.is_some_and(|here| !self.lost.is_lost(&here.state.pair)) {
                return Err(refuse(Reason::NotAllowed, format!("shard {} is here", one.index)));
            }
            let watched = stored.head.watched.iter().find(|known| known.index == one.index);
            let elsewhere = watched.map(|known| known.pair).filter(|pair| *pair != one.pair);
            if let Some(pair) = elsewhere
                && !self.lost.is_lost(&pair)
                && !self.is_absent_at(pair, key).await
            {
                let detail = format!("shard {} is at another pair", one.index);
                return Err(refuse(Reason::NotAllowed, detail));
            }
            if !self.lost.is_lost(&one.pair) && !self.is_absent_at(one.pair, key).await {
                let detail = format!("this node does not hold pair {} to be lost", one.pair);
                return Err(refuse(Reason::Busy, detail));
            }
        }
        Ok(())
    }

    /// Whether both members of `pair` say that they don't hold the shard.
    async fn is_absent_at(&self, pair: PairId, key: ShardKey) -> bool {
        let Some(known) = self.membership.pair(&pair) else { return false };
        for member in known.record.members {
            let indices = if member == self.me {
                self.disk.indices(key.stripe).await.ok()
            } else {
                let request = Request::StripeStatus { stripe: key.stripe };
                match self.call_within(member, request, self.config.timings.probe).await {
                    Ok(Reply { response: Response::Stripe { indices, .. }, .. }) => Some(indices),
                    Ok(_) | Err(_) => None,
                }
            };
            if indices.is_none_or(|indices| indices.contains(&key.index)) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rebuilder_has_a_stripe_at_a_time() {
        let rebuilders = Rebuilders::default();
        let [one, other] = [NodeId([1; 32]), NodeId([2; 32])];
        let stripe = StripeId([3; 32]);
        let now = Duration::from_secs(1);
        assert!(rebuilders.take(stripe, one, now).is_ok());
        assert!(rebuilders.take(stripe, one, now).is_ok());
        let refused = rebuilders.take(stripe, other, now).unwrap_err();
        assert_eq!(refused.reason, Reason::Busy);
        assert!(rebuilders.take(stripe, other, now + LEASE + LEASE).is_ok());
    }

    #[test]
    fn of_two_that_begin_at_once_the_same_one_gets_every_holder() {
        let [one, other] = [NodeId([1; 32]), NodeId([2; 32])];
        let (stripe, now) = (StripeId([3; 32]), Duration::from_secs(1));
        for order in [[one, other], [other, one]] {
            let holder = Rebuilders::default();
            let taken = order.map(|node| holder.take(stripe, node, now).is_ok());
            assert!(taken[0], "nobody had it");
            assert!(holder.take(stripe, one, now).is_ok());
            assert!(holder.take(stripe, other, now).is_err());
        }
    }

    #[test]
    fn who_fails_again_and_again_leaves_the_next_turn_to_another() {
        let rebuilders = Rebuilders::default();
        let [one, other] = [NodeId([1; 32]), NodeId([2; 32])];
        let (stripe, now) = (StripeId([3; 32]), Duration::from_secs(1));
        assert!(rebuilders.take(stripe, one, now).is_ok());
        // Asking again makes it no longer.
        assert!(rebuilders.take(stripe, one, now + LEASE / 2).is_ok());
        assert!(rebuilders.take(stripe, other, now + LEASE).is_ok());
        assert!(rebuilders.take(stripe, one, now + LEASE).is_err());
        assert!(rebuilders.take(stripe, one, now + 2 * LEASE).is_ok());
    }
}
