//! What the spec says of deciding.

use defs_crds::DefsClusterSpec;
use serde_json::{Value, json};

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "tests write it in place")]
fn spec(change: Value) -> DefsCluster {
    let mut spec = json!({"version": "1.2.3", "replicas": 8, "storage": {"size": "1Gi"}});
    for (name, value) in change.as_object().unwrap() {
        spec[name] = value.clone();
    }
    let spec: DefsClusterSpec = serde_json::from_value(spec).unwrap();
    DefsCluster::new("demo", spec)
}

#[test]
fn each_part_of_the_policy_reaches_the_planner() {
    let of = |pairing: Value| policy(&spec(json!({"pairing": pairing})));
    let usual = of(json!({}));
    assert_eq!(usual, Policy::default());
    for other in [
        json!({"weights": {"geography": 1}}),
        json!({"weights": {"capacity": 1}}),
        json!({"weights": {"bandwidth": 1}}),
        json!({"weights": {"latency": 1}}),
        json!({"weights": {"stability": 1}}),
        json!({"weights": {"load": 1}}),
        json!({"maxRtt": "20ms"}),
        json!({"minGainPercent": 50}),
        json!({"cooldown": "5m"}),
        json!({"maxConcurrentMoves": 7}),
    ] {
        assert_ne!(of(other.clone()), usual, "{other}");
    }
    assert_eq!(of(json!({"maxRtt": "20ms"})).max_round_trip, Some(Duration::from_millis(20)));
    assert_eq!(of(json!({"maxConcurrentMoves": 7})).moves_max.get(), 7);
}

#[test]
fn fewer_pairs_are_formed_where_spares_are_kept() {
    assert_eq!(spec(json!({})).spec.pairs(), 4);
    assert_eq!(spec(json!({"minSpares": 2})).spec.pairs(), 3);
    assert_eq!(spec(json!({"minSpares": 1})).spec.pairs(), 3);
}

#[test]
fn what_is_paused_is_so_until_its_time() {
    let healing = |paused: Value| is_paused(&spec(json!({"paused": paused})), |it| it.healing);
    let moving = |paused: Value| is_paused(&spec(json!({"paused": paused})), |it| it.rebalancing);
    assert!(!healing(json!({})) && !moving(json!({})));
    assert!(healing(json!({"all": true})) && moving(json!({"all": true})));
    assert!(healing(json!({"healing": true})) && !moving(json!({"healing": true})));
    assert!(!healing(json!({"rebalancing": true})) && moving(json!({"rebalancing": true})));
    assert!(!healing(json!({"healing": true, "until": "2001-01-01T00:00:00Z"})), "it is over");
    assert!(healing(json!({"healing": true, "until": "9001-01-01T00:00:00Z"})));
}

#[test]
fn a_plan_waits_for_the_word_that_names_it() {
    let plan = |running| Plan { id: "a1".to_owned(), steps: Vec::new(), running };
    let runs = |approval: &str, word: Option<&str>, running| {
        let mut cluster = spec(json!({"pairing": {"approval": approval}}));
        if let Some(word) = word {
            cluster.annotations_mut().insert(annotation::APPROVE_PLAN.to_owned(), word.to_owned());
        }
        may_run(&cluster, &plan(running))
    };
    assert!(runs("Auto", None, false));
    assert!(!runs("Manual", None, false));
    assert!(!runs("Manual", Some("b2"), false), "that was another plan");
    assert!(runs("Manual", Some("a1"), false));
    assert!(runs("Manual", None, true), "what has begun is gone on with");
}
