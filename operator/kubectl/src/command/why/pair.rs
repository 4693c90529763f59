//! Why a pair is as it is.

use defs_crds::DefsPair;
use defs_crds::pair::Origin;
use defs_crds::pair::status::{PairPhase, SyncState};
use kube::ResourceExt;

use super::super::pair::phase;
use super::super::tree::role;
use super::{Explanation, outlook};
use crate::conditions;
use crate::events::About;
use crate::figures::{UNKNOWN, moment};
use crate::migration;
use crate::seen::{Seen, members};

/// Past epochs that are told; `pair show` has all.
const HISTORY_TOLD: usize = 3;

/// What was seen last of each member; `node show` has all.
const EVIDENCE_TOLD: usize = 3;

/// The pair itself, and its members with their pods.
pub(super) fn about(pair: &DefsPair) -> Vec<About> {
    let mut about = vec![About::new("DefsPair", pair.name_any())];
    for name in members(pair) {
        about.extend([About::new("DefsNode", name.clone()), About::new("Pod", name)]);
    }
    about
}

pub(super) fn explain(seen: &Seen, pair: &DefsPair) -> Explanation {
    Explanation {
        title: format!(
            "DefsPair {} of cluster {}: {}",
            pair.name_any(),
            pair.spec.cluster_ref.name,
            phase(pair)
        ),
        state: state(seen, pair),
        evidence: evidence(seen, pair),
        outlook: outlook(seen, pair),
        ..Explanation::default()
    }
}

fn state(seen: &Seen, pair: &DefsPair) -> Vec<String> {
    let Some(status) = &pair.status else {
        return vec!["no operator has looked at it yet".to_owned()];
    };
    let member = |name: &String| {
        let node = seen.node(pair.namespace().as_deref(), name);
        let state = match node {
            None => "there is no such DefsNode".to_owned(),
            Some(node) => {
                let state = node.status.as_ref().and_then(|status| status.state);
                state.map_or_else(|| UNKNOWN.to_owned(), |state| format!("{state:?}"))
            }
        };
        format!("{} {name}: {state}", role(pair, name))
    };
    let mut lines: Vec<_> = members(pair).iter().map(member).collect();
    if let Some(sync) = status.sync {
        let pending = sync.pending;
        lines.push(match sync.state {
            SyncState::InSync => "both hold the same".to_owned(),
            SyncState::CatchingUp if pending > 0 => {
                format!("the mirror gets what it lacks ({pending} shards and records)")
            }
            SyncState::CatchingUp => "the mirror gets what it lacks".to_owned(),
            SyncState::Behind => {
                format!(
                    "one lacks what the other has ({pending} shards and records), and gets nothing"
                )
            }
            SyncState::Unknown => "nobody who knows what they hold has answered".to_owned(),
        });
    }
    if pair.spec.origin == Origin::Pinned {
        lines.push("a person has chosen its members: the planner leaves them".to_owned());
    }
    let amiss = conditions::amiss(&status.conditions);
    lines.extend(conditions::lines(&amiss, seen.now, ToOwned::to_owned));
    lines
}

fn evidence(seen: &Seen, pair: &DefsPair) -> Vec<String> {
    let mut lines = Vec::new();
    for name in members(pair) {
        let node = seen.node(pair.namespace().as_deref(), &name);
        let evidence = node.and_then(|node| node.status.as_ref()).map(|status| &status.evidence);
        for it in evidence.into_iter().flatten().take(EVIDENCE_TOLD) {
            lines.push(format!("{}  {} of {name}: {}", moment(it.at.0), it.who, it.what));
        }
    }
    let history = pair.status.iter().flat_map(|status| &status.history).take(HISTORY_TOLD);
    lines.extend(history.map(|it| format!("{}  epoch {}: {}", moment(it.at.0), it.epoch, it.what)));
    lines
}

fn outlook(seen: &Seen, pair: &DefsPair) -> Vec<String> {
    let namespace = pair.namespace();
    let cluster = seen.cluster(namespace.as_deref(), &pair.spec.cluster_ref.name);
    let mut lines: Vec<_> =
        cluster.map(|cluster| outlook::held_up(seen, cluster)).unwrap_or_default();
    let status = pair.status.clone().unwrap_or_default();
    if let Some(it) = status.migration.as_ref().filter(|it| migration::is_under_way(it)) {
        lines.push(migration::line(it, seen.now));
        return lines;
    }
    let members = members(pair);
    let nodes = members.iter().filter_map(|name| seen.node(namespace.as_deref(), name));
    for (node, told) in nodes.map(|node| (node, outlook::of_member(seen, node))) {
        lines.extend(told.into_iter().map(|it| format!("{}: {it}", node.name_any())));
    }
    lines.extend(of_phase(status.phase));
    if lines.is_empty() {
        lines.push("nothing: everything is as asked".to_owned());
    }
    lines
}

fn of_phase(phase: Option<PairPhase>) -> Option<String> {
    let told = match phase? {
        PairPhase::Forming => "its members are asked to sign it, and to become ready",
        PairPhase::Syncing => "one member copies what the other has: then it is Healthy",
        PairPhase::Lost => {
            "what it held is rebuilt at other pairs, as far as it was stored to survive that; `defs \
             why NAME` tells it of an object"
        }
        PairPhase::Dissolved => "nothing: its shards are elsewhere",
        PairPhase::Healthy | PairPhase::Degraded | PairPhase::Migrating => return None,
    };
    Some(told.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn a_degraded_pair_tells_its_members_its_lack_and_what_comes() {
        let seen = example::without_demo_3();
        let told = explain(&seen, &seen.pairs[1]);
        assert_eq!(told.title, "DefsPair demo-pair-1 of cluster demo: Degraded");
        assert_eq!(
            told.state[..3],
            [
                "primary demo-2: Serving",
                "mirror demo-3: Down",
                "one lacks what the other has (7 shards and records), and gets nothing",
            ]
        );
        assert!(told.state[3].starts_with("Ready is False for 3 min (MemberAway)"));
        assert_eq!(
            told.evidence,
            ["2026-05-05 11:56:50 UTC  demo-2 of demo-3: no heartbeat for 10 s"]
        );
        assert!(told.outlook[0].starts_with("demo-3: its partner demo-2 serves reads alone"));
        assert!(told.outlook[1].starts_with("demo-3: if it stays away"));
    }

    #[test]
    fn a_healthy_pair_needs_nothing_and_a_lost_one_is_rebuilt_elsewhere() {
        let mut seen = example::healthy();
        assert_eq!(explain(&seen, &seen.pairs[0]).outlook, ["nothing: everything is as asked"]);
        seen.pairs[0] = example::pair(0, &json!({}), &json!({ "phase": "Lost" }));
        let told = explain(&seen, &seen.pairs[0]);
        assert!(told.outlook[0].starts_with("what it held is rebuilt at other pairs"));
    }

    #[test]
    fn events_of_all_members_and_their_pods_belong_to_it() {
        let seen = example::replacing(&json!({}));
        let named: Vec<_> = about(&seen.pairs[1]).into_iter().map(|it| it.name).collect();
        assert_eq!(
            named,
            ["demo-pair-1", "demo-2", "demo-2", "demo-3", "demo-3", "demo-4", "demo-4"]
        );
    }
}
