//! `kubectl defs node`: the nodes, all that is known of one, and a person's word about it.

use anyhow::{Result, bail};
use defs_crds::DefsNode;
use defs_crds::node::status::NodeState;
use defs_crds::reason::ConditionType;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::tree::role;
use crate::access::{Access, Scope};
use crate::args::NodeCommand;
use crate::conditions;
use crate::figures::{UNKNOWN, age, bytes, moment, percent};
use crate::say::{Say, table};
use crate::seen::{Seen, members, see};

pub(super) async fn run(access: &Access, command: Option<&NodeCommand>, say: Say) -> Result<()> {
    let seen = see(access).await?;
    match command {
        None | Some(NodeCommand::List) => {
            let all = || json!(seen.nodes.iter().map(|it| json(&seen, it)).collect::<Vec<_>>());
            say.answer(all, || list(&seen));
        }
        Some(NodeCommand::Show { name }) => {
            let node = seen.node_named(name)?;
            say.answer(|| json(&seen, node), || show(&seen, node));
        }
        Some(NodeCommand::Replace { name, undo }) => {
            replace(access, &seen, seen.node_named(name)?, *undo, say).await?;
        }
        Some(NodeCommand::GiveUp { name, peer_id }) => {
            give_up(access, &seen, seen.node_named(name)?, peer_id, say).await?;
        }
    }
    Ok(())
}

async fn replace(
    access: &Access,
    seen: &Seen,
    node: &DefsNode,
    undo: bool,
    say: Say,
) -> Result<()> {
    let patch = json!({ "spec": { "replace": { "requested": !undo } } });
    access.merge(node, &patch).await?;
    let done = json!({ "node": node.name_any(), "replaceRequested": !undo });
    say.answer(|| done, || after(seen, &replaced(seen, node, undo)));
    Ok(())
}

fn replaced(seen: &Seen, node: &DefsNode, undo: bool) -> String {
    let name = node.name_any();
    if undo {
        return format!("{name} may stay; what has begun already goes on to its end");
    }
    let Some(pair) = seen.pair_with(node) else {
        return format!(
            "{name} is in no pair, so nobody takes its place: it gets into none either"
        );
    };
    format!(
        "another node takes the place of {name} in {}, as soon as one is free; {name} hands over \
         first, as long as it answers. Watch it by `kubectl defs why {name}`",
        pair.name_any()
    )
}

async fn give_up(
    access: &Access,
    seen: &Seen,
    node: &DefsNode,
    peer_id: &str,
    say: Say,
) -> Result<()> {
    if let Some(why) = objection(node, peer_id) {
        bail!("{why}");
    }
    let patch = json!({ "spec": { "replace": { "acknowledgeLost": peer_id } } });
    access.merge(node, &patch).await?;
    let done = json!({ "node": node.name_any(), "acknowledgedLost": peer_id });
    say.answer(|| done, || after(seen, &given_up(seen, node)));
    Ok(())
}

/// Why a node must not be given up so.
fn objection(node: &DefsNode, peer_id: &str) -> Option<String> {
    let name = node.name_any();
    let status = node.status.clone().unwrap_or_default();
    let Some(known) = status.peer_id else {
        return Some(format!("{name} has no peer id yet, so it holds nothing"));
    };
    if known != peer_id {
        return Some(format!(
            "`{peer_id}` is not the peer id of {name}: nothing was changed. `kubectl defs node show \
             {name}` says the right one"
        ));
    }
    if defs_crds::condition::holds(&status.conditions, ConditionType::Ready) {
        return Some(format!(
            "{name} answers: nothing was changed. `kubectl defs node replace {name}` lets it hand \
             over what it holds before another takes its place"
        ));
    }
    None
}

/// What follows from a node's being given up.
fn given_up(seen: &Seen, node: &DefsNode) -> String {
    let name = node.name_any();
    let Some(pair) = seen.pair_with(node) else {
        return format!("{name} is given up; it was in no pair, so nothing is lost");
    };
    let partner = members(pair).into_iter().find(|it| *it != name && role(pair, it) != "comes");
    let partner = partner.and_then(|it| seen.node(node.namespace().as_deref(), &it));
    match partner {
        Some(partner) if state(partner) == Some(NodeState::Serving) => format!(
            "{name} is given up. Its partner {} serves and holds the same: another node takes its \
             place in {} and copies that",
            partner.name_any(),
            pair.name_any()
        ),
        _ => format!(
            "{name} is given up, and its partner doesn't answer either: what only the two held is \
             rebuilt from other pairs, as far as objects were stored to survive the loss of a pair"
        ),
    }
}

