//! What this node measures of others: how soon they answer, how fast bytes come and go, whether
//! they are there, and what became of its audits. Others ask for it when they plan.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::format::Format;
use defs_core::ids::{NodeId, PairId};
use defs_core::message::{Reason, Refusal, Request, Response};
use defs_core::port::{CallError, Change, Clock, Disk, DiskError, Reply, StateKey};
use defs_core::reading::{READINGS_MAX, Reading};
use defs_pairing::score::dimensions;
use defs_pairing::score::measured::{Capacity, Geography, Measured, Stability};
use defs_pairing::score::meters::Meters;
use defs_pairing::score::observers::Observers;
use defs_pairing::score::{Points, Weights, score};

use crate::config::World;
use crate::engine::{Engine, STATE_MAX};
use crate::membership::draw;
use crate::refuse::refuse;

/// Others whose answers this node times: each is timed by as many, enough that no minority
/// decides, and few enough that a large network isn't one mesh of connections.
const TIMED_MAX: usize = 64;

/// Between two looks that lie further apart than so many heartbeats nobody looked: this node
/// was stopped, or its machine slept.
const GAP_HEARTBEATS: u32 = 3;

/// How often what was measured is written down; a crash forgets as much.
pub(crate) const PERSIST_EVERY: Duration = Duration::from_mins(5);

/// The meters of each other node.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    meters: BTreeMap<NodeId, Meters>,
    looked: Option<Duration>,
    /// Who was timed last.
    timed: Option<NodeId>,
}

fn key(node: &NodeId) -> StateKey {
    StateKey([b"meters/".as_slice(), &node.0].concat())
}

impl Gauges {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the meters of `node`, an admitted one, take something in.
    pub(crate) fn of(&self, node: NodeId, take: impl FnOnce(&mut Meters)) {
        take(self.lock().meters.entry(node).or_default());
    }

    /// What was measured of `node`.
    pub(crate) fn reading(&self, node: &NodeId) -> Reading {
        let state = self.lock();
        let meters = state.meters.get(node);
        meters.map_or_else(|| Reading::nothing(*node), |meters| meters.reading(*node))
    }

    /// Of nodes whose ids are higher than `after`.
    pub(crate) fn readings(&self, after: Option<NodeId>) -> Vec<Reading> {
        let state = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = state.meters.range((from, Bound::Unbounded));
        later.take(READINGS_MAX).map(|(node, meters)| meters.reading(*node)).collect()
    }

    fn look(&self, others: &[(NodeId, bool)], passed: Duration) {
        let mut state = self.lock();
        for (node, is_heard) in others {
            state.meters.entry(*node).or_default().presence.look(*is_heard, passed);
        }
    }

    /// Since the last look, as far as somebody looked.
    fn passed(&self, now: Duration, gap: Duration) -> Duration {
        let before = self.lock().looked.replace(now);
        let passed = before.map_or(Duration::ZERO, |before| now.saturating_sub(before));
        if passed > gap { Duration::ZERO } else { passed }
    }

    /// Whose turn it is among `others`, which are in order.
    fn next(&self, others: &[NodeId]) -> Option<NodeId> {
        let mut state = self.lock();
        let later = others.iter().find(|node| state.timed.is_none_or(|timed| **node > timed));
        let next = later.or(others.first()).copied();
        state.timed = next;
        next
    }
}

impl<W: World> Engine<W> {
    /// Reads back what was measured before this start.
    pub(crate) async fn recall_meters(&self) -> Result<(), DiskError> {
        for (key, bytes) in self.disk.scan(StateKey(b"meters/".to_vec()), STATE_MAX).await? {
            let node = key.0.get(b"meters/".len()..).and_then(|node| node.try_into().ok());
            let (Some(node), Ok(meters)) = (node, Meters::decode(&bytes)) else { continue };
            self.gauges.of(NodeId(node), |known| *known = meters);
        }
        Ok(())
    }

    pub(crate) async fn persist_meters(self: Arc<Self>) {
        let changes: Vec<_> = {
            let state = self.gauges.lock();
            state.meters.iter().map(|(node, it)| Change::Put(key(node), it.encode())).collect()
        };
        if !changes.is_empty() {
            self.note_failure(self.disk.apply(changes).await);
        }
    }

    /// One look at who is there, and one question whose answer is timed.
    pub(crate) async fn measure_others(self: Arc<Self>) {
        let now = self.clock.elapsed();
        let others = self.membership.hearing(now, self.config.timings.card_stale);
        let gap = self.config.timings.watch.heartbeat().saturating_mul(GAP_HEARTBEATS);
        let passed = self.gauges.passed(now, gap);
        // While this node hears no majority, it is more likely this node that is away.
        if self.standing().may_heal() {
            self.gauges.look(&others, passed);
        }
        let heard = others.iter().filter(|(_, is_heard)| *is_heard).map(|(node, _)| *node);
        let mut timed: Vec<_> = in_turn(heard, self.me).take(TIMED_MAX).collect();
        timed.sort_unstable();
        let Some(node) = self.gauges.next(&timed) else { return };
        let asked = self.call_within(node, Request::Ping, self.config.timings.probe).await;
        if asked.is_ok_and(|reply| reply.response == Response::Alive) {
            let took = self.clock.elapsed().saturating_sub(now);
            self.gauges.of(node, |meters| meters.answers.add(took));
        }
    }

