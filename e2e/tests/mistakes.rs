//! What a user does wrong, and what they are told.
#![cfg(test)]

use std::os::unix::fs::FileTypeExt as _;
use std::{fs, thread};

use defs_e2e::{User, noise};
use rustix::fs::{FileType, Mode};

#[test]
fn a_user_without_key_or_network_is_told_what_to_do() {
    let user = User::without_key().unwrap();
    let no_key = user.run(&["ls"]).unwrap();
    assert_eq!(no_key.code, Some(7));
    assert!(no_key.err.contains("defs key new"), "{}", no_key.err);
    user.run(&["key", "new"]).unwrap().succeeded().unwrap();
    let no_network = user.run(&["get", "x"]).unwrap();
    assert_eq!(no_network.code, Some(4));
    assert!(no_network.err.contains("defs up"), "{}", no_network.err);
    let again = user.run(&["key", "new"]).unwrap();
    assert_eq!(again.code, Some(7));
    assert!(again.err.contains("exists already"), "{}", again.err);
}

#[test]
fn settings_out_of_bounds_are_named_with_value_and_bounds() {
    let user = User::new().unwrap();
    let refused = user.run(&["put", "/dev/null", "--data", "101"]).unwrap();
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("dataShards is `101`, allowed is 1 to 100"), "{}", refused.err);
}

#[test]
fn too_few_pairs_unknown_names_and_odd_files_are_refused_with_words() {
    let user = User::with_nodes(4).unwrap();
    let file = user.home().join("file");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    let file = file.to_str().unwrap();
    let few = user.run(&["put", file, "--data", "10", "--parity", "4"]).unwrap();
    assert_eq!(few.code, Some(5));
    assert!(few.err.contains("needs 4 open pairs"), "{}", few.err);
    let unknown = user.run(&["get", "nobody", "-o", "-"]).unwrap();
    assert_eq!(unknown.code, Some(3));
    assert!(unknown.err.contains("\"nobody\" is unknown"), "{}", unknown.err);
    let missing = user.run(&["put", "/no/such/file"]).unwrap();
    assert_eq!(missing.code, Some(8), "{}", missing.err);
    let special = user.run(&["put", "/dev/null"]).unwrap();
    assert_eq!(special.code, Some(8), "{}", special.err);
    let full = user.run(&["put", file, "--name", "x"]).unwrap();
    full.succeeded().unwrap();
    let nowhere = user.run(&["get", "x", "-o", "/no/such/folder/x"]).unwrap();
    assert_eq!(nowhere.code, Some(8), "{}", nowhere.err);
}

#[test]
fn a_file_that_is_got_into_a_pipe_leaves_the_pipe_where_it_is() {
    let user = User::with_nodes(4).unwrap();
    user.put_bytes("x", &noise(1, 1 << 20), &[]).unwrap();
    let pipe = user.home().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let from = pipe.clone();
    let reader = thread::spawn(move || fs::read(from).unwrap());
    let got = user.run(&["get", "x", "-o", pipe.to_str().unwrap()]).unwrap();
    got.succeeded().unwrap();
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(reader.join().unwrap() == noise(1, 1 << 20));
}

#[test]
fn a_second_process_on_one_data_folder_and_a_taken_port_are_refused() {
    let user = User::with_nodes(2).unwrap();
    let node = defs_e2e::program("defs-node").unwrap();
    let folder = user.node_folder(1);
    let second = std::process::Command::new(&node)
        .args([
            "--data-dir",
            folder.to_str().unwrap(),
            "--listen-address",
            "127.0.0.1",
            "--port",
            "0",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("in use by another process"), "{told}");
    let port = user.events(&["status"]).unwrap()[0]["port"].to_string();
    let other = user.home().join("other");
    let taken = std::process::Command::new(&node)
        .args(["--data-dir", other.to_str().unwrap(), "--bootstrap"])
        .args(["--listen-address", "127.0.0.1", "--port", &port])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(!taken.status.success() && told.contains(&format!("port {port} is taken")), "{told}");
}
