//! What nodes have counted after a file was put and read back, as Prometheus would see it.
#![cfg(test)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defs_e2e::{User, eventually, free_port, http, noise, program};

/// A storage node that ends with the value.
struct Node {
    child: Child,
    port: u16,
    status_port: u16,
}

impl Node {
    /// Starts a node of `first`'s network, or founds one.
    fn start(folder: &Path, first: Option<(&Path, &Self)>) -> Self {
        let (port, status_port) = (free_port().unwrap(), free_port().unwrap());
        let mut command = Command::new(program("defs-node").unwrap());
        command
            .args(["--data-dir", folder.to_str().unwrap(), "--listen-address", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--status-port", &status_port.to_string()])
            .args(["--capacity", "1Gi", "--host", folder.file_name().unwrap().to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match first {
            None => command.arg("--bootstrap"),
            Some((founder, node)) => command
                .arg("--network-file")
                .arg(founder.join("network"))
                .arg("--invite-file")
                .arg(founder.join("invite"))
                .args(["--bootstrap-peers", &node.address()]),
        };
        let node = Self { child: command.spawn().unwrap(), port, status_port };
        let ready = || http(status_port, "/readyz").is_some_and(|told| told.contains("200 OK"));
        eventually("the node is ready", Duration::from_secs(30), ready).unwrap();
        node
    }

    fn address(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.port)
    }

    /// The number on the line that begins with `name`.
    fn metric(&self, name: &str) -> u64 {
        let page = http(self.status_port, "/metrics").unwrap();
        assert!(page.contains("content-type: application/openmetrics-text"), "{page}");
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(value).unwrap_or_else(|| panic!("no {name} in:\n{page}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_put_and_a_get_are_found_in_the_nodes_metrics() {
    let user = User::new().unwrap();
    let folder = |number: usize| user.home().join(format!("node-{number}"));
    let mut nodes = vec![Node::start(&folder(0), None)];
    for number in 1..4 {
        let node = Node::start(&folder(number), Some((&folder(0), &nodes[0])));
        nodes.push(node);
    }
    let healthy =
        || nodes.iter().all(|node| node.metric(r#"defs_pair_members{state="healthy"}"#) == 1);
    eventually("all nodes are in pairs", Duration::from_secs(30), healthy).unwrap();
    let bytes = noise(3, 3 << 20);
    let set = format!("bootstrapPeers={}", nodes[0].address());
    user.put_bytes("x", &bytes, &["--set", &set]).unwrap();
    let got = user.run(&["get", "x", "-o", "-", "--set", &set]).unwrap().succeeded().unwrap();
    assert_eq!(got.out, bytes);
    let sum = |name: &str| nodes.iter().map(|node| node.metric(name)).sum::<u64>();
    // Each shard is on both members of its pair, and forwarded by one.
    let stored = sum("defs_shard_stored_total");
    assert!(stored >= 2 && stored.is_multiple_of(2), "{stored}");
    assert_eq!(sum("defs_shard_forwarded_total"), stored / 2);
    assert_eq!(sum(r#"defs_request_answered_total{ask="store"}"#), stored);
    assert_eq!(sum("defs_shard_committed_total"), stored);
    assert_eq!(sum("defs_store_shards"), stored);
    assert!(sum("defs_shard_received_bytes_total") >= 2 * bytes.len() as u64);
    assert!(sum("defs_shard_sent_bytes_total") >= bytes.len() as u64);
    assert!(sum("defs_record_written_total") >= 2);
    assert!(sum("defs_record_read_total") >= 1);
    assert!(sum("defs_receipt_signed_total") > stored);
    assert!(sum("defs_store_fsync_seconds_count") >= 2);
    for node in &nodes {
        assert_eq!(node.metric("defs_store_capacity_bytes"), 1 << 30);
        let used = node.metric("defs_store_used_bytes");
        assert_eq!(node.metric("defs_store_free_bytes"), (1 << 30) - used);
        assert!(node.metric("defs_peer_connections") >= 1);
        assert_eq!(node.metric("defs_node_alive"), 4);
    }
}
