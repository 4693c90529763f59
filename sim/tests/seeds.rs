//! Seeds that every change must survive, in tests that run side by side.
#![expect(clippy::unwrap_used, reason = "tests")]

use defs_sim::campaign::{Plan, campaign};
use defs_sim::run::run;

/// Seeds of each test: half a minute on one core.
const EACH: u64 = 20;

fn all_are_well(from: u64) {
    let plan = Plan { from, seeds: EACH, jobs: 1, results: None };
    let summary = campaign(&plan, &|_| {}).unwrap();
    assert_eq!((summary.run, summary.failed), (EACH, vec![]), "make sim SEED=…");
}

macro_rules! campaigns {
    ($($name:ident: $from:literal,)+) => {
        $(
            #[test]
            fn $name() {
                all_are_well($from);
            }
        )+
    };
}

campaigns! {
    campaign_of_seeds_from_0: 0,
    campaign_of_seeds_from_20: 20,
    campaign_of_seeds_from_40: 40,
    campaign_of_seeds_from_60: 60,
    campaign_of_seeds_from_80: 80,
    campaign_of_seeds_from_100: 100,
    campaign_of_seeds_from_120: 120,
    campaign_of_seeds_from_140: 140,
    campaign_of_seeds_from_160: 160,
    campaign_of_seeds_from_180: 180,
    campaign_of_seeds_from_200: 200,
    campaign_of_seeds_from_220: 220,
    campaign_of_seeds_from_240: 240,
    campaign_of_seeds_from_260: 260,
    campaign_of_seeds_from_280: 280,
}

/// Each has found something once: 11 and 37 shards that were believed to have moved on one word,
/// 43 and 109 pairs of one member, 6 a newcomer that took a failing disk for an answer, 14 one
/// that had signed what was then given up, 10 and 25 witnesses that signed for nothing, 22 a shard that
/// went elsewhere while its siblings were told to watch the place that failed, 31 a pair of one
/// member, 54 two halves of puts that
/// failed, 101 and 201 rebuilders that kept each other from it, 102 a spare that promised itself twice.
#[test]
fn a_campaign_of_seeds_that_failed_once() {
    for seed in [6, 10, 11, 14, 22, 25, 31, 37, 43, 54, 101, 102, 109, 165, 201] {
        let outcome = run(seed, None).unwrap();
        assert_eq!(outcome.broken, None, "make sim SEED={seed}");
    }
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
