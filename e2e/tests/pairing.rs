//! Better pairs on real nodes: a score with its inputs, a plan with its reasons, and carrying it
//! out while files stay readable.
#![cfg(test)]

use std::time::Duration;

use defs_e2e::{User, eventually, noise};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);

fn one<'a>(events: &'a [Value], event: &str) -> &'a Value {
    events.iter().find(|one| one["event"] == event).unwrap_or_else(|| panic!("{events:?}"))
}

/// Two nodes in zone x and two in zone y, so each pair is in one zone; then a spare in z.
fn crossed() -> User {
    let mut user = User::new().unwrap();
    for (zone, nodes) in [("x", 2), ("y", 4), ("z", 5)] {
        user.set("DEFS_ZONE", zone);
        user.up(nodes).unwrap();
    }
    user
}

fn zones(user: &User) -> Vec<[String; 2]> {
    let nodes = user.events(&["nodes"]).unwrap();
    let zone = |member: &Value| {
        // Who has just joined may not know it yet.
        let node = nodes.iter().find(|node| node["id"] == member["id"]);
        node.map_or_else(String::new, |node| node["zone"].as_str().unwrap().to_owned())
    };
    let pairs = user.pairs().unwrap();
    pairs.iter().map(|pair| [zone(&pair["primary"]), zone(&pair["mirror"])]).collect()
}

/// Whether the node that was asked, which may have just joined, knows both pairs.
fn is_known(zones: &[[String; 2]]) -> bool {
    zones.len() == 2 && zones.iter().flatten().all(|zone| !zone.is_empty())
}

/// Pairs whose members are in one zone.
fn alike(user: &User) -> usize {
    // Each question may go to another node.
    let mut told = Vec::new();
    eventually("both pairs are known", WITHIN, || {
        told = zones(user);
        is_known(&told)
    })
    .unwrap();
    told.iter().filter(|[one, other]| one == other).count()
}

#[test]
fn a_plan_says_which_pairs_would_be_better_and_apply_makes_them_while_files_stay() {
    let user = crossed();
    let bytes = noise(1, 3 << 20);
    user.put_bytes("film", &bytes, &["--mode", "file"]).unwrap();
    assert_eq!(alike(&user), 2, "nothing to make better");
    let planned = |user: &User| {
        let events = user.events(&["pairs", "--plan"]).unwrap();
        one(&events, "plan").clone()
    };
    // The spare's card has to arrive first.
    eventually("a plan that uses the spare", WITHIN, || {
        planned(&user)["exchanges"][0]["steps"].as_array().is_some_and(|steps| steps.len() >= 2)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", planned(&user)));
    let plan = planned(&user);
    assert_eq!(plan["exchanges"][0]["gain"], "2 fewer on one host");
    assert_eq!(alike(&user), 2, "a plan changes nothing");
    let applied = user.events(&["pairs", "--apply"]).unwrap();
    assert!(one(&applied, "applied")["steps"].as_u64() >= Some(2), "{applied:?}");
    assert_eq!(alike(&user), 0);
    assert_eq!(user.get_bytes("film").unwrap(), bytes);
    let after = planned(&user);
    assert_eq!(after["exchanges"].as_array().map(Vec::len), Some(0), "{after}");
}

#[test]
fn pairs_are_made_better_by_themselves_as_long_as_somebody_says_so() {
    let user = crossed();
    let mut auto = user.start(&["--json", "pairs", "--auto", "--every", "1"]).unwrap();
    let made = eventually("every pair is in two zones", WITHIN, || {
        let zones = zones(&user);
        is_known(&zones) && zones.iter().all(|[one, other]| one != other)
    });
    let ended = auto.try_wait().unwrap();
    auto.kill().unwrap();
    auto.wait().unwrap();
    made.unwrap();
    assert_eq!(ended, None, "it goes on until it is interrupted");
}

#[test]
fn a_score_names_every_measurement_that_it_follows_from() {
    let user = User::with_nodes(4).unwrap();
    let node = user.events(&["nodes"]).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let explained = || {
        let events = user.events(&["nodes", "--explain", &node[..12]]).unwrap();
        one(&events, "score").clone()
    };
    eventually("round trips were measured by all others", WITHIN, || {
        let score = explained();
        score["observers"] == 3 && score["inputs"]["latency"]["answers"].as_u64() > Some(2)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", explained()));
    let score = explained();
    let names: Vec<_> =
        score["parts"].as_array().unwrap().iter().map(|part| part["dimension"].clone()).collect();
    let all = ["geography", "capacity", "bandwidth", "latency", "stability", "load"];
    assert_eq!(names, all);
    assert_eq!(score["inputs"]["geography"]["others"], 3);
    let said = user.run(&["nodes", "--explain", &node]).unwrap().succeeded().unwrap();
    let said = String::from_utf8_lossy(&said.out).into_owned();
    assert!(said.contains("µs") && said.contains("by what 3 other nodes measured"), "{said}");
    let unknown = user.run(&["nodes", "--explain", "zz"]).unwrap().err;
    assert!(unknown.contains("no node's id begins with zz"), "{unknown}");
}
