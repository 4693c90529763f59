//! Why a cluster is as it is.

use defs_crds::DefsCluster;
use defs_crds::pair::status::PairPhase;
use kube::ResourceExt;

use super::super::{plan, status};
use super::{Explanation, outlook};
use crate::conditions;
use crate::events::About;
use crate::figures::UNKNOWN;
use crate::migration;
use crate::seen::Seen;

pub(super) fn about(cluster: &DefsCluster) -> Vec<About> {
    vec![About::new("DefsCluster", cluster.name_any())]
}

pub(super) fn explain(seen: &Seen, cluster: &DefsCluster) -> Explanation {
    Explanation {
        title: title(cluster),
        state: state(seen, cluster),
        outlook: outlook(seen, cluster),
        ..Explanation::default()
    }
}

fn title(cluster: &DefsCluster) -> String {
    let phase = cluster.status.as_ref().and_then(|status| status.phase);
    let phase = phase.map_or_else(|| UNKNOWN.to_owned(), |phase| format!("{phase:?}"));
    format!("DefsCluster {}: {phase}", cluster.name_any())
}

fn state(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let Some(status) = &cluster.status else {
        return vec!["no operator has looked at it yet".to_owned()];
    };
    let mut lines = vec![
        format!(
            "{} of {} nodes are ready; pairs: {}",
            status.ready,
            cluster.spec.replicas,
            status::pairs(cluster, status)
        ),
        format!("without losing data may vanish now: {}", status::may_vanish(status)),
    ];
    let amiss = conditions::amiss(&status.conditions);
    lines.extend(conditions::lines(&amiss, seen.now, ToOwned::to_owned));
    lines.extend(status::silent_nodes(seen, cluster));
    lines
}

fn outlook(seen: &Seen, cluster: &DefsCluster) -> Vec<String> {
    let mut lines = outlook::held_up(seen, cluster);
    for pair in seen.pairs_of(cluster) {
        let status = pair.status.clone().unwrap_or_default();
        let name = pair.name_any();
        if let Some(it) = status.migration.as_ref().filter(|it| migration::is_under_way(it)) {
            lines.push(format!("{name}: {}", migration::line(it, seen.now)));
        } else if status.phase.is_some_and(|phase| phase != PairPhase::Healthy) {
            let phase = super::super::pair::phase(pair);
            lines.push(format!("{name} is {phase}: kubectl defs why pair/{name}"));
        }
    }
    lines.extend(plan::remark(cluster));
    if lines.is_empty() {
        let is_amiss = cluster
            .status
            .as_ref()
            .is_none_or(|status| !conditions::amiss(&status.conditions).is_empty());
        lines.push(if is_amiss {
            "the operator waits for what stands above".to_owned()
        } else {
            "nothing: everything is as asked".to_owned()
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn a_healthy_cluster_needs_nothing() {
        let seen = example::healthy();
        let told = explain(&seen, &seen.clusters[0]);
        assert_eq!(told.title, "DefsCluster demo: Ready");
        assert_eq!(
            told.state,
            [
                "5 of 5 nodes are ready; pairs: 2 healthy",
                "without losing data may vanish now: 1 pair",
            ]
        );
        assert_eq!(told.outlook, ["nothing: everything is as asked"]);
    }

    #[test]
    fn a_degraded_one_tells_what_becomes_of_its_pairs() {
        let seen = example::without_demo_3();
        let told = explain(&seen, &seen.clusters[0]);
        assert_eq!(told.state.len(), 5);
        assert_eq!(told.outlook, ["demo-pair-1 is Degraded: kubectl defs why pair/demo-pair-1"]);
        let seen = example::replacing(&json!({ "phase": "Switching" }));
        let told = explain(&seen, &seen.clusters[0]);
        assert!(told.outlook[0].starts_with("demo-pair-1: demo-3 → demo-4: Switching"));
    }

    #[test]
    fn one_that_forms_says_that_the_operator_waits() {
        let mut seen = example::healthy();
        seen.pairs.clear();
        let forming = json!({ "phase": "Forming", "conditions": [example::condition_json(
            "Ready", "False", "Forming", "Nodes start and find their first pairs.",
        )] });
        seen.clusters[0] = example::cluster("demo", &json!({}), &forming);
        let told = explain(&seen, &seen.clusters[0]);
        assert_eq!(told.outlook, ["the operator waits for what stands above"]);
    }
}
