//! Nodes that nobody can dial, each behind a router of its own: one keeps its ports, one takes
//! another for every peer, one lets nothing through but the way to one relay.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_e2e::eventually;
use defs_e2e::lab::{Lab, Machine, Network, Router};
use serde_json::Value;

/// Long enough for a busy machine; the conditions end the waits.
const WITHIN: Duration = Duration::from_secs(90);

/// The one through which the third hidden node is reached.
const RELAY: Machine = Machine(1);

const OPEN: [Machine; 3] = [RELAY, Machine(2), Machine(3)];

const HIDDEN: [(u8, Router); 3] =
    [(11, Router::PortRestricted), (12, Router::Symmetric), (13, Router::OnlyTo(RELAY))];

/// Three nodes that can be dialled, two of which relay, each in a pair with one that can't.
fn half_hidden(lab: Lab) -> Network {
    let mut network = Network::new(lab, 100, &OPEN[..2]).unwrap();
    for (name, value) in
        [("DEFS_SUSPECT_AFTER", "2s"), ("DEFS_FAIL_AFTER", "4s"), ("DEFS_REPLACE_AFTER", "6s")]
    {
        network.set(name, value);
    }
    for (pairs, (open, (number, router))) in (1..).zip(OPEN.into_iter().zip(HIDDEN)) {
        network.lab.machine(open.0).unwrap();
        let hidden = network.lab.hidden(number, router).unwrap();
        network.start(open, &OPEN[..2], OPEN[..2].contains(&open)).unwrap();
        network.start(hidden, &OPEN[..2], false).unwrap();
        // Two by two: those that can be dialled would be pairs of their own.
        network.all_healthy(pairs, WITHIN).unwrap();
    }
    network
}

fn hidden() -> [Machine; 3] {
    HIDDEN.map(|(number, _)| Machine(number))
}

#[test]
fn nodes_behind_routers_each_pair_with_one_that_can_be_dialled_and_outlive_it() {
    let Some(lab) = Lab::new().unwrap() else { return };
    let mut network = half_hidden(lab);
    let reaches = OPEN.map(|it| (it, "open")).into_iter().chain(hidden().map(|it| (it, "hidden")));
    let reaches: Vec<_> = reaches.collect();
    let is_told = |told: &BTreeMap<Machine, Value>| {
        reaches.iter().all(|(machine, reach)| {
            let Some(told) = told.get(machine) else { return false };
            let is_relayed = told["addresses"].to_string().contains("/p2p-circuit");
            told["reach"] == *reach && is_relayed == (*reach == "hidden")
        })
    };
    // A place at a relay comes after the first pair.
    eventually("all say how they are reached", WITHIN, || {
        network.told().is_ok_and(|told| is_told(&told))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#?}", network.told()));
    // Whoever is asked may have come last, and not have heard of all pairs yet.
    let mut before = BTreeMap::new();
    eventually("each has a partner that can't be dialled", WITHIN, || {
        before = network.pairs().unwrap_or_default();
        before.values().map(|[open, _]| *open).collect::<BTreeSet<_>>() == BTreeSet::from(OPEN)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#?}", network.pairs()));
    let files = network.user.put_of_each_kind(3_000_017).unwrap();
    network.user.gets_all(&files, "at first").unwrap();
    // Who is reached through the relay alone is left alone.
    let [.., alone] = hidden();
    let (pair, [gone, stays]) = before.into_iter().find(|(_, [_, it])| *it == alone).unwrap();
    network.nodes.get_mut(&gone).unwrap().kill().unwrap();
    network.user.gets_all(&files, "while the hidden one is alone").unwrap();
    let comes = network.lab.machine(4).unwrap();
    network.start(comes, &OPEN[..2], false).unwrap();
    eventually("one that can be dialled is in the other's place", WITHIN, || {
        network.pairs().is_ok_and(|pairs| pairs.get(&pair) == Some(&[comes, stays]))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#?}", network.user.pairs()));
    network.all_healthy(3, WITHIN).unwrap();
    // It took everything over: the hidden one isn't needed any more.
    network.nodes.get_mut(&stays).unwrap().kill().unwrap();
    network.user.gets_all(&files, "from the new member alone").unwrap();
}
