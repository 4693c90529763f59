//! What a user does with files: put, list, get, delete, on real nodes that die.
#![cfg(test)]

use std::fs;

use defs_e2e::{User, noise};
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
