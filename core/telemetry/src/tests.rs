//! That the declarations are sound and that all of them reach the output.

use std::collections::BTreeSet;
use std::time::Duration;

use defs_core::message::{Reason, Rung};

use super::*;
use crate::label::{Controller, Outcome, Reconciled};
use crate::metrics::all;
use crate::reading::{Point, Value};

fn registered() -> (Registry, NodeMetrics, PeerMetrics) {
    let mut registry = Registry::new();
    let node = NodeMetrics::register(&mut registry);
    let peer = PeerMetrics::register(&mut registry);
    drop(ExportMetrics::register(&mut registry));
    drop(ClientMetrics::register(&mut registry));
    drop(OperatorMetrics::register(&mut registry));
    (registry, node, peer)
}

/// The names that dashboards for operators of any make look for.
const OF_ALL_OPERATORS: [&str; 3] = ["controller_runtime.", "workqueue.", "leader_election."];

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
        let is_usual = OF_ALL_OPERATORS.iter().any(|usual| name.starts_with(usual));
        assert!((name.starts_with("defs.") || is_usual) && name.chars().all(plain), "{name}");
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
fn what_is_read_is_what_is_declared_and_counted() {
    let (registry, node, _) = registered();
    node.bytes_received.add(4096);
    node.store_used.set(7);
    node.refused.of(Reason::WrongEpoch).add(2);
    node.store_fsync.took(Duration::from_millis(3));
    node.store_fsync.took(Duration::from_secs(60));
    let readings = registry.read();
    let names: Vec<_> = readings.iter().map(|reading| reading.declared.name).collect();
    assert_eq!(names, all().map(|declared| declared.name).collect::<Vec<_>>());
    let of = |name: &str| {
        let reading = readings.iter().find(|reading| reading.declared.name == name).unwrap();
        reading.points.clone()
    };
    let alone = |value| vec![Point { labels: Vec::new(), value }];
    assert_eq!(of("defs.shard.received"), alone(Value::Count(4096)));
    assert_eq!(of("defs.store.used"), alone(Value::Level(7)));
    let refused = of("defs.request.refused");
    assert_eq!(refused.len(), Reason::ALL.len());
    let labels = vec![("reason", "wrong_epoch".to_owned())];
    assert!(refused.contains(&Point { labels, value: Value::Count(2) }));
    let Value::Spread(spread) = &of("defs.store.fsync")[0].value else { panic!("a histogram") };
    // 3 ms lies between 2 and 4 ms, and a minute beyond all bounds.
    assert_eq!(spread.bounds[3].to_string(), "0.004");
    assert_eq!((spread.counts[3], spread.counts[16], spread.count()), (1, 1, 2));
    assert_eq!(spread.counts.len(), spread.bounds.len() + 1);
    assert_eq!(spread.sum.to_string(), "60.003");
}

#[test]
fn two_labels_stand_side_by_side() {
    let mut registry = Registry::new();
    let operator = OperatorMetrics::register(&mut registry);
    operator.reconciled.of(Reconciled(Controller::Pair, Outcome::RequeueAfter)).one();
    operator.took.of(Controller::Node).took(Duration::from_millis(1));
    let text = registry.encode();
    for line in [
        r#"controller_runtime_reconcile_total{controller="defspair",result="requeue_after"} 1"#,
        r#"controller_runtime_reconcile_total{controller="defsnode",result="error"} 0"#,
        r#"controller_runtime_reconcile_time_seconds_count{controller="defsnode"} 1"#,
        r#"controller_runtime_reconcile_time_seconds_bucket{le="+Inf",controller="defsnode"} 1"#,
        r#"leader_election_master_status{name="defs-operator"} 0"#,
        r#"workqueue_depth{controller="defscluster"} 0"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "no line `{line}` in:\n{text}");
    }
}

#[test]
fn a_query_may_name_a_histogram_by_three_names() {
    let of = |name: &str| all().find(|declared| declared.name == name).unwrap().series();
    assert_eq!(of("defs.store.used"), ["defs_store_used_bytes"]);
    let [bucket, sum, count] = ["bucket", "sum", "count"];
    let fsync = "defs_store_fsync_seconds";
    let three = [bucket, sum, count].map(|part| format!("{fsync}_{part}"));
    assert_eq!(of("defs.store.fsync"), three);
}

#[test]
fn the_documents_table_has_a_line_a_metric() {
    assert_eq!(markdown().lines().count(), 2 + all().count());
    assert!(markdown().contains(
        "| `defs.store.fsync` | `defs_store_fsync_seconds` | histogram | `s` |  | \
         How long the disk took to make files durable. |"
    ));
}

#[test]
fn no_two_spans_share_a_name_and_each_says_what_it_is_in_a_sentence() {
    let plain = |letter: char| letter.is_ascii_lowercase() || "._".contains(letter);
    let mut names = BTreeSet::new();
    for span in spans::all() {
        assert!(names.insert(span.name), "{} is declared twice", span.name);
        assert!(span.name.starts_with("defs.") && span.name.chars().all(plain), "{}", span.name);
        assert!(span.help.ends_with('.'), "{}", span.name);
        assert!(["internal", "client", "server"].contains(&span.kind), "{}", span.name);
    }
}

/// What may stand at a span: numbers, ids and words of our own.
const TOLD: [&str; 14] = [
    "slice",
    "index",
    "pair",
    "slices",
    "pages",
    "files",
    "bytes",
    "ask",
    "node",
    "records",
    "controller",
    "object",
    "method",
    "want",
];

#[test]
fn spans_tell_numbers_ids_and_words_of_our_own_only() {
    for span in spans::all() {
        for attribute in span.attributes {
            assert!(TOLD.contains(attribute), "{}: {attribute}", span.name);
        }
    }
}

#[test]
fn without_a_collector_no_span_is_made() {
    assert!(spans::put().is_disabled());
    assert!(trace::following(None, spans::put).is_disabled());
    assert_eq!(trace::current(), None);
}

#[test]
fn a_span_that_stands_in_a_trace_is_made_only_in_one() {
    tracing::subscriber::with_default(tracing_subscriber::registry(), || {
        assert!(spans::slice_cut(1).is_disabled());
        let put = spans::put();
        assert!(!put.is_disabled());
        let cut = put.in_scope(|| spans::slice_cut(1));
        assert!(!cut.is_disabled());
        assert_eq!(cut.metadata().unwrap().name(), "defs.slice.cut");
        assert_eq!(cut.metadata().unwrap().target(), spans::TARGET);
    });
}
