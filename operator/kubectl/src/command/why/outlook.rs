//! What is done about a member that is away, and until when: as the operator decides it, told
//! from what the objects say.

use defs_crds::node::status::NodeState;
use defs_crds::reason::{ConditionType, Reason};
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::tree::role;
use crate::conditions;
use crate::figures::{moment, seconds_since, span};
use crate::migration;
use crate::seen::{Seen, members};

/// What is done in a cluster at all, if something holds it up.
pub(super) fn held_up(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let mut lines = Vec::new();
    if seen.leader.is_away() {
        lines.push(seen.leader.line(seen.now));
    }
    let paused = &cluster.spec.paused;
    let is_over = paused.until.as_ref().is_some_and(|until| until.0 <= seen.now);
    if (paused.all || paused.healing) && !is_over {
        let until = paused.until.as_ref();
        let until = until.map_or_else(
            || "until spec.paused says otherwise".to_owned(),
            |until| format!("until {}", moment(until.0)),
        );
        lines.push(format!(
            "a person has paused {}: nobody is replaced {until}",
            cluster.name_any()
        ));
    }
    let status = cluster.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let isolated = conditions::of(conditions, ConditionType::OperatorIsolated);
    if let Some(isolated) = isolated.filter(|it| it.status == "True") {
        lines.push(format!("nobody is replaced for now: {}", isolated.message));
    }
    lines
}

/// What is done about a node's place in its pair.
pub(super) fn of_member(seen: &Seen, node: &DefsNode) -> Vec<String> {
    let name = node.name_any();
    let Some(pair) = seen.pair_with(node) else { return of_unpaired(node) };
    let status = pair.status.clone().unwrap_or_default();
    if let Some(it) = status.migration.as_ref().filter(|it| migration::is_under_way(it)) {
        return vec![format!("{}: {}", pair.name_any(), migration::line(it, seen.now))];
    }
    let word = a_persons_word(node);
    if !word.is_empty() {
        return word;
    }
    let state = node.status.as_ref().and_then(|status| status.state);
    if !matches!(state, Some(NodeState::Down | NodeState::Suspect)) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    lines.extend(who_serves(seen, pair, &name));
    if pair.spec.paused {
        lines.push(format!(
            "the operator leaves {} alone: its spec.paused says so",
            pair.name_any()
        ));
        return lines;
    }
    let cluster = seen.cluster(node.namespace().as_deref(), &node.spec.cluster_ref.name);
    lines.extend(cluster.map(|cluster| when_replaced(seen, cluster, node)));
    lines.extend(cluster.and_then(|cluster| without_substitute(cluster, &name)));
    lines
}

fn of_unpaired(node: &DefsNode) -> Vec<String> {
    let state = node.status.as_ref().and_then(|status| status.state);
    match state {
        Some(NodeState::Down | NodeState::Suspect) => {
            vec!["it is in no pair, so nobody takes its place; its pod is made anew".to_owned()]
        }
        Some(NodeState::Drained) => vec![format!(
            "it holds nothing any more and gets into no pair; `kubectl defs node replace {} --undo` \
             makes it a spare",
            node.name_any()
        )],
        Some(NodeState::Spare) if !node.spec.replace.requested => {
            vec!["it waits to take the place of a node that is lost, or for a partner".to_owned()]
        }
        _ => a_persons_word(node),
    }
}

fn a_persons_word(node: &DefsNode) -> Vec<String> {
    let mut lines = Vec::new();
    if node.is_acknowledged_lost() {
        lines.push(
            "a person has given up what only it holds: another takes its place as soon as one is \
             free"
                .to_owned(),
        );
    } else if node.spec.replace.requested {
        lines.push(
            "a person asked for another in its place: it hands over, as long as it answers, as \
             soon as one is free"
                .to_owned(),
        );
    }
    lines
}

fn who_serves(seen: &Seen, pair: &DefsPair, away: &str) -> Option<String> {
    let partner = members(pair).into_iter().find(|it| it != away && role(pair, it) != "comes")?;
    let node = seen.node(pair.namespace().as_deref(), &partner)?;
    Some(match node.status.as_ref()?.state? {
        NodeState::Serving => format!(
            "its partner {partner} serves reads alone; {} takes nothing new meanwhile, other pairs \
             do",
            pair.name_any()
        ),
        state => format!(
            "its partner {partner} is {state:?} too: what both held is rebuilt from other pairs \
             once they are given up, and readable meanwhile as far as it was stored to survive \
             that"
        ),
    })
}

/// When somebody else takes its place, if it stays away.
fn when_replaced(seen: &Seen, cluster: &DefsCluster, node: &DefsNode) -> String {
    let after = cluster.spec.failover.replace_after;
    let conditions = node.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions::of(conditions.unwrap_or_default(), ConditionType::Ready);
    let due = ready.and_then(|ready| due(ready.last_transition_time.0, after.duration()));
    let rule = format!(
        "when it has been away for failover.replaceAfter ({after}) and two who are independent of \
         each other say so"
    );
    match due {
        Some(due) if due > seen.now => format!(
            "if it stays away, another node takes its place at about {}, in {}: {rule}",
            moment(due),
            span(seconds_since(seen.now, due))
        ),
        Some(due) => format!(
            "another node has been due to take its place for {}: {rule}",
            span(seconds_since(due, seen.now))
        ),
        None => format!("if it stays away, another node takes its place: {rule}"),
    }
}

