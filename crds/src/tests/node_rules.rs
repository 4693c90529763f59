//! The rules of a DefsNode.

use serde_json::{Value, json};

use super::{assert_all_tried, messages, node};
use crate::DefsNode;

const CLUSTER: &str = "clusterRef can't be changed after creation";
const INDEX: &str = "index can't be changed after creation";
const NO_PEER: &str = "replace.acknowledgeLost can only be said of a node that has a status.peerId";
const OTHER_PEER: &str =
    "replace.acknowledgeLost must be the node's status.peerId, letter by letter";

/// What an update from one node to another is told.
fn update(before: &Value, after: &Value) -> Vec<String> {
    messages(node(after).validate_cel_update(&node(before)))
}

/// A node that is `peer`, of which `lost` was given up.
fn given_up(peer: &str, lost: &str) -> Value {
    json!({
        "spec": { "replace": { "acknowledgeLost": lost } },
        "status": { "peerId": peer },
    })
}

#[test]
fn cluster_and_index_stay_as_they_were() {
    let there = json!({});
    let elsewhere = json!({ "spec": { "clusterRef": { "name": "other" } } });
    assert_eq!(update(&there, &elsewhere), [CLUSTER]);
    assert_eq!(update(&there, &json!({ "spec": { "index": 1 } })), [INDEX]);
    assert_eq!(update(&there, &json!({ "spec": { "replace": { "requested": true } } })), [""; 0]);
}

#[test]
fn what_a_node_holds_is_given_up_by_its_exact_peer_id() {
    let known = json!({ "status": { "peerId": "12D3KooWabc" } });
    assert_eq!(update(&known, &given_up("12D3KooWabc", "12D3KooWabc")), [""; 0]);
    assert_eq!(update(&known, &given_up("12D3KooWabc", "12D3KooWab")), [OTHER_PEER]);
    assert_eq!(update(&known, &given_up("12D3KooWabc", "12D3KooWABC")), [OTHER_PEER]);
}

#[test]
fn a_node_that_nobody_has_seen_cannot_be_given_up() {
    let unseen = json!({ "spec": { "replace": { "acknowledgeLost": "12D3KooWabc" } } });
    assert_eq!(messages(node(&unseen).validate_cel()), [NO_PEER]);
    assert_eq!(messages(node(&given_up("p", "p")).validate_cel()), [""; 0]);
}

#[test]
fn an_old_word_neither_stops_the_successor_nor_counts_for_it() {
    let (before, after) = (given_up("old", "old"), given_up("new", "old"));
    assert_eq!(update(&before, &after), [""; 0]);
    assert!(node(&before).is_acknowledged_lost());
    assert!(!node(&after).is_acknowledged_lost());
    assert!(!node(&json!({})).is_acknowledged_lost());
}

#[test]
fn every_rule_is_tried() {
    assert_all_tried::<DefsNode>([CLUSTER, INDEX, NO_PEER, OTHER_PEER]);
}
