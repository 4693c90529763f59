//! What becomes of files when nodes die, disks fill and bytes rot.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use defs_e2e::{User, eventually, noise};
use serde_json::Value;

const MIB: usize = 1 << 20;

#[test]
fn a_flipped_byte_on_every_primary_is_found_and_read_around() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(3, 20 * MIB);
    for mode in ["slice", "rs-size", "rs-proportion"] {
        user.put_bytes(mode, &bytes, &["--mode", mode]).unwrap();
    }
    for pair in user.pairs().unwrap() {
        let shards = shards_of(&user, &pair["primary"]["pid"]);
        assert!(!shards.is_empty(), "a node has no shard");
        shards.iter().for_each(|shard| flip_a_byte(shard));
    }
    for mode in ["slice", "rs-size", "rs-proportion"] {
        assert!(user.get_bytes(mode).unwrap() == bytes, "{mode} differs");
    }
}

#[test]
fn a_shard_that_rotted_at_both_members_is_decoded_around_and_reported() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(4, 20 * MIB);
    user.put_bytes("film", &bytes, &["--mode", "rs-size"]).unwrap();
    let pairs = user.pairs().unwrap();
    for member in ["primary", "mirror"] {
        shards_of(&user, &pairs[0][member]["pid"]).iter().for_each(|shard| flip_a_byte(shard));
    }
    let target = user.home().join("back");
    let events = user.events(&["get", "film", "-o", target.to_str().unwrap()]).unwrap();
    assert!(fs::read(&target).unwrap() == bytes);
    let damaged = events.iter().filter(|event| event["event"] == "damaged");
    let named: BTreeSet<_> = damaged.filter_map(|event| event["node"].as_str()).collect();
    assert_eq!(named.len(), 2, "{events:?}");
}

#[test]
fn full_disks_refuse_new_files_with_words_and_go_on_reading_and_deleting() {
    let user = User::new().unwrap();
    user.up_with(4, "24Mi").unwrap();
    let bytes = noise(1, 4 * MIB);
    user.put_bytes("first", &bytes, &[]).unwrap();
    let refused = (0..20).find_map(|number| {
        let path = user.home().join("more");
        fs::write(&path, noise(number, 4 * MIB)).unwrap();
        let name = format!("more {number}");
        let ran = user.run(&["put", path.to_str().unwrap(), "--name", &name]).unwrap();
        (ran.code != Some(0)).then_some(ran)
    });
    let refused = refused.expect("twenty files don't fit");
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    assert!(refused.err.contains("room"), "{}", refused.err);
    assert!(user.get_bytes("first").unwrap() == bytes);
    let names = user.events(&["ls"]).unwrap();
    for name in names.iter().filter_map(|entry| entry["name"].as_str()) {
        user.run(&["rm", name]).unwrap().succeeded().unwrap();
    }
    let stored = || {
        let put = user.put_bytes("after", &bytes, &["--replace"]);
        put.is_ok()
    };
    eventually("there is room again", Duration::from_secs(60), stored).unwrap();
    assert!(user.get_bytes("after").unwrap() == bytes);
}

#[test]
fn what_was_acknowledged_outlives_nodes_that_are_killed_at_any_moment() {
    let user = User::with_nodes(8).unwrap();
    let done = AtomicBool::new(false);
    let mut kept = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut victim = 0;
            while !done.load(Ordering::Relaxed) {
                let pids = user.pids().unwrap();
                if let Some(pid) = pids.get(victim % pids.len().max(1)) {
                    user.kill(*pid).unwrap();
                }
                victim += 3;
                user.up(8).unwrap();
            }
        });
        for number in 0..8 {
            let bytes = noise(number, 300_000 + 700_000 * usize::try_from(number).unwrap());
            let name = format!("file {number}");
            if user.put_bytes(&name, &bytes, &["--replace"]).is_ok() {
                kept.push((name, bytes));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(!kept.is_empty(), "nothing could be put");
    user.up(8).unwrap();
    for (name, bytes) in &kept {
        assert!(user.get_bytes(name).unwrap() == *bytes, "{name} differs");
    }
}

#[test]
fn a_put_that_was_killed_sends_at_most_one_slice_again() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(5, 96 * MIB);
    let path = user.home().join("big");
    fs::write(&path, &bytes).unwrap();
    let mut child =
        user.start(&["--json", "put", path.to_str().unwrap(), "--mode", "rs-size"]).unwrap();
    wait_for_progress(&user);
    child.kill().unwrap();
    child.wait().unwrap();
    let tasks = user.events(&["tasks"]).unwrap();
    assert_eq!(tasks[0]["state"], "paused", "{tasks:?}");
    user.run(&["tasks", "resume"]).unwrap().succeeded().unwrap();
    assert!(user.get_bytes("big").unwrap() == bytes);
    let stat = user.events(&["stat", "big"]).unwrap().remove(0);
    let slices = stat["slices"].as_array().unwrap().len() as u64;
    // Ten and four shards a slice, each at two nodes; what was under way twice at most.
    let (once, most) = (slices * 28, (slices + 2) * 28);
    let held = user.sum("shards").unwrap();
    assert!((once..=most).contains(&held), "{held} shards are held, {once} to {most} are right");
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_was() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(6, 160 * MIB);
    user.put_bytes("big", &bytes, &[]).unwrap();
    let target = user.home().join("back");
    let mut child = user.start(&["--json", "get", "big", "-o", target.to_str().unwrap()]).unwrap();
    wait_for_progress(&user);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!target.exists(), "a file is there before it is whole");
    user.run(&["tasks", "resume"]).unwrap().succeeded().unwrap();
    assert!(fs::read(&target).unwrap() == bytes);
}

#[test]
fn a_data_folder_of_a_newer_version_is_left_alone() {
    let user = User::with_nodes(2).unwrap();
    user.run(&["down"]).unwrap().succeeded().unwrap();
    let version = user.node_folder(1).join("store/format");
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    fs::write(&version, "9\n").unwrap();
    let refused = user.run(&["up", "--detach"]).unwrap();
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("this program reads up to 1: upgrade it"), "{}", refused.err);
}

/// Waits until a transfer under way has moved a slice.
fn wait_for_progress(user: &User) {
    let some_done = || {
        let tasks = user.events(&["tasks"]).unwrap();
        let running = tasks.iter().find(|task| task["state"] == "running");
        running.is_some_and(|task| task["done"].as_u64().is_some_and(|done| done > 0))
    };
    eventually("a slice is moved", Duration::from_secs(60), some_done).unwrap();
}

/// The shard files of the node that runs as process `pid`.
fn shards_of(user: &User, pid: &Value) -> Vec<PathBuf> {
    let nodes = user.events(&["status"]).unwrap();
    let place = nodes.iter().position(|node| node["pid"] == *pid).unwrap();
    shard_files(&user.node_folder(place + 1).join("store/shards"))
}

/// The files below `folder`.
fn shard_files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).into_iter().flatten() {
            let path = found.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files
}

/// Flips one byte in the middle of a file.
fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}
