//! What nodes have counted after a file was put and read back, as Prometheus would see it.
#![cfg(test)]

use std::time::Duration;

use defs_e2e::node::{Node, Options};
use defs_e2e::{User, eventually, http, noise};

#[test]
fn a_put_and_a_get_are_found_in_the_nodes_metrics() {
    let user = User::new().unwrap();
    let folder = |number: usize| user.home().join(format!("node-{number}"));
    let mut nodes = vec![Node::start(&folder(0), None, Options::default()).unwrap()];
    for number in 1..4 {
        let node = Node::start(&folder(number), Some(&nodes[0]), Options::default());
        nodes.push(node.unwrap());
    }
    let page = http(nodes[0].status_port(), "/metrics").unwrap();
    assert!(page.contains("content-type: application/openmetrics-text"), "{page}");
    let metric = |node: &Node, name: &str| node.metric(name).unwrap();
    let healthy =
        || nodes.iter().all(|node| metric(node, r#"defs_pair_members{state="healthy"}"#) == 1);
    eventually("all nodes are in pairs", Duration::from_secs(30), healthy).unwrap();
    let bytes = noise(3, 3 << 20);
    let set = format!("bootstrapPeers={}", nodes[0].address());
    user.put_bytes("x", &bytes, &["--set", &set]).unwrap();
    let got = user.run(&["get", "x", "-o", "-", "--set", &set]).unwrap().succeeded().unwrap();
    assert_eq!(got.out, bytes);
    let sum = |name: &str| nodes.iter().map(|node| metric(node, name)).sum::<u64>();
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
        assert_eq!(metric(node, "defs_store_capacity_bytes"), 1 << 30);
        let used = metric(node, "defs_store_used_bytes");
        assert_eq!(metric(node, "defs_store_free_bytes"), (1 << 30) - used);
        assert!(metric(node, "defs_peer_connections") >= 1);
        assert_eq!(metric(node, "defs_node_alive"), 4);
    }
}
