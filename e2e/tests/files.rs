//! What a user does with files: put, list, get, delete, on real nodes that die.
#![cfg(test)]

use std::fs;
use std::time::Duration;

use defs_e2e::{User, eventually, noise};
use serde_json::Value;

const MIB: usize = 1 << 20;

#[test]
fn every_size_comes_back_equal_before_and_after_a_pair_died_and_after_a_restart() {
    let user = User::with_nodes(10).unwrap();
    let sizes = [
        0,
        1,
        16 << 10,
        (16 << 10) + 1,
        256 << 10,
        (256 << 10) + 1,
        MIB - 1,
        5 * MIB,
        20 * MIB + 7,
    ];
    let files: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(seed, size)| (format!("größe {size}"), noise(seed as u64, *size)))
        .collect();
    for (name, bytes) in &files {
        user.put_bytes(name, bytes, &[]).unwrap();
    }
    assert_eq!(user.events(&["ls"]).unwrap().len(), files.len());
    let all_equal = |when: &str| {
        for (name, bytes) in &files {
            assert!(user.get_bytes(name).unwrap() == *bytes, "{name} differs {when}");
        }
    };
    all_equal("at first");
    let pairs = user.pairs().unwrap();
    assert_eq!(pairs.len(), 5);
    user.kill_pair(&pairs[0]).unwrap();
    all_equal("with a pair gone");
    user.run(&["down"]).unwrap().succeeded().unwrap();
    user.up(10).unwrap();
    all_equal("after a restart");
}

#[test]
fn each_mode_stores_and_returns_a_file_and_a_range_of_it() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(7, 9 * MIB + 11);
    for mode in ["file", "slice", "rs-size", "rs-proportion"] {
        let put = user.put_bytes(mode, &bytes, &["--mode", mode]).unwrap();
        assert_eq!(put["mode"], mode);
        assert!(user.get_bytes(mode).unwrap() == bytes, "{mode} differs");
        let part = user.run(&["get", mode, "-o", "-", "--range", "1048570-2097160"]).unwrap();
        assert!(part.succeeded().unwrap().out == bytes[1_048_570..=2_097_160], "{mode} range");
    }
}

#[test]
fn a_flipped_byte_on_a_nodes_disk_is_found_and_read_around() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(3, 20 * MIB);
    user.put_bytes("film", &bytes, &[]).unwrap();
    let flipped = flip_a_byte(&user.node_folder(1).join("store/shards"));
    assert_eq!(flipped, 1, "no shard file was found");
    assert!(user.get_bytes("film").unwrap() == bytes);
}

/// Flips one byte in the middle of the first shard file below `folder`.
fn flip_a_byte(folder: &std::path::Path) -> usize {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).into_iter().flatten() {
            let path = found.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mut bytes = fs::read(&path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes).unwrap();
                return 1;
            }
        }
    }
    0
}

#[test]
fn a_put_that_was_killed_goes_on_where_it_was() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(5, 96 * MIB);
    let path = user.home().join("big");
    fs::write(&path, &bytes).unwrap();
    let mut child = user.start(&["--json", "put", path.to_str().unwrap()]).unwrap();
    let some_done = || {
        let tasks = user.events(&["tasks"]).unwrap();
        tasks.first().and_then(|task| task["done"].as_u64()).is_some_and(|done| done > 0)
    };
    eventually("a slice is stored", Duration::from_secs(60), some_done).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let tasks = user.events(&["tasks"]).unwrap();
    assert_eq!(tasks[0]["state"], "paused", "{tasks:?}");
    user.run(&["tasks", "resume"]).unwrap().succeeded().unwrap();
    assert!(user.get_bytes("big").unwrap() == bytes);
}

#[test]
fn folders_pipes_replacing_and_deleting_work_as_people_expect() {
    let user = User::with_nodes(10).unwrap();
    let folder = user.home().join("photos");
    fs::create_dir_all(folder.join("2026")).unwrap();
    fs::write(folder.join("a.txt"), "one").unwrap();
    fs::write(folder.join("2026/b.txt"), "two").unwrap();
    let folder = folder.to_str().unwrap();
    assert_eq!(user.run(&["put", folder]).unwrap().code, Some(1));
    user.run(&["put", "-r", folder]).unwrap().succeeded().unwrap();
    assert_eq!(user.get_bytes("photos/2026/b.txt").unwrap(), b"two");
    let target = user.home().join("back");
    let got = user.run(&["get", "-r", "photos/", "-o", target.to_str().unwrap()]).unwrap();
    got.succeeded().unwrap();
    assert_eq!(fs::read(target.join("photos/a.txt")).unwrap(), b"one");

    user.run_with(&["put", "-", "--name", "piped"], b"from a pipe").unwrap().succeeded().unwrap();
    assert_eq!(user.get_bytes("piped").unwrap(), b"from a pipe");
    let taken = user.run_with(&["put", "-", "--name", "piped"], b"again").unwrap();
    assert_eq!(taken.code, Some(5), "{}", taken.err);
    let replaced = user.run_with(&["put", "-", "--name", "piped", "--replace"], b"again").unwrap();
    replaced.succeeded().unwrap();
    assert_eq!(user.get_bytes("piped").unwrap(), b"again");
    user.run(&["rm", "piped"]).unwrap().succeeded().unwrap();
    assert_eq!(user.run(&["get", "piped", "-o", "-"]).unwrap().code, Some(3));
    let stat: Value = user.events(&["stat", "photos/a.txt"]).unwrap().remove(0);
    assert_eq!((&stat["mode"], &stat["inline"]), (&Value::from("file"), &Value::from(true)));
}
