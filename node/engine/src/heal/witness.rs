//! Witnessing for other pairs: this node's own tries to reach who is silent, and how long
//! they have failed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Reason, Refusal, Request, Response};
use defs_core::port::Clock;

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::refuse;

/// Nodes whose absence is remembered: a rack full.
const ABSENT_MAX: usize = 1024;

/// Who asks about a node that was tried so lately gets the same answer, if tries need not
/// follow each other faster.
const FRESH_MAX: Duration = Duration::from_millis(500);

/// This node's own tries.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<BTreeMap<NodeId, Try>>);

#[derive(Debug, Clone, Copy)]
struct Try {
    /// The first of those that failed without one between that didn't.
    since: Duration,
    last: Duration,
    reached: bool,
}

impl Tries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Try>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last try, if it was just now: a part of `gap` ago, so that those which follow
    /// each other are never further apart than that.
    fn fresh(&self, node: &NodeId, now: Duration, gap: Duration) -> Option<bool> {
        let fresh = FRESH_MAX.min(gap / 4);
        let tries = self.lock();
        let last = tries.get(node).filter(|one| now.saturating_sub(one.last) < fresh);
        last.map(|one| one.reached)
    }

    /// Notes a try. Tries that lie further apart than `gap` say nothing of the time between.
    fn note(&self, node: NodeId, reached: bool, now: Duration, gap: Duration) {
        let mut tries = self.lock();
        if tries.len() >= ABSENT_MAX && !tries.contains_key(&node) {
            tries.retain(|_, one| now.saturating_sub(one.last) < gap);
        }
        let since = match tries.get(&node) {
            Some(before)
                if !reached && !before.reached && now.saturating_sub(before.last) < gap =>
            {
                before.since
            }
            _ => now,
        };
        if tries.len() < ABSENT_MAX || tries.contains_key(&node) {
            tries.insert(node, Try { since, last: now, reached });
        }
    }

    /// The node was heard.
    pub(crate) fn heard(&self, node: &NodeId) {
        self.lock().remove(node);
    }

    /// For how long every try has failed, up to the last one.
    pub(crate) fn absent_for(&self, node: &NodeId) -> Duration {
        let tries = self.lock();
        let absent = tries.get(node).filter(|one| !one.reached);
        absent.map_or(Duration::ZERO, |one| one.last.saturating_sub(one.since))
    }
}

impl<W: World> Engine<W> {
    /// Whether this node reaches `node`, for a member of a pair that doesn't.
    pub(crate) async fn probe(&self, caller: NodeId, node: NodeId) -> Result<Response, Refusal> {
        let known = |node: &NodeId| self.membership.is_admitted(node);
        if !known(&caller) || !known(&node) {
            return Err(refuse(Reason::NotAllowed, "only nodes ask about nodes"));
        }
        Ok(Response::Reached(self.reaches(node).await))
    }

    /// Whether `epoch` is still the newest of `pair`, as far as this node knows and has signed.
    pub(crate) async fn confirm(
        &self,
        caller: NodeId,
        pair: PairId,
        epoch: Epoch,
    ) -> Result<Response, Refusal> {
        let known = self.membership.pair(&pair).map(|known| known.record);
        let is_members = known.as_ref().is_some_and(|known| known.role_of(&caller).is_some());
        if is_members {
            self.give_word(caller)?;
        }
        let is_newest =
            known.is_some_and(|known| known.epoch == epoch && known.witnesses.contains(&self.me));
        if !is_members || !is_newest || self.has_signed_after(&pair, epoch).await? {
            return Err(refuse(Reason::WrongEpoch, "this node does not confirm that epoch"));
        }
        Ok(Response::Done)
    }

    /// Tries to reach `node`, unless it was tried just now.
    pub(crate) async fn reaches(&self, node: NodeId) -> bool {
        if node == self.me {
            return true;
        }
        let timings = &self.config.timings;
        // A try alone may take as long as `probe`.
        let gap = timings.watch.fail_after().max(timings.probe.saturating_mul(3));
        if let Some(reached) = self.tries.fresh(&node, self.clock.elapsed(), gap) {
            return reached;
        }
        let answer = self.call_within(node, Request::Ping, timings.probe).await;
        // Whoever refuses lives.
        let reached = answer.is_ok_and(|reply| reply.response == Response::Alive);
        self.tries.note(node, reached, self.clock.elapsed(), gap);
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const GAP: Duration = Duration::from_secs(10);

    #[test]
    fn absence_lasts_from_the_first_of_unbroken_failures_to_the_last() {
        let tries = Tries::default();
        let note = |at: u64, reached| tries.note(NODE, reached, Duration::from_secs(at), GAP);
        note(1, false);
        note(8, false);
        note(15, false);
        assert_eq!(tries.absent_for(&NODE), Duration::from_secs(14));
        note(20, true);
        assert_eq!(tries.absent_for(&NODE), Duration::ZERO);
        note(21, false);
        note(40, false);
        assert_eq!(tries.absent_for(&NODE), Duration::ZERO, "nobody looked in between");
        note(45, false);
        assert_eq!(tries.absent_for(&NODE), Duration::from_secs(5));
        tries.heard(&NODE);
        assert_eq!(tries.absent_for(&NODE), Duration::ZERO);
    }

    #[test]
    fn a_try_is_fresh_for_a_moment_and_their_number_is_bounded() {
        let tries = Tries::default();
        tries.note(NODE, true, Duration::from_secs(1), GAP);
        assert_eq!(tries.fresh(&NODE, Duration::from_millis(1200), GAP), Some(true));
        assert_eq!(tries.fresh(&NODE, Duration::from_secs(2), GAP), None);
        let short = Duration::from_millis(400);
        assert_eq!(tries.fresh(&NODE, Duration::from_millis(1200), short), None);
        for number in 0..2 * ABSENT_MAX as u64 {
            let mut node = [0; 32];
            node[..8].copy_from_slice(&number.to_le_bytes());
            tries.note(NodeId(node), false, Duration::from_secs(2), GAP);
        }
        assert!(tries.lock().len() <= ABSENT_MAX);
    }
}
