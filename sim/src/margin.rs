//! What may be destroyed for ever, so that the promise must still hold.

use std::collections::{BTreeMap, BTreeSet};

use defs_core::ids::{NodeId, PairId};
use defs_core::network::PairRecord;

use crate::chance::Chance;

/// How much a run destroys at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Machines that may be lost for ever, each the one of its pair that may be.
    pub machines: usize,
    /// Whether one whole pair may be lost.
    pub whole_pair: bool,
    /// Nodes that may turn against everybody, each the one of its pair whose disk may be
    /// destroyed.
    pub traitors: usize,
}

impl Allowance {
    /// What a network of `nodes` that does not heal survives: a fifth of its machines, and
    /// one pair.
    #[must_use]
    pub fn without_healing(nodes: usize, chance: &Chance) -> Self {
        let machines = chance.place(nodes / 5 + 1);
        let traitors = if chance.percent(40) { 1 + chance.place(nodes / 10 + 1) } else { 0 };
        Self { machines, whole_pair: nodes >= 8 && chance.percent(40), traitors }
    }
}

/// What was destroyed so far, and what may be.
#[derive(Debug)]
pub struct Margin {
    allowed: Allowance,
    seed: u64,
    /// The pair that may be lost as a whole, once it was chosen.
    doomed: Option<PairId>,
    lost: BTreeSet<NodeId>,
    /// Of each pair the member whose copies are good whenever it is.
    firm: BTreeMap<PairId, NodeId>,
}

impl Margin {
    /// Nothing is destroyed yet.
    #[must_use]
    pub fn new(seed: u64, allowed: Allowance) -> Self {
        Self { allowed, seed, doomed: None, lost: BTreeSet::new(), firm: BTreeMap::new() }
    }

    /// The pair that was lost as a whole, if one was.
    #[must_use]
    pub fn doomed(&self) -> Option<PairId> {
        self.doomed
    }

    /// The member of `pair` whose disk may be destroyed: never the one that stays firm, so
    /// that whoever takes the place of the other may be destroyed too.
    #[must_use]
    pub fn fragile(&mut self, pair: &PairRecord) -> NodeId {
        let [one, other] = pair.members;
        let firm = self.firm.entry(pair.pair).or_insert_with(|| {
            let mut members = pair.members;
            members.sort_unstable();
            let draw = Chance::of(self.seed, &format!("firm member of {}", pair.pair.full()));
            members[draw.place(2)]
        });
        if !pair.members.contains(firm) {
            // It was put out: the one that the newcomer copied from is.
            *firm = one;
        }
        if *firm == one { other } else { one }
    }

    /// Nodes that may turn.
    #[must_use]
    pub fn traitors(&self) -> usize {
        self.allowed.traitors
    }

    /// Whether the disk of this fragile member may be destroyed now.
    #[must_use]
    pub fn allows_loss(&self) -> bool {
        self.lost.len() < self.allowed.machines
    }

    /// Whether a whole pair may be destroyed now.
    #[must_use]
    pub fn allows_whole_pair(&self) -> bool {
        self.allowed.whole_pair && self.doomed.is_none()
    }

    /// `node` was lost.
    pub fn lost(&mut self, node: NodeId) {
        self.lost.insert(node);
    }

    /// All of `pair` was lost.
    pub fn lost_pair(&mut self, pair: PairId) {
        self.doomed = Some(pair);
    }
}
