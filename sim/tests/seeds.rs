//! Seeds that every change must survive, in tests that run side by side.
#![expect(clippy::unwrap_used, reason = "tests")]

use defs_sim::campaign::{Plan, campaign};
use defs_sim::run::run;

/// Seeds of each test: some twenty seconds.
const EACH: u64 = 25;

fn all_are_well(from: u64) {
    let plan = Plan { from, seeds: EACH, jobs: 1, results: None };
    let summary = campaign(&plan, &|_| {}).unwrap();
    assert_eq!((summary.run, summary.failed), (EACH, vec![]), "make sim SEED=…");
}

#[test]
fn campaign_of_seeds_from_0() {
    all_are_well(0);
}

#[test]
fn campaign_of_seeds_from_25() {
    all_are_well(25);
}

#[test]
fn campaign_of_seeds_from_50() {
    all_are_well(50);
}

#[test]
fn campaign_of_seeds_from_75() {
    all_are_well(75);
}

#[test]
fn campaign_of_seeds_from_100() {
    all_are_well(100);
}

#[test]
fn campaign_of_seeds_from_125() {
    all_are_well(125);
}

#[test]
fn campaign_of_seeds_from_150() {
    all_are_well(150);
}

#[test]
fn campaign_of_seeds_from_175() {
    all_are_well(175);
}

#[test]
fn campaign_of_seeds_from_200() {
    all_are_well(200);
}

#[test]
fn campaign_of_seeds_from_225() {
    all_are_well(225);
}

#[test]
fn campaign_of_seeds_from_250() {
    all_are_well(250);
}

#[test]
fn campaign_of_seeds_from_275() {
    all_are_well(275);
}

#[test]
fn a_seed_makes_one_run_event_for_event() {
    for seed in [2, 6] {
        let (one, other) = (run(seed, None).unwrap(), run(seed, None).unwrap());
        assert_eq!(one, other);
        assert!(one.events > 10_000, "{one:?}");
    }
    assert_ne!(run(2, None).unwrap().hash, run(6, None).unwrap().hash);
}