fn due(away_since: Timestamp, after: std::time::Duration) -> Option<Timestamp> {
    let after = i64::try_from(after.as_secs()).ok()?;
    away_since.checked_add(SignedDuration::from_secs(after)).ok()
}

/// Nobody is there who could.
fn without_substitute(cluster: &DefsCluster, name: &str) -> Option<String> {
    let conditions = &cluster.status.as_ref()?.conditions;
    let pairing = conditions::of(conditions, ConditionType::PairingSatisfied)?;
    let is_waiting = pairing.status == "False"
        && pairing.reason == Reason::SparesMissing.name()
        && pairing.message.contains(name);
    is_waiting
        .then(|| format!("nobody is free who could: raise spec.replicas of {}", cluster.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn a_member_that_is_away_is_replaced_at_its_time() {
        let seen = example::without_demo_3();
        assert_eq!(
            of_member(&seen, &seen.nodes[3]),
            [
                "its partner demo-2 serves reads alone; demo-pair-1 takes nothing new meanwhile, \
                 other pairs do",
                "if it stays away, another node takes its place at about 2026-05-05 12:06:40 UTC, \
                 in 6 min: when it has been away for failover.replaceAfter (10m) and two who are \
                 independent of each other say so",
            ]
        );
    }

    #[test]
    fn one_that_is_overdue_says_so_and_why_nobody_came() {
        let mut seen = example::without_demo_3();
        let spec = json!({ "failover": { "replaceAfter": "1m" } });
        let status = json!({ "conditions": [example::condition_json(
            "PairingSatisfied", "False", "SparesMissing", "Nobody is free for the place of demo-3.",
        )] });
        seen.clusters[0] = example::cluster("demo", &spec, &status);
        let told = of_member(&seen, &seen.nodes[3]);
        assert!(told[1].starts_with("another node has been due to take its place for 2 min"));
        assert_eq!(told[2], "nobody is free who could: raise spec.replicas of demo");
    }

    #[test]
    fn a_change_under_way_is_told_and_nothing_else() {
        let seen = example::replacing(&json!({ "phase": "Copying" }));
        let told = of_member(&seen, &seen.nodes[3]);
        assert_eq!(
            told,
            ["demo-pair-1: demo-3 → demo-4: Copying, not known yet how long (its machine is gone)"]
        );
        assert_eq!(of_member(&seen, &seen.nodes[4]), told);
    }

    #[test]
    fn what_a_person_said_counts_before_the_clock() {
        let mut seen = example::without_demo_3();
        seen.nodes[3].spec.replace.requested = true;
        assert!(of_member(&seen, &seen.nodes[3])[0].starts_with("a person asked for another"));
        seen.nodes[3].spec.replace.acknowledge_lost = Some("3".repeat(64));
        assert!(of_member(&seen, &seen.nodes[3])[0].starts_with("a person has given up"));
    }

    #[test]
    fn a_node_in_no_pair_waits_or_is_done() {
        let state = |state: &str| {
            let mut seen = example::healthy();
            seen.nodes[4] = example::node(4, &json!({}), &json!({ "state": state }));
            of_member(&seen, &seen.nodes[4]).concat()
        };
        assert!(state("Spare").starts_with("it waits to take the place"));
        assert!(state("Drained").contains("`kubectl defs node replace demo-4 --undo`"));
        assert!(state("Down").starts_with("it is in no pair, so nobody takes its place"));
        assert_eq!(state("Joining"), "");
    }

    #[test]
    fn a_pause_a_freeze_and_a_missing_operator_hold_everything_up() {
        let mut seen = example::without_demo_3();
        assert_eq!(held_up(&seen, &seen.clusters[0]), [""; 0]);
        let spec = json!({ "paused": { "healing": true, "until": "2026-05-05T13:00:00Z" } });
        let status = json!({ "conditions": [example::condition_json(
            "OperatorIsolated", "True", "CutOff", "It reaches no node.",
        )] });
        seen.clusters[0] = example::cluster("demo", &spec, &status);
        seen.leader = crate::leader::Leader::Never;
        let told = held_up(&seen, &seen.clusters[0]);
        assert!(told[0].starts_with("no operator has led"), "{told:?}");
        assert_eq!(
            told[1..],
            [
                "a person has paused demo: nobody is replaced until 2026-05-05 13:00:00 UTC",
                "nobody is replaced for now: It reaches no node.",
            ]
        );
        let over = json!({ "paused": { "all": true, "until": "2026-05-05T11:00:00Z" } });
        seen.clusters[0] = example::cluster("demo", &over, &json!({}));
        assert_eq!(held_up(&seen, &seen.clusters[0]).len(), 1);
    }
}
