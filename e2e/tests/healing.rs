//! Real nodes that die for ever, come back, stall, and leave: what becomes of the files, with
//! the network left to itself.
#![cfg(test)]

use std::fs;
use std::time::Duration;

use defs_e2e::{User, eventually, noise};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Long enough for a busy machine; the conditions end the waits.
const WITHIN: Duration = Duration::from_secs(150);

/// A user whose nodes give up on each other within seconds.
fn hasty(nodes: usize) -> User {
    let mut user = User::new().unwrap();
    for (name, value) in [("SUSPECT", "1s"), ("FAIL", "2s"), ("REPLACE", "4s")] {
        user.set(&format!("DEFS_{name}_AFTER"), value);
    }
    user.up(nodes).unwrap();
    user
}

fn survives(user: &User, name: &str) -> Option<u64> {
    let events = user.events(&["stat", name, "--ask"]).ok()?;
    events.iter().find(|event| event["event"] == "stat")?["survivesPairs"].as_u64()
}

/// Whether the command holds the file to be readable, without asking who has what.
fn readable(user: &User, name: &str) -> bool {
    let events = user.events(&["stat", name]).unwrap();
    let stat = events.iter().find(|event| event["event"] == "stat").unwrap();
    stat["survivesPairs"].is_u64()
}

/// Kills both members of a pair that doesn't have the first node, and takes their folders away.
fn destroy_a_pair(user: &User) -> Value {
    let first = user.events(&["status"]).unwrap();
    let first = first.iter().find(|node| node["name"] == "node-1").unwrap()["pid"].as_i64();
    let pairs = user.pairs().unwrap();
    let is_other = |pair: &&Value| {
        let pids = ["primary", "mirror"].map(|member| pair[member]["pid"].as_i64());
        pair["state"] == "healthy" && pids.iter().all(|pid| pid.is_some() && *pid != first)
    };
    let pair = pairs.iter().find(is_other).expect("a healthy pair").clone();
    let folders = ["primary", "mirror"].map(|member| user.folder_of(&pair[member]["pid"]).unwrap());
    user.kill_pair(&pair).unwrap();
    folders.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    pair
}

/// Waits until somebody has given the pair up: before that a file may seem as safe as it was.
fn given_up(user: &User, pair: &Value) {
    eventually("the pair is given up", WITHIN, || {
        let why = user.events(&["why", "film"]).unwrap();
        let why = why.iter().find(|event| event["event"] == "why").unwrap();
        why["lostPairs"].as_array().is_some_and(|lost| lost.contains(&pair["id"]))
    })
    .unwrap();
}

