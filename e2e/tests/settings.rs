//! What settings change in real processes, from whichever source they come.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defs_e2e::{User, eventually, free_port, http, noise, program};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// A storage node that ends with the value.
struct Node(Child);

impl Node {
    /// Starts a node with a data folder of its own and waits until it is ready.
    fn start(folder: &Path, status_port: u16, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let child = Command::new(program("defs-node").unwrap())
            .args(["--data-dir", folder.to_str().unwrap(), "--listen-address", "127.0.0.1"])
            .args(["--status-port", &status_port.to_string(), "--bootstrap"])
            .args(flags)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let node = Self(child);
        let ready = || http(status_port, "/readyz").is_some_and(|told| told.contains("200 OK"));
        eventually("the node is ready", Duration::from_secs(30), ready).unwrap();
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_node_takes_settings_from_its_file_its_environment_and_its_flags() {
    let user = User::new().unwrap();
    let folder = user.home().join("node");
    let logs = user.home().join("logs");
    let config = user.home().join("node.yaml");
    let (port, status_port) = (free_port().unwrap(), free_port().unwrap());
    let yaml = format!(
        "port: {port}\nzone: from-file\nregion: from-file\ncapacity: 100Mi\nlogDir: {}\n\
         logFormat: json\nannounce: /ip4/192.0.2.7/tcp/4001\n",
        logs.display()
    );
    fs::write(&config, yaml).unwrap();
    let node = Node::start(
        &folder,
        status_port,
        &["--config", config.to_str().unwrap(), "--region", "from-flag", "--host", "machine-1"],
        &[("DEFS_REGION", "from-environment"), ("DEFS_ZONE", "from-environment")],
    );
    let peer = format!("bootstrapPeers=/ip4/127.0.0.1/tcp/{port}");
    let card = user.events(&["nodes", "--set", &peer]).unwrap().remove(0);
    assert_eq!(card["region"], "from-flag");
    assert_eq!(card["zone"], "from-environment");
    assert_eq!(card["host"], "machine-1");
    assert_eq!(card["capacity"], 100 << 20);
    assert_eq!(card["addresses"][0], "/ip4/192.0.2.7/tcp/4001");
    let named = format!("networkFile={}", folder.join("network").display());
    user.events(&["nodes", "--set", &peer, "--set", &named]).unwrap();
    let mut other = fs::read(folder.join("network")).unwrap();
    other[7] = if other[7] == b'0' { b'1' } else { b'0' };
    let path = user.home().join("other");
    fs::write(&path, other).unwrap();
    let named = format!("networkFile={}", path.display());
    let refused = user.run(&["nodes", "--set", &peer, "--set", &named]).unwrap();
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    assert!(refused.err.contains("1 answered, none of network"), "{}", refused.err);
    drop(node);
    let log = fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let lines = fs::read_to_string(&log).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(first["level"].is_string(), "{first}");
}

#[test]
fn a_network_file_chooses_among_nodes_of_several_networks() {
    let homes = User::without_key().unwrap();
    let founder = |name: &str| {
        let (folder, port, status_port) =
            (homes.home().join(name), free_port().unwrap(), free_port().unwrap());
        let flags = ["--host", name, "--port", &port.to_string(), "--capacity", "100Mi"];
        let node = Node::start(&folder, status_port, &flags, &[]);
        (node, format!("/ip4/127.0.0.1/tcp/{port}"))
    };
    let [(_one, at_one), (_other, at_other)] = ["one", "other"].map(founder);
    let peers = format!("bootstrapPeers={at_one},{at_other}");
    let named = |name: &str| {
        let file = homes.home().join(name).join("network");
        format!("networkFile={}", file.display())
    };
    for name in ["one", "other"] {
        let user = User::new().unwrap();
        let cards = user.events(&["nodes", "--set", &peers, "--set", &named(name)]).unwrap();
        let hosts: Vec<_> = cards.iter().map(|card| card["host"].as_str().unwrap()).collect();
        assert_eq!(hosts, [name]);
    }
    // A folder that was used with one network is not used for another.
    let user = User::new().unwrap();
    user.events(&["nodes", "--set", &peers, "--set", &named("one")]).unwrap();
    let refused = user.run(&["nodes", "--set", &peers, "--set", &named("other")]).unwrap();
    assert!(refused.err.contains("belongs to network"), "{}", refused.err);
}

#[test]
fn the_data_folder_of_the_command_is_where_its_setting_says() {
    let user = User::without_key().unwrap();
    let elsewhere = user.home().join("elsewhere");
    let mut command = user.command(&["key", "new"]);
    command.env_remove("DEFS_HOME").env("DEFS_DATA_DIR", &elsewhere).env("HOME", user.home());
    assert!(command.output().unwrap().status.success());
    assert!(elsewhere.join("key").is_file());
}

#[test]
fn a_log_of_the_command_is_kept_where_it_is_asked_for() {
    let user = User::new().unwrap();
    let logs = user.home().join("logs");
    let set = format!("logDir={}", logs.display());
    user.run(&["key", "show", "--set", &set]).unwrap().succeeded().unwrap();
    assert_eq!(fs::read_dir(&logs).unwrap().count(), 1);
}

#[test]
fn settings_of_the_owner_change_how_a_file_is_stored() {
    let user = User::with_nodes(10).unwrap();
    let bytes = noise(9, 9 * MIB);
    let stat = |name: &str, settings: &[&str]| {
        let mut options = Vec::new();
        for setting in settings {
            options.extend(["--set", setting]);
        }
        user.put_bytes(name, &bytes, &options).unwrap();
        let stat = user.events(&["stat", name]).unwrap().remove(0);
        let slices = stat["slices"].as_array().unwrap().clone();
        let lengths: Vec<_> = slices.iter().map(|one| one["length"].as_u64().unwrap()).collect();
        let mode = stat["mode"].as_str().unwrap().to_owned();
        (mode, stat["data"].as_u64().unwrap(), stat["parity"].as_u64().unwrap(), lengths)
    };
    let large = |mode: &str, data, parity| (mode.to_owned(), data, parity, vec![9 * MIB as u64]);
    assert_eq!(stat("a", &["dataShards=6", "parityShards=3"]), large("rs-size", 6, 3));
    let proportion = ["storageMode=rs-proportion", "parityRatio=0.6"];
    assert_eq!(stat("b", &proportion), large("rs-proportion", 20, 12));
    // Shards of at most 512 KiB: twenty of them carry nine MiB.
    let (_, data, _, _) = stat("c", &["storageMode=rs-proportion", "shardSize=64Ki"]);
    assert_eq!(data, 20);
    let slices = ["storageMode=slice", "minSliceSize=2Mi", "maxSliceSize=2Mi"];
    let two = 2 * MIB as u64;
    let expected = vec![two, two, two, two, MIB as u64];
    assert_eq!(stat("d", &slices), ("slice".to_owned(), 1, 1, expected));
    // Two whole pairs may vanish: three copies.
    assert_eq!(stat("e", &["storageMode=slice", "durability=2"]).2, 2);
    // Shards whose number the pairs can't take.
    let path = user.home().join("to-put");
    let many =
        ["put", path.to_str().unwrap(), "--set", "dataShards=100", "--set", "parityShards=1"];
    assert_eq!(user.run(&many).unwrap().code, Some(5));
}
