//! The rules of a DefsPair.

use serde_json::{Value, json};

use super::{assert_all_tried, messages, pair};
use crate::DefsPair;
use crate::pair::Origin;

const CLUSTER: &str = "clusterRef can't be changed after creation";
const SAME_NODE: &str = "the two members of a pair must be two nodes";
const SAME_ROLE: &str = "the two members of a pair can't both prefer the same role";
const EPOCH: &str = "status.epoch never decreases";
const PRIMARY: &str = "another status.primary comes with a higher status.epoch";

/// What an update from one pair to another is told.
fn update(before: &Value, after: &Value) -> Vec<String> {
    messages(pair(after).validate_cel_update(&pair(before)))
}

fn status(epoch: u64, primary: &str) -> Value {
    json!({ "status": { "epoch": epoch, "primary": primary } })
}

/// Members with the roles that they prefer.
fn members(all: &[(&str, Option<&str>)]) -> Value {
    let members: Vec<_> = all
        .iter()
        .map(|(name, role)| match role {
            Some(role) => json!({ "nodeRef": { "name": name }, "preferredRole": role }),
            None => json!({ "nodeRef": { "name": name } }),
        })
        .collect();
    json!({ "spec": { "members": members } })
}

#[test]
fn a_pair_made_by_hand_is_pinned() {
    assert_eq!(pair(&json!({})).spec.origin, Origin::Pinned);
}

#[test]
fn the_members_are_two_nodes() {
    let twice = members(&[("demo-0", None), ("demo-0", None)]);
    assert_eq!(messages(pair(&twice).validate_cel()), [SAME_NODE]);
    assert_eq!(messages(pair(&json!({})).validate_cel()), [""; 0]);
}

#[test]
fn only_one_member_may_prefer_a_role() {
    for role in ["Primary", "Mirror"] {
        let same = members(&[("demo-0", Some(role)), ("demo-1", Some(role))]);
        assert_eq!(messages(pair(&same).validate_cel()), [SAME_ROLE]);
        let one = members(&[("demo-0", Some(role)), ("demo-1", None)]);
        assert_eq!(messages(pair(&one).validate_cel()), [""; 0]);
    }
    let both = members(&[("demo-0", Some("Mirror")), ("demo-1", Some("Primary"))]);
    assert_eq!(messages(pair(&both).validate_cel()), [""; 0]);
}

#[test]
fn the_cluster_stays_as_it_was_and_members_may_change() {
    let elsewhere = json!({ "spec": { "clusterRef": { "name": "other" } } });
    assert_eq!(update(&json!({}), &elsewhere), [CLUSTER]);
    let others = members(&[("demo-0", None), ("demo-7", None)]);
    assert_eq!(update(&json!({}), &others), [""; 0]);
}

#[test]
fn the_epoch_never_decreases_nor_vanishes() {
    let third = status(3, "demo-0");
    assert_eq!(update(&third, &status(2, "demo-0")), [EPOCH]);
    assert_eq!(update(&third, &json!({})), [EPOCH]);
    assert_eq!(update(&third, &json!({ "status": { "primary": "demo-0" } })), [EPOCH]);
    assert_eq!(update(&third, &third), [""; 0]);
    assert_eq!(update(&third, &status(4, "demo-0")), [""; 0]);
    assert_eq!(update(&json!({}), &third), [""; 0]);
}

#[test]
fn another_primary_comes_with_another_epoch() {
    let third = status(3, "demo-0");
    assert_eq!(update(&third, &status(3, "demo-1")), [PRIMARY]);
    assert_eq!(update(&third, &status(4, "demo-1")), [""; 0]);
    // Members change it among themselves, and whoever looks may have missed an epoch.
    assert_eq!(update(&third, &status(6, "demo-2")), [""; 0]);
}

#[test]
fn every_rule_is_tried() {
    assert_all_tried::<DefsPair>([CLUSTER, SAME_NODE, SAME_ROLE, EPOCH, PRIMARY]);
}
