//! New pairs of free nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use defs_core::network::Labels;
use defs_crds::cluster::Hard;
use defs_pairing::planner::{Formed, Match, Network, Policy, arrange};

use super::{Decision, Member, Wanted};

/// The best pairs of the free nodes, `missing` at most.
pub(super) fn form(free: &[&Member], wanted: &Wanted, missing: usize) -> Vec<Decision> {
    let by_id: BTreeMap<_, _> = free.iter().filter_map(|it| Some((it.node?, *it))).collect();
    let rated = free.iter().filter_map(|it| it.rated.clone()).collect();
    // How many are spare follows from how many pairs there should be.
    let policy = Policy { spares_min: 0, ..wanted.policy };
    let network = Network::new(rated, Vec::new());
    let formed = arrange(&network, &policy, |_, _| None, Duration::ZERO).formed;
    let named = |Formed { pair: Match(a, b), .. }: Formed| {
        let (a, b) = (by_id.get(&a)?, by_id.get(&b)?);
        let is_allowed = are_apart(&a.labels, &b.labels, wanted.hard);
        is_allowed.then(|| Decision::Form([a.name.clone(), b.name.clone()]))
    };
    formed.into_iter().filter_map(named).take(missing).collect()
}

/// Whether two may be a pair though `hard` says in what they must differ.
pub(crate) fn are_apart(a: &Labels, b: &Labels, hard: Hard) -> bool {
    match hard {
        Hard::None => true,
        Hard::Node => a.host != b.host,
        Hard::Zone => a.host != b.host && (&a.region, &a.zone) != (&b.region, &b.zone),
        Hard::Region => a.region != b.region,
    }
}
