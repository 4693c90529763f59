//! Which pairs are lost: both members silent for long, or one member and so many witnesses that
//! nobody can be put in its place; and neither this node nor another reaches them. Every node
//! judges for itself before it helps to rebuild.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};
use defs_core::message::{Request, Response};
use defs_core::network::PairRecord;
use defs_core::port::Clock;
use defs_core::wish::Want;
use defs_pairing::majority::Standing;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::successor::WITNESSES_NEEDED;

/// Other nodes that are asked about a silent pair.
const OBSERVERS: usize = 3;

/// Pairs that are probed in one step.
const PROBED_AT_ONCE: usize = 8;

/// Silent pairs, and those that are judged to be lost.
#[derive(Debug, Default)]
pub(crate) struct LostPairs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when, while this node reached a majority.
    silent: BTreeMap<PairId, Duration>,
    lost: BTreeMap<PairId, Loss>,
}

/// Why a pair is held to be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// When it was judged, by this node's clock.
    pub at: Duration,
    /// How long it had been silent.
    pub silent: Duration,
    /// Who besides this node did not reach those whom it lacks.
    pub observers: BTreeSet<NodeId>,
}

impl LostPairs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `pair` is held to be lost.
    pub(crate) fn is_lost(&self, pair: &PairId) -> bool {
        self.lock().lost.contains_key(pair)
    }

    /// Every lost pair, and why.
    pub(crate) fn all(&self) -> BTreeMap<PairId, Loss> {
        self.lock().lost.clone()
    }
}

impl<W: World> Engine<W> {
    /// Notes which pairs are silent. Time counts only while a majority is heard.
    pub(crate) fn judge_pairs(&self, standing: Standing, now: Duration) {
        let pairs = self.membership.all_pairs();
        let heard: BTreeSet<_> =
            pairs.iter().filter(|pair| self.lacks(pair).is_none()).map(|pair| pair.pair).collect();
        let known: BTreeSet<_> = pairs.iter().map(|pair| pair.pair).collect();
        let mut state = self.lost.lock();
        for pair in state.lost.keys().filter(|pair| heard.contains(pair)) {
            tracing::info!(%pair, "a lost pair is back");
        }
        state.lost.retain(|pair, _| known.contains(pair) && !heard.contains(pair));
        state.silent.retain(|pair, _| known.contains(pair) && !heard.contains(pair));
        for pair in known.difference(&heard) {
            let since = state.silent.entry(*pair).or_insert(now);
            if !standing.may_heal() {
                *since = now;
            }
        }
    }

    /// Asks others about pairs that have been silent for long enough.
    pub(crate) async fn confirm_losses(self: Arc<Self>) {
        if !self.standing().may_heal() {
            return;
        }
        for (pair, silent) in self.due() {
            let Some(record) = self.membership.pair(&pair).map(|known| known.record) else {
                continue;
            };
            if let Some(observers) = self.nobody_reaches(&record).await {
                let at = self.clock.elapsed();
                let mut state = self.lost.lock();
                // It may have been heard meanwhile.
                if state.silent.contains_key(&pair) {
                    tracing::warn!(%pair, ?silent, observers = observers.len(), "a pair is lost");
                    state.lost.insert(pair, Loss { at, silent, observers });
                    self.metrics.pairs_lost.one();
                }
            }
        }
    }

    fn due(&self) -> Vec<(PairId, Duration)> {
        let now = self.clock.elapsed();
        let patience = self.config.timings.watch.replace_after();
        let silent: Vec<_> = {
            let state = self.lost.lock();
            let open = state.silent.iter().filter(|(pair, _)| !state.lost.contains_key(pair));
            open.map(|(pair, since)| (*pair, now.saturating_sub(*since))).collect()
        };
        let is_due =
            |(pair, silent): &(PairId, Duration)| *silent >= patience || self.is_wished_lost(pair);
        silent.into_iter().filter(is_due).take(PROBED_AT_ONCE).collect()
    }

    fn is_wished_lost(&self, pair: &PairId) -> bool {
        let known = self.membership.pair(pair);
        let lacks = known.and_then(|known| self.lacks(&known.record));
        let lost = |node: &NodeId| self.wishes.want(node) == Some(Want::Lost);
        lacks.is_some_and(|lacks| lacks.iter().all(lost))
    }

    /// Who is not heard of a pair that can't go on without: both members, or one of them and
    /// all witnesses but one, or all. A pair that never had enough witnesses waits with one member.
    fn lacks(&self, record: &PairRecord) -> Option<Vec<NodeId>> {
        let silent = |nodes: &[NodeId]| -> Vec<NodeId> {
            nodes.iter().copied().filter(|node| !self.is_heard(node)).collect()
        };
        let (members, witnesses) = (silent(&record.members), silent(&record.witnesses));
        match members.len() {
            0 => None,
            1 => {
                let named = record.witnesses.len();
                let can_agree = named - witnesses.len() >= WITNESSES_NEEDED;
                let is_stuck = named >= WITNESSES_NEEDED && !can_agree;
                is_stuck.then(|| [members, witnesses].concat())
            }
            _ => Some(members),
        }
    }

    /// Who else doesn't reach those whom a pair lacks, if nobody does.
    async fn nobody_reaches(&self, record: &PairRecord) -> Option<BTreeSet<NodeId>> {
        let lacks = self.lacks(record)?;
        for node in &lacks {
            if self.reaches(*node).await {
                return None;
            }
        }
        let within = self.config.timings.probe.saturating_mul(2);
        let mut observers = BTreeSet::new();
        for observer in self.observers(record) {
            let probe =
                |node: &NodeId| self.call_within(observer, Request::Probe { node: *node }, within);
            let probes = lacks.iter().map(probe);
            let answers = futures::future::join_all(probes).await;
            let said = |answer: &Result<defs_core::port::Reply, _>, reached| matches!(answer, Ok(reply) if reply.response == Response::Reached(reached));
            if answers.iter().any(|answer| said(answer, true)) {
                return None;
            }
            if answers.iter().all(|answer| said(answer, false)) {
                observers.insert(observer);
            }
        }
        (!observers.is_empty()).then_some(observers)
    }

    /// The pair's witnesses that are heard, then others.
    fn observers(&self, record: &PairRecord) -> Vec<NodeId> {
        let others = self.alive().into_iter().filter(|node| !record.witnesses.contains(node));
        let is_fit = |node: &NodeId| {
            *node != self.me && record.role_of(node).is_none() && self.is_heard(node)
        };
        record.witnesses.iter().copied().chain(others).filter(is_fit).take(OBSERVERS).collect()
    }
}