    /// Whether `node` had a free place for what it was asked.
    pub(crate) fn note_load(&self, node: NodeId, answer: &Result<Reply, CallError>) {
        let is_busy = match answer {
            Ok(_) => false,
            Err(error) => match error.refusal() {
                Some(refusal) => refusal.reason == Reason::Busy,
                // Who can't be reached says nothing of how busy it is.
                None => return,
            },
        };
        self.gauges.of(node, |meters| meters.busy.add(is_busy.into(), 1));
    }

    /// `bytes` of `node` came here, or went there, in the time since `began`.
    pub(crate) fn note_transfer(&self, node: NodeId, bytes: u64, began: Duration) {
        let took = self.clock.elapsed().saturating_sub(began);
        self.gauges.of(node, |meters| meters.transfers.add(bytes, took));
    }

    /// For nodes: what this one has measured.
    pub(crate) fn tell_readings(
        &self,
        caller: NodeId,
        after: Option<NodeId>,
    ) -> Result<Response, Refusal> {
        if !self.membership.is_admitted(&caller) {
            return Err(refuse(Reason::NotAllowed, "only nodes ask what was measured"));
        }
        Ok(Response::Readings(self.gauges.readings(after)))
    }

    /// The score of `node` by what this node alone has measured: enough to choose among
    /// those that would do, and known without asking anybody.
    pub(crate) fn own_score(&self, node: &NodeId, room: Capacity) -> Points {
        score(&self.own_measure(node, room), &Weights::default()).total
    }

    /// Ranks witnesses: those of which nothing bad was measured first, then by chance.
    pub(crate) fn witness_rank(&self, pair: &PairId, node: &NodeId) -> (bool, u64) {
        let Measured { stability, .. } = self.own_measure(node, Capacity::default());
        let is_unsteady =
            dimensions::stability(&stability) < dimensions::stability(&Stability::default());
        (is_unsteady, draw(pair, node))
    }

    /// What this node alone has measured of `node`. Where that stands is left out: it depends
    /// on the partner.
    fn own_measure(&self, node: &NodeId, room: Capacity) -> Measured {
        let mut observers = Observers::default();
        observers.hear(self.me, [self.gauges.reading(node)]);
        observers.measured(node, Geography::default(), room)
    }
}

/// `nodes`, which are in order, from the first after `me` on and around.
fn in_turn(
    nodes: impl Iterator<Item = NodeId> + Clone,
    me: NodeId,
) -> impl Iterator<Item = NodeId> {
    let (before, after) = (nodes.clone(), nodes);
    after.filter(move |node| *node > me).chain(before.filter(move |node| *node < me))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn everybody_is_timed_in_turn_and_only_the_next_of_many() {
        let gauges = Gauges::default();
        let others = [node(1), node(2), node(4)];
        let turns: Vec<_> = (0..5).filter_map(|_| gauges.next(&others)).collect();
        assert_eq!(turns, [1, 2, 4, 1, 2].map(node));
        assert_eq!(gauges.next(&[]), None);
        let around: Vec<_> = in_turn([1, 2, 4, 5].map(node).into_iter(), node(3)).collect();
        assert_eq!(around, [4, 5, 1, 2].map(node));
    }

    #[test]
    fn time_in_which_nobody_looked_counts_for_nothing() {
        let gauges = Gauges::default();
        let gap = Duration::from_secs(6);
        let passed: Vec<_> = [1, 3, 100, 102]
            .map(|second| gauges.passed(Duration::from_secs(second), gap).as_secs())
            .into();
        assert_eq!(passed, [0, 2, 0, 2]);
    }

    #[test]
    fn readings_come_in_parts_in_the_order_of_their_nodes() {
        let gauges = Gauges::default();
        gauges.look(&[(node(3), true), (node(1), false), (node(2), true)], Duration::from_secs(9));
        let nodes = |after| -> Vec<_> {
            gauges.readings(after).into_iter().map(|reading| reading.node).collect()
        };
        assert_eq!(nodes(None), [1, 2, 3].map(node));
        assert_eq!(nodes(Some(node(1))), [2, 3].map(node));
        assert_eq!(gauges.reading(&node(1)).away_s, 9);
        assert_eq!(gauges.reading(&node(7)), Reading::nothing(node(7)));
    }
}