/// Nobody acts on a person's word while no operator leads.
fn after(seen: &Seen, what: &str) -> String {
    if seen.leader.is_away() {
        return format!("{what}\nbut nothing of this happens yet: {}", seen.leader.line(seen.now));
    }
    what.to_owned()
}

fn state(node: &DefsNode) -> Option<NodeState> {
    node.status.as_ref()?.state
}

fn list(seen: &Seen) -> String {
    if seen.nodes.is_empty() {
        return format!("there is no DefsNode {}", seen.scope);
    }
    let mut headings = vec![
        "NODE", "CLUSTER", "PAIR", "ROLE", "STATE", "MACHINE", "ZONE", "POD", "USED", "SCORE",
        "AGE",
    ];
    let mut nodes: Vec<_> = seen.nodes.iter().collect();
    nodes.sort_by_key(|it| (it.namespace(), it.spec.cluster_ref.clone(), it.spec.index));
    let mut rows: Vec<_> = nodes.iter().map(|it| row(seen, it)).collect();
    if seen.scope == Scope::All {
        headings.insert(0, "NAMESPACE");
        for (row, node) in rows.iter_mut().zip(nodes) {
            row.insert(0, node.namespace().unwrap_or_default());
        }
    }
    table(&headings, &rows)
}

fn row(seen: &Seen, node: &DefsNode) -> Vec<String> {
    let status = node.status.clone().unwrap_or_default();
    let unknown = || UNKNOWN.to_owned();
    let pair = seen.pair_with(node);
    vec![
        node.name_any(),
        node.spec.cluster_ref.name.clone(),
        pair.map_or_else(unknown, ResourceExt::name_any),
        pair.map_or_else(unknown, |pair| role(pair, &node.name_any())),
        status.state.map_or_else(unknown, |state| format!("{state:?}")),
        status.node_name.unwrap_or_else(unknown),
        status.domain.unwrap_or_default().zone.unwrap_or_else(unknown),
        status.pod_name.unwrap_or_else(unknown),
        percent(status.used_percent),
        status.score.map_or_else(unknown, |score| score.total.to_string()),
        age(node.metadata.creation_timestamp.as_ref(), seen.now),
    ]
}

/// All that is known of one.
fn show(seen: &Seen, node: &DefsNode) -> String {
    let status = node.status.clone().unwrap_or_default();
    let domain = status.domain.clone().unwrap_or_default();
    let name = node.name_any();
    let unknown = || UNKNOWN.to_owned();
    let mut lines = vec![format!("DefsNode {name} of cluster {}", node.spec.cluster_ref.name)];
    let mut say = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    say("state", status.state.map_or_else(unknown, |state| format!("{state:?}")));
    say("peer id", status.peer_id.unwrap_or_else(unknown));
    say(
        "pair",
        match seen.pair_with(node) {
            Some(pair) => format!("{} ({})", pair.name_any(), role(pair, &name)),
            None => "none".to_owned(),
        },
    );
    let places = [("zone", domain.zone), ("region", domain.region)];
    let places =
        places.into_iter().filter_map(|(what, place)| Some(format!(", {what} {}", place?)));
    say("machine", status.node_name.unwrap_or_else(unknown) + &places.collect::<String>());
    say("pod", status.pod_name.unwrap_or_else(unknown));
    say("volume", status.pvc_name.unwrap_or_else(unknown));
    if let (Some(used), Some(capacity)) = (status.used_bytes, status.capacity_bytes) {
        let percent = percent(status.used_percent);
        say("used", format!("{} of {} ({percent})", bytes(used), bytes(capacity)));
    }
    if let Some(score) = &status.score {
        let parts = score.parts.iter().map(|(name, points)| format!("{name} {points}"));
        let parts = parts.collect::<Vec<_>>().join(", ");
        say("score", format!("{} of 1000 ({parts})", score.total));
    }
    if node.spec.replace.requested {
        say("replace", "a person asked for another in its place".to_owned());
    }
    if let Some(lost) = &node.spec.replace.acknowledge_lost {
        say("given up", format!("a person has given up peer {lost}"));
    }
    for address in &status.addresses {
        say("address", address.clone());
    }
    for condition in &status.conditions {
        say("condition", conditions::line(condition, seen.now));
    }
    for it in &status.evidence {
        say("evidence", format!("{}  {}: {}", moment(it.at.0), it.who, it.what));
    }
    lines.join("\n")
}

