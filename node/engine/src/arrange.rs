//! What would make better pairs: all that nodes have measured of each other, asked for now, goes
//! into the planner. Nothing here changes anything: a plan is carried out by a person's word.

use std::collections::BTreeSet;

use defs_core::ids::{NodeId, PairId};
use defs_core::message::{Request, Response};
use defs_core::network::{Activity, NodeCard};
use defs_core::reading::{READINGS_MAX, Reading};
use defs_core::wish::Want;
use defs_pairing::balance::Balance;
use defs_pairing::planner::{
    Blocked, Candidate, Network, Paired, Plan, Policy, Replace, arrange, steps,
};
use defs_pairing::score::observers::Observers;
use defs_pairing::score::{Score, Weights};
use defs_pairing::survey::{Survey, Surveyed};
use futures::StreamExt;

use crate::config::World;
use crate::engine::Engine;

/// Nodes that are asked for what they measured: with so many words of each node the middle one
/// is as good as with all.
const OBSERVERS_MAX: usize = 64;

/// Of these, asked at one time.
const ASKED_AT_ONCE: usize = 16;

/// Parts of one node's readings: more than the cards that a node keeps.
const PARTS_MAX: usize = 16;

/// The score of a node, with all that it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Whose.
    pub node: NodeId,
    /// How many others have measured it.
    pub observers: usize,
    /// By dimension, with inputs.
    pub score: Score,
}

/// A plan, and how each exchange of it could be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrangement {
    /// What would be done, and why.
    pub plan: Plan,
    /// For each exchange of the plan, its replacements in order, or what blocks them.
    pub ways: Vec<Result<Vec<Replace>, Blocked>>,
    /// How evenly pairs are filled, and what it would take to even them out.
    pub balance: Balance,
}

impl<W: World> Engine<W> {
    /// The score of `node`, from what others measured of it; `None` if it is not known.
    pub async fn explain(&self, node: NodeId) -> Option<Explained> {
        let survey = self.survey().await;
        let score = survey.score(&node)?;
        Some(Explained { node, observers: survey.observers(&node), score })
    }

    /// What would make better pairs now. Changes nothing.
    pub async fn arrange(&self) -> Arrangement {
        let survey = self.survey().await;
        let fit: BTreeSet<_> = self.fit_for_pairs();
        let nodes = fit.iter().filter_map(|node| survey.rated(node)).collect();
        let pairs = self.paired(&survey);
        let balance = survey.balance(&pairs, &fit);
        let network = Network::new(nodes, pairs);
        let round_trip = |a: &NodeId, b: &NodeId| survey.round_trip(a, b);
        let plan = arrange(&network, &Policy::default(), round_trip, self.lease_clock());
        let room = |node: &NodeId| survey.room(node);
        let ways = plan.exchanges.iter().map(|exchange| steps(exchange, &plan.spares, room));
        Arrangement { ways: ways.collect(), balance, plan }
    }

    /// What would make pairs evenly full.
    pub(crate) async fn unevenness(&self) -> Balance {
        let survey = self.survey().await;
        survey.balance(&self.paired(&survey), &self.fit_for_pairs())
    }

    /// Nodes that are heard, have what they should, and are not to leave.
    fn fit_for_pairs(&self) -> BTreeSet<NodeId> {
        let alive = self.alive();
        let stays =
            |node: &NodeId| !matches!(self.wishes.want(node), Some(Want::Drain | Want::Lost));
        let is_fit = |(node, card): &(NodeId, NodeCard)| {
            alive.contains(node)
                && card.activity == Activity::Ready
                && !self.membership.is_syncing(node)
                && stays(node)
        };
        self.membership.cards().into_iter().filter(is_fit).map(|(node, _)| node).collect()
    }

    /// Today's pairs; those that are about to change count as changed now.
    fn paired(&self, survey: &Survey) -> Vec<Paired> {
        let changing: BTreeSet<PairId> = self
            .wishes
            .places()
            .into_iter()
            .filter_map(|(node, place)| {
                let own = self.membership.pair(&place.pair)?.record;
                self.heir_of(&node, &own).map(|_heir| place.pair)
            })
            .collect();
        let paired = |record: defs_core::network::PairRecord| {
            let is_changing = changing.contains(&record.pair);
            let changed = is_changing.then(|| self.lease_clock());
            let changed = changed.or_else(|| self.membership.changed(&record.pair));
            // A member that came lately may still hold what it had before.
            let held = record.members.iter().map(|member| survey.used(member)).min();
            let (pair, members) = (record.pair, record.members);
            Paired { pair, members, held: held.unwrap_or(0), changed }
        };
        self.membership.all_pairs().into_iter().map(paired).collect()
    }

    /// Asks others for what they measured.
    async fn survey(&self) -> Survey {
        let mut observers = Observers::default();
        observers.hear(self.me, self.own_readings());
        let others: Vec<_> = self.alive().into_iter().filter(|node| *node != self.me).collect();
        let every = others.len().div_ceil(OBSERVERS_MAX).max(1);
        let asking = others.into_iter().step_by(every).map(|node| self.ask_readings(node));
        let mut answers = futures::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE);
        while let Some((node, readings)) = answers.next().await {
            observers.hear(node, readings);
        }
        let surveyed = |(node, card): (NodeId, NodeCard)| {
            let NodeCard { labels, capacity, used, reach, .. } = card;
            Surveyed { candidate: Candidate { node, labels, capacity, reach }, used }
        };
        let nodes = self.membership.cards().into_iter().map(surveyed).collect();
        Survey::new(nodes, observers, Weights::default())
    }

    fn own_readings(&self) -> Vec<Reading> {
        let mut all = Vec::new();
        for _ in 0..PARTS_MAX {
            let after = all.last().map(|last: &Reading| last.node);
            let part = self.gauges.readings(after);
            let is_last = part.len() < READINGS_MAX;
            all.extend(part);
            if is_last {
                break;
            }
        }
        all
    }

    /// What `node` has measured; nothing more once it fails to answer.
    async fn ask_readings(&self, node: NodeId) -> (NodeId, Vec<Reading>) {
        let mut all = Vec::new();
        for _ in 0..PARTS_MAX {
            let after = all.last().map(|last: &Reading| last.node);
            let request = Request::Readings { after };
            let answer = self.call_within(node, request, self.config.timings.probe).await;
            let Ok(Response::Readings(part)) = answer.map(|reply| reply.response) else { break };
            let is_last = part.len() < READINGS_MAX;
            // Who repeats itself would be asked for ever.
            all.extend(part.into_iter().filter(|reading| Some(reading.node) > after));
            if is_last {
                break;
            }
        }
        (node, all)
    }
}
