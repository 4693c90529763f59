//! That the declarations are sound and that all of them reach the output.

use std::collections::BTreeSet;
use std::time::Duration;

use defs_core::message::{Reason, Rung};

use super::*;
use crate::metrics::all;

fn registered() -> (Registry, NodeMetrics, PeerMetrics) {
    let mut registry = Registry::new();
    let node = NodeMetrics::register(&mut registry);
    let peer = PeerMetrics::register(&mut registry);
    (registry, node, peer)
}

#[test]
fn every_declared_metric_stands_in_the_output_before_anything_happened() {
    let (registry, ..) = registered();
    let text = registry.encode();
    for declared in all() {
        let name = declared.prometheus();
        let sample = |line: &str| {
            line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{', '_']))
        };
        assert!(text.lines().any(sample), "{name} is missing:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn no_two_metrics_share_a_name() {
    let mut names = BTreeSet::new();
    for declared in all() {
        assert!(names.insert(declared.prometheus()), "{} is declared twice", declared.name);
    }
    assert_eq!(names.len(), all().count());
}

#[test]
fn names_are_dotted_units_are_ucum_and_help_is_a_sentence() {
    let plain = |letter: char| letter.is_ascii_lowercase() || "._".contains(letter);
    for declared in all() {
        let name = declared.name;
        assert!(name.starts_with("defs.") && name.chars().all(plain), "{name}");
        let counted = declared.unit.strip_prefix('{').and_then(|unit| unit.strip_suffix('}'));
        let known = counted.is_none_or(|unit| !unit.is_empty() && unit.chars().all(plain));
        assert!(known && (counted.is_some() || ["By", "s"].contains(&declared.unit)), "{name}");
        assert!(declared.help.ends_with('.'), "{name}");
    }
}

#[test]
fn what_is_counted_is_what_is_shown() {
    let (registry, node, peer) = registered();
    node.bytes_received.add(4096);
    node.refused.of(Reason::WrongEpoch).one();
    node.store_used.set(7);
    node.store_fsync.took(Duration::from_millis(3));
    node.lookups.of(Rung::Broadcast).add(2);
    // A clone counts on the same number.
    let same = node.clone();
    same.receipts.one();
    node.receipts.one();
    // What is followed never falls.
    peer.lanes_refused.follow(5);
    peer.lanes_refused.follow(3);
    let text = registry.encode();
    for line in [
        "defs_shard_received_bytes_total 4096",
        "defs_request_refused_total{reason=\"wrong_epoch\"} 1",
        "defs_request_refused_total{reason=\"not_found\"} 0",
        "defs_store_used_bytes 7",
        "defs_store_fsync_seconds_count 1",
        "defs_store_fsync_seconds_bucket{le=\"0.004\"} 1",
        "defs_store_fsync_seconds_bucket{le=\"0.002\"} 0",
        "defs_lookup_ended_total{rung=\"broadcast\"} 2",
        "defs_pair_members{state=\"healthy\"} 0",
        "defs_receipt_signed_total 2",
        "defs_peer_lanes_refused_total 5",
        "defs_request_answered_total{ask=\"write_records\"} 0",
        "# HELP defs_store_used_bytes Bytes stored and reserved.",
        "# UNIT defs_store_used_bytes bytes",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no line `{line}` in:\n{text}");
    }
    assert_eq!(node.refused.of(Reason::WrongEpoch).get(), 1);
}

#[test]
fn the_documents_table_has_a_line_a_metric() {
    assert_eq!(markdown().lines().count(), 2 + all().count());
    assert!(markdown().contains(
        "| `defs.store.fsync` | `defs_store_fsync_seconds` | histogram | `s` |  | \
         How long the disk took to make files durable. |"
    ));
}