fn json(seen: &Seen, node: &DefsNode) -> Value {
    let status = node.status.clone().unwrap_or_default();
    let pair = seen.pair_with(node);
    json!({
        "namespace": node.namespace(), "name": node.name_any(),
        "cluster": node.spec.cluster_ref.name, "index": node.spec.index,
        "replace": node.spec.replace, "state": status.state, "peerId": status.peer_id,
        "pair": pair.map(ResourceExt::name_any),
        "role": pair.map(|pair| role(pair, &node.name_any())),
        "machine": status.node_name, "domain": status.domain, "pod": status.pod_name,
        "podUid": status.pod_uid, "volume": status.pvc_name, "addresses": status.addresses,
        "capacityBytes": status.capacity_bytes, "usedBytes": status.used_bytes,
        "usedPercent": status.used_percent, "score": status.score, "evidence": status.evidence,
        "conditions": status.conditions.iter().map(conditions::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::leader::Leader;

    #[test]
    fn nodes_are_a_table() {
        let seen = example::without_demo_3();
        assert_eq!(
            list(&seen).lines().nth(4).unwrap(),
            "demo-3  demo     demo-pair-1  mirror   Down     machine-3  a     demo-3  4 %   -      2 h"
        );
        assert_eq!(
            list(&seen).lines().last().unwrap(),
            "demo-4  demo     -            -        Spare    machine-4  a     demo-4  4 %   -      2 h"
        );
    }

    #[test]
    fn one_node_is_shown_with_what_was_seen_of_it() {
        let seen = example::without_demo_3();
        let told = show(&seen, seen.node_named("demo-3").unwrap());
        for line in [
            "DefsNode demo-3 of cluster demo",
            "  pair       demo-pair-1 (mirror)",
            "  machine    machine-3, zone a",
            "  evidence   2026-05-05 11:56:50 UTC  demo-2: no heartbeat for 10 s",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
        }
    }

    #[test]
    fn only_the_very_node_that_does_not_answer_can_be_given_up() {
        let seen = example::without_demo_3();
        let id = |index: &str| index.repeat(64);
        let node = |name| seen.node_named(name).unwrap();
        assert_eq!(objection(node("demo-3"), &id("3")), None);
        let wrong = objection(node("demo-3"), &id("2")).unwrap();
        assert!(wrong.contains("is not the peer id of demo-3: nothing was changed"), "{wrong}");
        let answers = objection(node("demo-2"), &id("2")).unwrap();
        assert!(answers.contains("`kubectl defs node replace demo-2`"), "{answers}");
        let mut unborn = example::node(7, &json!({}), &json!({}));
        unborn.status = None;
        assert_eq!(
            objection(&unborn, "x").unwrap(),
            "demo-7 has no peer id yet, so it holds nothing"
        );
    }

    #[test]
    fn what_follows_from_giving_up_depends_on_the_partner() {
        let mut seen = example::without_demo_3();
        let told = given_up(&seen, &seen.nodes[3]);
        assert!(told.contains("Its partner demo-2 serves and holds the same"), "{told}");
        seen.nodes[2] = example::node(2, &json!({}), &json!({ "state": "Down" }));
        let told = given_up(&seen, &seen.nodes[3]);
        assert!(told.contains("its partner doesn't answer either"), "{told}");
        assert!(given_up(&seen, &seen.nodes[4]).contains("it was in no pair"));
    }

    #[test]
    fn a_word_that_nobody_hears_yet_says_so() {
        let mut seen = example::healthy();
        assert_eq!(after(&seen, "done"), "done");
        seen.leader = Leader::Never;
        assert!(
            after(&seen, "done").starts_with("done\nbut nothing of this happens yet: no operator")
        );
    }
}
