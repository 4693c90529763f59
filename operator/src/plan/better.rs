//! Better pairs of nodes that serve: what the planner finds worth the bytes, as steps that are
//! done one after the other, each by a node that is free then.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};
use defs_crds::cluster::Hard;
use defs_crds::cluster::status::{PLAN_STEPS_MAX, PlanStep};
use defs_pairing::planner::{Exchange, Move, Network, Paired, Policy, Rated, arrange, steps};
use defs_pairing::survey::Survey;

use super::{Cause, Decision, KnownPair, Member, are_apart, is_free};

/// The steps to better pairs at `now`, in Unix time; none if the pairs are good as they are.
/// Pinned and paused pairs stay as they are.
pub(crate) fn better(
    members: &[Member],
    pairs: &[KnownPair],
    (policy, hard): (&Policy, Hard),
    survey: &Survey,
    now: Duration,
) -> Vec<PlanStep> {
    let by_name: BTreeMap<_, _> = members.iter().map(|it| (it.name.as_str(), it)).collect();
    let by_id: BTreeMap<_, _> = members.iter().filter_map(|it| Some((it.node?, it))).collect();
    let is_fixed = |pair: &&KnownPair| pair.is_pinned || pair.is_paused || !pair.is_healthy;
    let fixed: BTreeSet<_> = pairs.iter().filter(is_fixed).flat_map(|it| &it.members).collect();
    let movable: Vec<_> = pairs.iter().filter(|pair| !is_fixed(pair)).collect();
    let taken: BTreeSet<_> = pairs.iter().flat_map(|it| &it.members).collect();
    let takes_part = |it: &&Member| is_free(it) && !fixed.contains(&it.name);
    let rated: Vec<Rated> =
        members.iter().filter(takes_part).filter_map(|it| it.rated.clone()).collect();
    let spares = rated.iter().filter_map(|it| by_id.get(&it.candidate.node));
    let spares = spares.filter(|it| !taken.contains(&it.name)).count();
    let paired = |pair: &&KnownPair| {
        let id = |name: &String| by_name.get(name.as_str()).and_then(|it| it.node);
        let [one, other] = &pair.members;
        let members = [id(one)?, id(other)?];
        Some(Paired { pair: pair.id?, members, held: pair.held, changed: pair.changed })
    };
    let network = Network::new(rated, movable.iter().filter_map(paired).collect());
    // New pairs are formed elsewhere: here all that are free are left to help.
    let policy = Policy { spares_min: spares, ..*policy };
    let round_trip = |a: &NodeId, b: &NodeId| survey.round_trip(a, b);
    let plan = arrange(&network, &policy, round_trip, now);
    let names =
        Names { by_id, pairs: movable.iter().filter_map(|it| Some((it.id?, *it))).collect() };
    let mut found = Vec::new();
    for exchange in plan.exchanges.iter().filter(|it| names.is_allowed(it, hard)) {
        let room = |node: &NodeId| survey.room(node);
        if let Ok(way) = steps(exchange, &plan.spares, room) {
            let steps = way
                .iter()
                .filter_map(|step| names.step((step.pair, step.leaves, step.joins), exchange));
            found.extend(steps);
        }
    }
    found.truncate(PLAN_STEPS_MAX);
    found
}

struct Names<'a> {
    by_id: BTreeMap<NodeId, &'a Member>,
    pairs: BTreeMap<PairId, &'a KnownPair>,
}

impl Names<'_> {
    fn is_allowed(&self, exchange: &Exchange, hard: Hard) -> bool {
        exchange.moves.iter().all(|Move { stays, joins, .. }| {
            match (self.by_id.get(stays), self.by_id.get(joins)) {
                (Some(stays), Some(joins)) => are_apart(&stays.labels, &joins.labels, hard),
                _ => false,
            }
        })
    }

    fn step(
        &self,
        (pair, leaves, joins): (PairId, NodeId, NodeId),
        exchange: &Exchange,
    ) -> Option<PlanStep> {
        let fit = exchange.moves.iter().find(|it| it.pair == pair)?;
        let (before, after) = (fit.before.total.get(), fit.after.total.get());
        let gain = u32::from(after.saturating_sub(before)) * 100 / u32::from(before.max(1));
        Some(PlanStep {
            pair: self.pairs.get(&pair)?.name.clone(),
            leaves: self.by_id.get(&leaves)?.name.clone(),
            comes: self.by_id.get(&joins)?.name.clone(),
            gain_percent: gain.min(10_000),
            why: format!("{}; now {}, then {}", exchange.gain, fit.before.apart, fit.after.apart),
        })
    }
}

/// How far a plan is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Going {
    /// These steps are left, and these begin now.
    On { left: Vec<PlanStep>, begins: Vec<Decision> },
    /// It can't be carried out any more: why.
    Broken(String),
}

/// What of a plan is still to be done, with at most `moves_max` pairs changing at one time.
pub(crate) fn carry_on(
    plan: &[PlanStep],
    members: &[Member],
    pairs: &[KnownPair],
    moves_max: NonZeroUsize,
) -> Going {
    let mut changing = pairs.iter().filter(|pair| pair.is_changing()).count();
    let mut busy: BTreeSet<&str> = BTreeSet::new();
    let (mut left, mut begins) = (Vec::new(), Vec::new());
    for step in plan {
        let Some(pair) = pairs.iter().find(|pair| pair.name == step.pair) else {
            return Going::Broken(format!("there is no pair {} any more", step.pair));
        };
        let is_in = |name: &String| pair.members.contains(name);
        if is_in(&step.comes) && !is_in(&step.leaves) && !pair.is_changing() {
            continue;
        }
        let [one, two, three] = [&step.pair, &step.leaves, &step.comes].map(String::as_str);
        let is_disjoint = ![one, two, three].iter().any(|name| busy.contains(name));
        busy.extend([one, two, three]);
        left.push(step.clone());
        if pair.is_changing() || !is_disjoint {
            continue;
        }
        if !is_in(&step.leaves) {
            return Going::Broken(format!(
                "{} is no member of {} any more",
                step.leaves, step.pair
            ));
        }
        let comes = members.iter().find(|it| it.name == step.comes);
        let is_taken = pairs.iter().any(|pair| pair.takes().any(|it| *it == step.comes));
        if is_taken || !comes.is_some_and(is_free) {
            return Going::Broken(format!("{} is not free any more", step.comes));
        }
        if changing < moves_max.get() && pair.is_healthy {
            changing += 1;
            let cause = Cause { text: format!("fits better: {}", step.why), is_intent: true };
            let (pair, leaves, comes) =
                (step.pair.clone(), step.leaves.clone(), step.comes.clone());
            begins.push(Decision::Yield { pair, leaves, comes, cause });
        }
    }
    Going::On { left, begins }
}
