//! Seeds that every change must survive, in tests that run side by side.
#![expect(clippy::unwrap_used, reason = "tests")]

use defs_sim::campaign::{Plan, campaign};
use defs_sim::run::run;

/// Seeds of each test: some twenty seconds.
const EACH: u64 = 25;

fn all_are_well(part: u64) {
    let plan = Plan { from: part * EACH, seeds: EACH, jobs: 1, results: None };
    let summary = campaign(&plan, &|_| {}).unwrap();
    assert_eq!((summary.run, summary.failed), (EACH, vec![]), "make sim SEED=…");
}

macro_rules! campaigns {
    ($($name:ident $part:literal)*) => {
        $(
            #[test]
            fn $name() {
                all_are_well($part);
            }
        )*
    };
}

campaigns! {
    campaign_of_seeds_from_0 0
    campaign_of_seeds_from_25 1
    campaign_of_seeds_from_50 2
    campaign_of_seeds_from_75 3
    campaign_of_seeds_from_100 4
    campaign_of_seeds_from_125 5
    campaign_of_seeds_from_150 6
    campaign_of_seeds_from_175 7
    campaign_of_seeds_from_200 8
    campaign_of_seeds_from_225 9
    campaign_of_seeds_from_250 10
    campaign_of_seeds_from_275 11
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
