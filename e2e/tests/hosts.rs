//! Nodes on machines of their own: what becomes of files when a network is cut in two, and when a
//! node's disk is full.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use defs_e2e::lab::{Lab, Machine, Network, Side, SmallDisk};
use defs_e2e::{Ran, User, eventually, noise};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Long enough for a busy machine; the conditions end the waits.
const WITHIN: Duration = Duration::from_secs(90);

/// Nodes give up on each other within seconds.
const HASTY: [(&str, &str); 3] =
    [("DEFS_SUSPECT_AFTER", "1s"), ("DEFS_FAIL_AFTER", "2s"), ("DEFS_REPLACE_AFTER", "4s")];

/// Nodes at machines 1 to `nodes`, in pairs as far as that goes.
fn network_of(lab: Lab, nodes: u8) -> Network {
    let peers = [Machine(1), Machine(2), Machine(3)];
    let mut network = Network::new(lab, 100, &peers).unwrap();
    HASTY.iter().for_each(|(name, value)| network.set(name, value));
    for number in 1..=nodes {
        let machine = network.lab.machine(number).unwrap();
        network.start(machine, &peers, number == 1).unwrap();
    }
    network.all_healthy(usize::from(nodes / 2), WITHIN).unwrap();
    network
}

fn members(pair: &Value) -> [&Value; 2] {
    ["primary", "mirror"].map(|member| &pair[member]["id"])
}

fn epochs(pairs: &[Value]) -> BTreeMap<String, u64> {
    let epoch =
        |pair: &Value| (pair["id"].as_str().unwrap().to_owned(), pair["epoch"].as_u64().unwrap());
    pairs.iter().map(epoch).collect()
}

#[test]
fn the_larger_part_of_a_cut_network_heals_and_who_was_cut_off_comes_back_as_a_spare() {
    let Some(lab) = Lab::new().unwrap() else { return };
    let mut network = network_of(lab, 7);
    let files = network.user.put_of_each_kind(3 * MIB + 17).unwrap();
    let before = network.user.pairs().unwrap();
    let told = network.told().unwrap();
    // Not the one at which the invite lies.
    let is_cut = |(machine, node): &(&Machine, &Value), pair: &Value| {
        **machine != Machine(1) && members(pair).contains(&&node["id"])
    };
    let (cut_off, ids): (Vec<_>, Vec<_>) = before[..2]
        .iter()
        .map(|pair| told.iter().find(|one| is_cut(one, pair)).unwrap())
        .map(|(machine, node)| (*machine, node["id"].clone()))
        .unzip();
    network.lab.move_to(Side::Far, &cut_off).unwrap();
    network.user.gets_all(&files, "at once after the cut").unwrap();
    // The smaller part gets a node that could take a place.
    let temptation = network.lab.machine(50).unwrap();
    network.lab.move_to(Side::Far, &[temptation]).unwrap();
    network.start(temptation, &cut_off, false).unwrap();
    let healed = || {
        let pairs = network.user.pairs().unwrap();
        pairs.into_iter().find(|pair| {
            let [one, other] = members(pair);
            pair["state"] == "healthy"
                && before.iter().any(|old| {
                    old["id"] == pair["id"]
                        && old["epoch"].as_u64() < pair["epoch"].as_u64()
                        && members(old).into_iter().any(|id| ids.contains(id))
                })
                && !ids.contains(one)
                && !ids.contains(other)
        })
    };
    eventually("a spare is in the place of one that was cut off", WITHIN, || healed().is_some())
        .unwrap_or_else(|error| panic!("{error:#}\n{:#?}", network.user.pairs()));
    let healed = healed().unwrap();
    network.user.gets_all(&files, "in the larger part").unwrap();
    // As long as it took there, nothing has changed here.
    let cut_off_user = network.lab.user(cut_off[0], &cut_off[..1]).unwrap();
    eventually("the smaller part knows of the node that came", WITHIN, || {
        let nodes = cut_off_user.events(&["nodes"]).unwrap_or_default();
        nodes.iter().any(|node| node["host"] == "host-50" && node["state"] == "spare")
    })
    .unwrap();
    assert_eq!(epochs(&cut_off_user.pairs().unwrap()), epochs(&before));
    drop(network.nodes.remove(&temptation));
    network.lab.move_to(Side::Near, &cut_off).unwrap();
    network.all_healthy(3, WITHIN).unwrap();
    let replaced = before.iter().find(|old| old["id"] == healed["id"]).unwrap();
    let replaced = members(replaced).into_iter().find(|id| ids.contains(id)).unwrap().clone();
    eventually("who was replaced is a spare by its own word", WITHIN, || {
        let seen = cut_off_user.events(&["nodes"]).unwrap_or_default();
        seen.iter().any(|node| node["id"] == replaced && node["state"] == "spare")
    })
    .unwrap();
    let in_pairs = network.user.pairs().unwrap();
    let in_pairs: BTreeSet<_> = in_pairs.iter().flat_map(members).map(Value::to_string).collect();
    assert_eq!(in_pairs.len(), 6);
    assert!(!in_pairs.contains(&replaced.to_string()));
    network.user.gets_all(&files, "after the cut has ended").unwrap();
}

/// What a put that asks nodes in vain says of it, and how it ended.
fn put_and_tell(user: &User, name: &str, bytes: &[u8], options: &[&str]) -> Ran {
    let path = user.home().join("to-put");
    fs::write(&path, bytes).unwrap();
    let mut args = vec!["put", path.to_str().unwrap(), "--name", name, "--set", "logLevel=debug"];
    args.extend(options);
    user.run(&args).unwrap()
}

/// What a node says that is asked to store more than its device takes.
const FULL: &str = "the disk is full";

#[test]
fn a_full_disk_takes_nothing_more_loses_nothing_and_is_of_use_again_when_files_go() {
    let user = User::new().unwrap();
    let small = user.node_folder(3);
    // A node leaves 64 MiB of its device to the index, and offers what it was told.
    let Some(_disk) = SmallDisk::mount(&small, "112m").unwrap() else { return };
    user.up_with(10, "4Gi").unwrap();
    let pids = user.pids().unwrap();
    let mut files = Vec::new();
    let told = (0..30).find_map(|number| {
        let (name, bytes) = (format!("file {number}"), noise(number, 12 * MIB));
        let ran = put_and_tell(&user, &name, &bytes, &["--mode", "rs-size"]);
        // With four of five pairs it goes on.
        let said = ran.succeeded().unwrap().err;
        files.push((name, bytes));
        said.contains(FULL).then_some(said)
    });
    let told = told.expect("thirty files don't fit on 48 MiB of each pair");
    assert!(told.contains("bytes are needed"), "{told}");
    // Five pairs are too few when one of them is full.
    let wide = ["--mode", "rs-size", "--data", "8", "--parity", "2"];
    let refused = put_and_tell(&user, "wide", &files[0].1, &wide);
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    assert!(refused.err.contains("4 are open, 1 others have no room"), "{}", refused.err);
    user.gets_all(&files, "while a disk is full").unwrap();
    let kept = files.split_off(files.len() - 2);
    for (name, _) in &files {
        user.run(&["rm", name]).unwrap().succeeded().unwrap();
    }
    eventually("there is room again", WITHIN, || {
        put_and_tell(&user, "wide", &files[0].1, &wide).code == Some(0)
    })
    .unwrap();
    assert!(user.get_bytes("wide").unwrap() == files[0].1);
    user.gets_all(&kept, "at the end").unwrap();
    assert_eq!(user.pids().unwrap(), pids, "a node ended");
}