#[test]
fn what_two_pairs_held_one_after_the_other_is_rebuilt_and_every_file_is_equal() {
    let user = hasty(10);
    let files = [
        ("film", 24 * MIB, "rs-size"),
        ("photo", 3 * MIB, "rs-proportion"),
        ("note", 200_000, "file"),
        ("word", 500, "auto"),
    ];
    let bytes: Vec<_> =
        (0..).zip(&files).map(|(seed, (_, length, _))| noise(seed, *length)).collect();
    for ((name, _, mode), bytes) in files.iter().zip(&bytes) {
        user.put_bytes(name, bytes, &["--mode", mode]).unwrap();
    }
    for round in 0..2 {
        let pair = destroy_a_pair(&user);
        for ((name, ..), bytes) in files.iter().zip(&bytes) {
            assert!(
                user.get_bytes(name).unwrap() == *bytes,
                "{name} differs at once in round {round}"
            );
        }
        given_up(&user, &pair);
        // With three pairs, fourteen shards find no place for all.
        let wanted = u64::from(round == 0);
        for (name, ..) in &files[..3] {
            eventually(&format!("{name} is as safe as it can be in round {round}"), WITHIN, || {
                survives(&user, name).is_some_and(|pairs| pairs >= wanted)
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", explained(&user, name)));
        }
        settled(&user);
        for ((name, ..), bytes) in files.iter().zip(&bytes) {
            assert!(readable(&user, name), "{name} is said to be unreadable in round {round}");
            assert!(user.get_bytes(name).unwrap() == *bytes, "{name} differs in round {round}");
        }
    }
    user.up(14).unwrap();
    for (name, ..) in &files[..3] {
        eventually(&format!("{name} is safe again"), WITHIN, || {
            survives(&user, name).is_some_and(|pairs| pairs >= 1)
        })
        .unwrap();
    }
    for ((name, ..), bytes) in files.iter().zip(&bytes) {
        assert!(user.get_bytes(name).unwrap() == *bytes, "{name} differs at the end");
    }
}

/// What the command says of a file that is not as it should be.
fn explained(user: &User, name: &str) -> String {
    let said = |args: &[&str]| {
        let ran = user.run(args).unwrap();
        format!("{}{}", String::from_utf8_lossy(&ran.out), ran.err)
    };
    [said(&["why", name]), said(&["stat", name, "--ask"]), said(&["pairs"])].concat()
}

/// Waits until no node rebuilds anything and has lost pairs only that it knows of.
fn settled(user: &User) {
    eventually("nothing is being rebuilt", WITHIN, || {
        let why = user.events(&["why", "film"]).unwrap();
        let why = why.iter().find(|event| event["event"] == "why").unwrap();
        why["rebuilding"] == false
            && why["queued"] == 0
            && why["lostPairs"].as_array().is_some_and(|lost| !lost.is_empty())
    })
    .unwrap();
}

#[test]
fn a_spare_takes_the_place_of_a_member_that_is_gone_for_ever() {
    let user = hasty(5);
    let bytes = noise(1, 8 * MIB);
    user.put_bytes("album", &bytes, &["--mode", "slice"]).unwrap();
    let pair = user.pairs().unwrap().into_iter().find(|pair| pair["state"] == "healthy").unwrap();
    let gone = pair["mirror"]["id"].clone();
    let folder = user.folder_of(&pair["mirror"]["pid"]).unwrap();
    user.kill(pair["mirror"]["pid"].as_i64().unwrap()).unwrap();
    fs::remove_dir_all(folder).unwrap();
    assert!(user.get_bytes("album").unwrap() == bytes, "while one member is away");
    eventually("the pair is healthy in a later epoch", WITHIN, || {
        user.pairs().unwrap().iter().any(|now| {
            now["id"] == pair["id"]
                && now["state"] == "healthy"
                && now["epoch"].as_u64() > pair["epoch"].as_u64()
                && now["mirror"]["id"] != gone
        })
    })
    .unwrap();
    // The member that had everything dies too: the new one serves alone.
    user.kill(pair["primary"]["pid"].as_i64().unwrap()).unwrap();
    assert!(user.get_bytes("album").unwrap() == bytes, "from the new member alone");
}

#[test]
fn a_member_that_stands_still_for_five_seconds_or_restarts_is_not_replaced() {
    let mut user = User::new().unwrap();
    for (name, value) in [("SUSPECT", "1s"), ("FAIL", "2s"), ("REPLACE", "20s")] {
        user.set(&format!("DEFS_{name}_AFTER"), value);
    }
    user.up(5).unwrap();
    let before = user.pairs().unwrap();
    let pid = before[0]["mirror"]["pid"].as_i64().unwrap();
    let stopped = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(stopped, Signal::STOP).unwrap();
    let state = |wanted: &str| {
        let id = before[0]["id"].clone();
        let wanted = wanted.to_owned();
        let user = &user;
        move || user.pairs().unwrap().iter().any(|pair| pair["id"] == id && pair["state"] == wanted)
    };
    eventually("the pair is degraded", WITHIN, state("degraded")).unwrap();
    kill_process(stopped, Signal::CONT).unwrap();
    eventually("the pair is healthy again", WITHIN, state("healthy")).unwrap();
    user.kill(pid).unwrap();
    user.up(5).unwrap();
    eventually("the pair is healthy after a restart", WITHIN, state("healthy")).unwrap();
    let after = user.pairs().unwrap();
    let members = |pairs: &[Value]| -> Vec<_> {
        pairs
            .iter()
            .map(|pair| {
                (pair["id"].clone(), pair["primary"]["id"].clone(), pair["mirror"]["id"].clone())
            })
            .collect()
    };
    assert_eq!(members(&before), members(&after));
}

#[test]
fn a_node_that_is_drained_leaves_its_pair_whole() {
    let user = hasty(5);
    let bytes = noise(1, 8 * MIB);
    user.put_bytes("album", &bytes, &["--mode", "slice"]).unwrap();
    let pair = user.pairs().unwrap().into_iter().find(|pair| pair["state"] == "healthy").unwrap();
    let leaving = pair["primary"]["id"].as_str().unwrap().to_owned();
    let ran = user.run(&["node", "drain", &leaving]).unwrap().succeeded().unwrap();
    assert!(String::from_utf8_lossy(&ran.out).contains("can be stopped"));
    for member in ["primary", "mirror"] {
        assert!(user.pairs().unwrap().iter().all(|pair| pair[member]["id"] != leaving.as_str()));
    }
    user.kill(pair["primary"]["pid"].as_i64().unwrap()).unwrap();
    assert!(user.get_bytes("album").unwrap() == bytes);
    // Nobody is left who could take another one's place: the one that left is leaving still.
    let next = user.pairs().unwrap()[0]["primary"]["id"].as_str().unwrap().to_owned();
    let refused = user.run(&["node", "drain", &next]).unwrap();
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("no spare node has room"), "{}", refused.err);
}

#[test]
fn three_pairs_one_after_the_other_are_rebuilt_among_fourteen_nodes() {
    let user = hasty(14);
    let (film, note) = (noise(1, 12 * MIB), noise(2, 50_000));
    user.put_bytes("film", &film, &["--mode", "rs-size"]).unwrap();
    user.put_bytes("note", &note, &["--mode", "file"]).unwrap();
    for round in 0..3 {
        let pair = destroy_a_pair(&user);
        assert!(user.get_bytes("film").unwrap() == film, "at once in round {round}");
        assert!(user.get_bytes("note").unwrap() == note, "at once in round {round}");
        given_up(&user, &pair);
        for name in ["film", "note"] {
            eventually(&format!("{name} is safe again in round {round}"), WITHIN, || {
                survives(&user, name).is_some_and(|pairs| pairs >= 1)
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", explained(&user, name)));
        }
        settled(&user);
    }
    assert!(user.get_bytes("film").unwrap() == film);
    assert!(user.get_bytes("note").unwrap() == note);
}

#[test]
fn a_node_whose_folder_was_wiped_is_a_new_node_and_takes_its_own_former_place() {
    let user = hasty(4);
    let bytes = noise(1, 8 * MIB);
    user.put_bytes("album", &bytes, &["--mode", "slice"]).unwrap();
    let pair = user.pairs().unwrap().into_iter().find(|pair| pair["state"] == "healthy").unwrap();
    // The first node has the invite that admits the others.
    let first = user.events(&["status"]).unwrap();
    let first = first.iter().find(|node| node["name"] == "node-1").unwrap()["pid"].clone();
    let wiped = if pair["mirror"]["pid"] == first { "primary" } else { "mirror" };
    let folder = user.folder_of(&pair[wiped]["pid"]).unwrap();
    user.kill(pair[wiped]["pid"].as_i64().unwrap()).unwrap();
    fs::remove_dir_all(folder).unwrap();
    user.up(4).unwrap();
    eventually("the pair is healthy with the new node", WITHIN, || {
        user.pairs().unwrap().iter().any(|now| {
            let ids = ["primary", "mirror"].map(|member| &now[member]["id"]);
            now["id"] == pair["id"]
                && now["state"] == "healthy"
                && !ids.contains(&&pair[wiped]["id"])
        })
    })
    .unwrap();
    let other = if wiped == "mirror" { "primary" } else { "mirror" };
    if pair[other]["pid"] != first {
        user.kill(pair[other]["pid"].as_i64().unwrap()).unwrap();
    }
    assert!(user.get_bytes("album").unwrap() == bytes);
}

/// How full the fullest node is before the emptiest, in percent of what each offers.
fn skew(user: &User) -> f64 {
    let nodes = user.events(&["status"]).unwrap();
    let number = |node: &Value, field: &str| node[field].as_u64().unwrap_or(0);
    let used: Vec<_> = nodes.iter().map(|node| number(node, "used")).collect();
    let capacity = number(&nodes[0], "capacity");
    let apart = used.iter().max().unwrap() - used.iter().min().unwrap();
    f64::from(u32::try_from(apart * 1000 / capacity).unwrap()) / 10.0
}

#[test]
fn nodes_that_join_are_given_shards_until_all_are_evenly_full() {
    let mut user = User::new().unwrap();
    user.set("DEFS_BALANCE_EVERY", "1s");
    user.up_with(6, "64Mi").unwrap();
    let files: Vec<_> = (0..6)
        .map(|number| (format!("file {number}"), noise(number, 2 * MIB)))
        .inspect(|(name, bytes)| {
            let options = ["--mode", "rs-size", "--data", "2", "--parity", "2"];
            user.put_bytes(name, bytes, &options).unwrap();
        })
        .collect();
    user.up_with(8, "64Mi").unwrap();
    assert!(skew(&user) > 10.0, "{}", skew(&user));
    eventually("all are evenly full", WITHIN, || skew(&user) <= 5.0).unwrap();
    user.gets_all(&files, "when shards have moved").unwrap();
    let name = &files[0].0;
    assert!(survives(&user, name) >= Some(1));
    // Deletion reaches what has moved.
    for (name, _) in &files {
        user.run(&["rm", name]).unwrap().succeeded().unwrap();
    }
    eventually("all is deleted", WITHIN, || user.sum("shards").unwrap() == 0).unwrap();
}
