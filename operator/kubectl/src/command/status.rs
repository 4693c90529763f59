//! `kubectl defs status`: a line a cluster, and under it what is not as it should be.

use std::collections::BTreeMap;

use anyhow::Result;
use defs_crds::reason::ConditionType;
use defs_crds::{DefsCluster, DefsClusterStatus, DefsNode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::plan;
use crate::access::{Access, Scope};
use crate::conditions;
use crate::figures::{UNKNOWN, age, bytes, counted, percent};
use crate::migration;
use crate::say::{Say, lines};
use crate::seen::{Seen, see};

/// Nodes with the same trouble that are named; of more, their number says it.
const NAMED_MAX: usize = 6;

pub(super) async fn run(access: &Access, cluster: Option<&str>, say: Say) -> Result<()> {
    let seen = see(access).await?;
    let clusters = seen.clusters_named(cluster)?;
    say.answer(|| json(&seen, &clusters), || text(&seen, &clusters));
    Ok(())
}

/// What is said of clusters that are not there.
pub(super) fn nothing(seen: &Seen) -> String {
    format!("there is no DefsCluster {}", seen.scope)
}

/// For people.
pub(super) fn text(seen: &Seen, clusters: &[&DefsCluster]) -> String {
    let mut text = vec![seen.leader.line(seen.now)];
    if clusters.is_empty() {
        text.push(nothing(seen));
    } else {
        text.push(String::new());
        text.extend(table(seen, clusters));
    }
    text.extend(seen.unreadable.iter().cloned());
    text.join("\n")
}

/// Rows, each with what is to be said of it under it.
fn table(seen: &Seen, clusters: &[&DefsCluster]) -> Vec<String> {
    let mut headings =
        vec!["CLUSTER", "PHASE", "NODES", "PAIRS", "USABLE", "USED", "MAY VANISH", "AGE"];
    let mut rows: Vec<_> = clusters.iter().map(|it| row(seen, it)).collect();
    if seen.scope == Scope::All {
        headings.insert(0, "NAMESPACE");
        for (row, cluster) in rows.iter_mut().zip(clusters) {
            row.insert(0, cluster.namespace().unwrap_or_default());
        }
    }
    let mut lines = lines(&headings, &rows).into_iter();
    let head = lines.next();
    let body = lines.zip(clusters).flat_map(|(line, cluster)| {
        let below = remarks(seen, cluster).into_iter().map(|it| format!("  {it}"));
        std::iter::once(line).chain(below)
    });
    head.into_iter().chain(body).collect()
}

fn row(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let status = cluster.status.clone().unwrap_or_default();
    let of_them = |count: Option<u64>| count.map_or_else(|| UNKNOWN.to_owned(), bytes);
    vec![
        cluster.name_any(),
        status.phase.map_or_else(|| UNKNOWN.to_owned(), |phase| format!("{phase:?}")),
        nodes(cluster, &status),
        pairs(cluster, &status),
        of_them(status.usable_bytes),
        match status.used_percent {
            Some(_) => format!("{} ({})", of_them(status.used_bytes), percent(status.used_percent)),
            None => UNKNOWN.to_owned(),
        },
        may_vanish(&status),
        age(cluster.metadata.creation_timestamp.as_ref(), seen.now),
    ]
}

fn nodes(cluster: &DefsCluster, status: &DefsClusterStatus) -> String {
    let ready = format!("{}/{}", status.ready, cluster.spec.replicas);
    match status.spares {
        0 => ready,
        spares => format!("{ready}, {}", counted(spares, "spare")),
    }
}

/// How the pairs are, in words.
pub(super) fn pairs(cluster: &DefsCluster, status: &DefsClusterStatus) -> String {
    let counts = status.pairs;
    let known = counts.healthy + counts.degraded + counts.lost;
    let parts = [
        (counts.healthy, "healthy"),
        (counts.degraded, "degraded"),
        (counts.lost, "lost"),
        (counts.total.saturating_sub(known), "forming"),
    ];
    let said = parts.into_iter().filter(|(count, _)| *count > 0);
    let said: Vec<_> = said.map(|(count, word)| format!("{count} {word}")).collect();
    if said.is_empty() { format!("0 of {}", cluster.spec.pairs()) } else { said.join(", ") }
}

/// What may be lost now without losing data.
pub(super) fn may_vanish(status: &DefsClusterStatus) -> String {
    let Some(durability) = status.durability else { return UNKNOWN.to_owned() };
    let mut parts = vec![match durability.tolerated_pairs {
        // Every pair holds all that it has twice.
        0 => "a node a pair".to_owned(),
        pairs => counted(pairs, "pair"),
    }];
    if durability.tolerated_zones > 0 {
        parts.push(counted(durability.tolerated_zones, "zone"));
    }
    if durability.at_risk > 0 {
        parts.push(format!("{} at risk", counted(durability.at_risk, "pair")));
    }
    parts.join(", ")
}

/// What is not as it should be, and what is being done.
pub(super) fn remarks(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let Some(status) = &cluster.status else {
        return vec!["! no operator has looked at it yet".to_owned()];
    };
    let mut remarks = Vec::new();
    if status.observed_generation != cluster.metadata.generation {
        remarks.push("! the operator has not looked at the last change of the spec yet".to_owned());
    }
    let amiss = conditions::amiss(&status.conditions);
    let told = conditions::lines(&amiss, seen.now, conditions::shortened);
    remarks.extend(told.into_iter().map(|it| format!("! {it}")));
    remarks.extend(silent_nodes(seen, cluster).into_iter().map(|it| format!("! {it}")));
    for pair in seen.pairs_of(cluster) {
        let migration = pair.status.as_ref().and_then(|status| status.migration.as_ref());
        remarks.extend(
            migration.map(|it| format!("> {}: {}", pair.name_any(), migration::line(it, seen.now))),
        );
    }
    remarks.extend(plan::remark(cluster));
    remarks
}

/// Nodes that are not ready, those with one reason in one line, with the message of the first.
pub(super) fn silent_nodes(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<(&DefsNode, &Condition)>> = BTreeMap::new();
    for node in seen.nodes_of(cluster) {
        if let Some(ready) = not_ready(node) {
            by_reason.entry(&ready.reason).or_default().push((node, ready));
        }
    }
    by_reason.into_values().map(|nodes| one_reason(&nodes)).collect()
}

fn not_ready(node: &DefsNode) -> Option<&Condition> {
    let conditions = &node.status.as_ref()?.conditions;
    conditions::of(conditions, ConditionType::Ready).filter(|it| it.status != "True")
}

fn one_reason(nodes: &[(&DefsNode, &Condition)]) -> String {
    let names: Vec<_> = nodes.iter().take(NAMED_MAX).map(|(node, _)| node.name_any()).collect();
    let more = match nodes.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let Some((_, first)) = nodes.first() else { return String::new() };
    format!(
        "{}{more}: {}: {}",
        names.join(", "),
        first.reason,
        conditions::shortened(&first.message)
    )
}

/// For programs.
pub(super) fn json(seen: &Seen, clusters: &[&DefsCluster]) -> Value {
    let clusters: Vec<_> = clusters.iter().map(|it| cluster_json(seen, it)).collect();
    json!({
        "operator": seen.leader.json(), "clusters": clusters, "unreadable": seen.unreadable,
    })
}

fn cluster_json(seen: &Seen, cluster: &DefsCluster) -> Value {
    let status = cluster.status.clone().unwrap_or_default();
    let migrations: Vec<_> = seen
        .pairs_of(cluster)
        .into_iter()
        .filter_map(|pair| {
            let migration = pair.status.as_ref()?.migration.as_ref()?;
            Some(json!({
                "pair": pair.name_any(), "migration": migration::json(migration, seen.now),
            }))
        })
        .collect();
    let conditions =
        |all: &[&Condition]| -> Vec<Value> { all.iter().map(|it| conditions::json(it)).collect() };
    json!({
        "namespace": cluster.namespace(), "name": cluster.name_any(), "phase": status.phase,
        "nodes": {
            "wanted": cluster.spec.replicas, "there": status.replicas, "ready": status.ready,
            "spares": status.spares,
        },
        "pairs": { "wanted": cluster.spec.pairs(), "there": status.pairs },
        "usableBytes": status.usable_bytes, "usedBytes": status.used_bytes,
        "usedPercent": status.used_percent, "durability": status.durability,
        "versions": status.versions,
        "isObserved": cluster.status.is_some()
            && status.observed_generation == cluster.metadata.generation,
        "conditions": conditions(&status.conditions.iter().collect::<Vec<_>>()),
        "amiss": conditions(&conditions::amiss(&status.conditions)),
        "silentNodes": seen.nodes_of(cluster).into_iter().filter_map(|node| {
            let ready = not_ready(node)?;
            Some(json!({ "node": node.name_any(), "ready": conditions::json(ready) }))
        }).collect::<Vec<_>>(),
        "migrations": migrations, "plan": status.plan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn status(seen: &Seen) -> String {
        text(seen, &seen.clusters_named(None).unwrap())
    }

    #[test]
    fn a_healthy_cluster_is_one_line() {
        assert_eq!(
            status(&example::healthy()),
            "operator defs-operator-1 leads in namespace defs-system, heard 2 s ago\n\
             \n\
             CLUSTER  PHASE  NODES         PAIRS      USABLE  USED            MAY VANISH  AGE\n\
             demo     Ready  5/5, 1 spare  2 healthy  15 GiB  1.5 GiB (10 %)  1 pair      2 h"
        );
    }

    #[test]
    fn what_is_amiss_and_what_is_done_stand_below() {
        let seen = example::replacing(&json!({
            "phase": "Copying", "doneBytes": 1 << 30, "totalBytes": 3_u64 << 30,
            "bytesPerSecond": 64 << 20,
        }));
        let told = status(&seen);
        let below: Vec<_> = told.lines().skip(4).collect();
        assert_eq!(
            below,
            [
                "  ! Ready is False for 3 min (MemberAway): One member of a pair is away; the \
                 other serves reads. Not heard: demo-3.",
                "  ! Degraded is True for 3 min (MemberAway): One member of a pair is away; the \
                 other serves reads.",
                "  ! demo-3: NodeSuspected: A node didn't answer for a while; its partner serves. \
                 no connection",
                "  > demo-pair-1: demo-3 → demo-4: Copying, 33 % of 3 GiB, 64 MiB/s, done in about \
                 32 s (its machine is gone)",
            ]
        );
        assert!(told.contains("1 pair, 1 pair at risk"), "{told}");
    }

    #[test]
    fn a_plan_that_waits_is_told_with_what_to_do() {
        let mut seen = example::healthy();
        let plan = json!({ "id": "3f9c", "steps": [{
            "pair": "demo-pair-0", "leaves": "demo-0", "comes": "demo-4", "gainPercent": 14,
            "why": "another zone",
        }] });
        seen.clusters[0] = example::cluster("demo", &json!({}), &json!({ "plan": plan }));
        assert_eq!(
            status(&seen).lines().last().unwrap(),
            "  ? plan 3f9c waits for approval (1 change): kubectl defs plan demo, then kubectl \
             defs approve demo"
        );
    }

    #[test]
    fn a_cluster_that_nobody_has_looked_at_says_so_and_so_does_an_old_status() {
        let mut seen = example::healthy();
        seen.clusters[0].status = None;
        assert!(status(&seen).ends_with("\n  ! no operator has looked at it yet"));
        let changed = json!({ "observedGeneration": 0 });
        seen.clusters[0] = example::cluster("demo", &json!({}), &changed);
        assert!(status(&seen).ends_with("has not looked at the last change of the spec yet"));
    }

    #[test]
    fn without_clusters_it_says_where_it_looked_and_all_namespaces_have_a_column() {
        let mut seen = example::healthy();
        seen.scope = Scope::All;
        assert!(status(&seen).contains("\nNAMESPACE  CLUSTER"), "{}", status(&seen));
        seen.clusters.clear();
        seen.unreadable.push("DefsPair odd can't be read".to_owned());
        let told = status(&seen);
        let last: Vec<_> = told.lines().skip(1).collect();
        assert_eq!(
            last,
            ["there is no DefsCluster in any namespace", "DefsPair odd can't be read"]
        );
    }

    #[test]
    fn many_nodes_with_one_trouble_are_one_line() {
        let mut seen = example::healthy();
        let unready = json!({ "conditions": [example::condition_json(
            "Ready", "False", "ImageNotPulled", &format!("It can't be pulled. {}", "x".repeat(400)),
        )] });
        seen.nodes = (0..9).map(|index| example::node(index, &json!({}), &unready)).collect();
        let lines = silent_nodes(&seen, &seen.clusters[0]);
        let expected = format!(
            "demo-0, demo-1, demo-2, demo-3, demo-4, demo-5 and 3 more: ImageNotPulled: It can't \
             be pulled. {}…",
            "x".repeat(180)
        );
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn programs_get_the_same() {
        let seen = example::replacing(&json!({ "phase": "Copying" }));
        let json = json(&seen, &seen.clusters_named(Some("demo")).unwrap());
        let cluster = &json["clusters"][0];
        assert_eq!(cluster["phase"], "Degraded");
        assert_eq!(cluster["nodes"], json!({"wanted": 5, "there": 5, "ready": 4, "spares": 1}));
        assert_eq!(cluster["migrations"][0]["migration"]["to"], "demo-4");
        assert_eq!(cluster["silentNodes"][0]["node"], "demo-3");
        assert_eq!(cluster["amiss"].as_array().unwrap().len(), 2);
        assert_eq!(json["operator"]["leads"], true);
    }
}
