//! Why a node is as it is, also as its pod and its volume say it: they are there when no operator
//! is.

use defs_crds::node::status::NodeState;
use defs_crds::pair::status::PairPhase;
use defs_crds::{DefsNode, DefsPair};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;

use super::super::pair::phase;
use super::super::tree::role;
use super::{Explanation, outlook};
use crate::access::Access;
use crate::api::{ApiError, Kind};
use crate::conditions;
use crate::events::About;
use crate::figures::{UNKNOWN, moment, seconds_since, span};
use crate::seen::Seen;

/// What a node is made of.
pub(super) struct Parts {
    pod: Found<Pod>,
    claim: Found<PersistentVolumeClaim>,
}

/// An object that was looked for.
enum Found<K> {
    There(Box<K>),
    Missing,
    /// It may not be seen, and why.
    Hidden(String),
}

/// The claim has its name from the node where nobody has written it down yet.
fn claim_name(node: &DefsNode) -> String {
    let known = node.status.as_ref().and_then(|status| status.pvc_name.clone());
    known.unwrap_or_else(|| format!("data-{}", node.name_any()))
}

/// Looks at the pod and the volume of a node.
pub(super) async fn look(access: &Access, node: &DefsNode) -> Result<Parts, ApiError> {
    let namespace = node.namespace().unwrap_or_default();
    Ok(Parts {
        pod: find(access, &namespace, &node.name_any()).await?,
        claim: find(access, &namespace, &claim_name(node)).await?,
    })
}

async fn find<K: Kind>(access: &Access, namespace: &str, name: &str) -> Result<Found<K>, ApiError> {
    match access.get(namespace, name).await {
        Ok(Some(object)) => Ok(Found::There(Box::new(object))),
        Ok(None) => Ok(Found::Missing),
        Err(error) if error.is_forbidden() => Ok(Found::Hidden(error.to_string())),
        Err(error) => Err(error),
    }
}

pub(super) fn about(node: &DefsNode) -> Vec<About> {
    let name = node.name_any();
    vec![
        About::new("DefsNode", name.clone()),
        About::new("Pod", name),
        About::new("PersistentVolumeClaim", claim_name(node)),
    ]
}

pub(super) fn explain(seen: &Seen, node: &DefsNode, parts: &Parts) -> Explanation {
    Explanation {
        title: title(seen, node),
        state: state(seen, node, parts),
        evidence: evidence(node),
        outlook: outlook(seen, node),
        ..Explanation::default()
    }
}

fn title(seen: &Seen, node: &DefsNode) -> String {
    let name = node.name_any();
    let state = node.status.as_ref().and_then(|status| status.state);
    let state = state.map_or_else(|| UNKNOWN.to_owned(), |state| format!("{state:?}"));
    let place = seen.pair_with(node).map_or_else(
        || "in no pair".to_owned(),
        |pair| match role(pair, &name).as_str() {
            "comes" => format!("on its way into {}", pair.name_any()),
            role => format!("{role} of {}", pair.name_any()),
        },
    );
    format!("DefsNode {name} of cluster {}: {state}, {place}", node.spec.cluster_ref.name)
}

fn state(seen: &Seen, node: &DefsNode, parts: &Parts) -> Vec<String> {
    let mut lines = Vec::new();
    match &node.status {
        None => lines.push("no operator has looked at it yet".to_owned()),
        Some(status) => {
            let amiss = conditions::amiss(&status.conditions);
            lines.extend(conditions::lines(&amiss, seen.now, ToOwned::to_owned));
        }
    }
    lines.push(match &parts.pod {
        Found::There(pod) => of_pod(seen, pod),
        Found::Missing => format!("there is no pod {}", node.name_any()),
        Found::Hidden(why) => why.clone(),
    });
    lines.push(match &parts.claim {
        Found::There(claim) => of_claim(claim),
        Found::Missing => format!("there is no volume claim {}", claim_name(node)),
        Found::Hidden(why) => why.clone(),
    });
    lines
}

fn of_pod(seen: &Seen, pod: &Pod) -> String {
    let name = pod.name_any();
    let status = pod.status.clone().unwrap_or_default();
    let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let machine = machine.map_or_else(|| "no machine yet".to_owned(), |it| format!("machine {it}"));
    let phase = status.phase.unwrap_or_else(|| UNKNOWN.to_owned());
    let mut parts = vec![format!("pod {name} on {machine} is {phase}")];
    parts.extend(terminating(seen, pod));
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions.iter().find(|it| it.type_ == "Ready");
    parts.push(match ready.map(|it| it.status.as_str()) {
        Some("True") => "ready".to_owned(),
        _ => "not ready".to_owned(),
    });
    let scheduled = conditions.iter().find(|it| it.type_ == "PodScheduled");
    if let Some(not) = scheduled.filter(|it| it.status == "False") {
        parts.push(not.message.clone().unwrap_or_default());
    }
    let containers = status.container_statuses.unwrap_or_default();
    parts.extend(containers.iter().flat_map(of_container));
    parts.join(", ")
}

/// Since when it is to end. The object says until when it may take.
fn terminating(seen: &Seen, pod: &Pod) -> Option<String> {
    let until = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let since = until.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(until);
    let lasts = span(seconds_since(since, seen.now));
    Some(format!(
        "Terminating for {lasts} (it is gone once its kubelet says so, or its machine is deleted or \
         tainted out-of-service)"
    ))
}

fn of_container(container: &ContainerStatus) -> Vec<String> {
    let mut parts = Vec::new();
    if container.restart_count > 0 {
        parts.push(format!("started anew {} times", container.restart_count));
    }
    let waiting = container.state.as_ref().and_then(|it| it.waiting.clone());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.unwrap_or_default();
        parts.push(format!("{reason}: {}", waiting.message.unwrap_or_default()));
    }
    let ended = container.last_state.as_ref().and_then(|it| it.terminated.clone());
    if let Some(ended) = ended {
        let reason = ended.reason.unwrap_or_default();
        parts.push(format!("ended last with code {} ({reason})", ended.exit_code));
    }
    parts
}

fn of_claim(claim: &PersistentVolumeClaim) -> String {
    let status = claim.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| UNKNOWN.to_owned());
    let size = status.capacity.and_then(|it| it.get("storage").cloned());
    let size = size.map_or_else(String::new, |size| format!(", {}", size.0));
    format!("volume claim {} is {phase}{size}", claim.name_any())
}

fn evidence(node: &DefsNode) -> Vec<String> {
    let evidence = node.status.iter().flat_map(|status| &status.evidence);
    evidence.map(|it| format!("{}  {}: {}", moment(it.at.0), it.who, it.what)).collect()
}

fn outlook(seen: &Seen, node: &DefsNode) -> Vec<String> {
    let cluster = seen.cluster(node.namespace().as_deref(), &node.spec.cluster_ref.name);
    let mut lines: Vec<_> =
        cluster.map(|cluster| outlook::held_up(seen, cluster)).unwrap_or_default();
    lines.extend(outlook::of_member(seen, node));
    if lines.is_empty() {
        lines.push(of_the_rest(seen, node));
    }
    lines
}

/// Where nothing is to be done about the node itself.
fn of_the_rest(seen: &Seen, node: &DefsNode) -> String {
    let is_healthy = |pair: &&DefsPair| {
        pair.status.as_ref().is_some_and(|status| status.phase == Some(PairPhase::Healthy))
    };
    let pair = seen.pair_with(node);
    if let Some(pair) = pair.filter(|pair| !is_healthy(pair)) {
        let name = pair.name_any();
        return format!("{name} is {}: kubectl defs why pair/{name}", phase(pair));
    }
    match node.status.as_ref().and_then(|status| status.state) {
        Some(NodeState::Serving) => "nothing: everything is as asked".to_owned(),
        _ => "the operator waits for what stands above".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    fn pod(status: serde_json::Value, metadata: serde_json::Value) -> Found<Pod> {
        let mut pod = json!({
            "metadata": { "name": "demo-3", "namespace": "shop" },
            "spec": { "nodeName": "machine-3", "containers": [] },
            "status": { "phase": "Running" },
        });
        example::overlay(&mut pod["status"], status);
        example::overlay(&mut pod["metadata"], metadata);
        Found::There(Box::new(serde_json::from_value(pod).unwrap()))
    }

    fn bound() -> Found<PersistentVolumeClaim> {
        let claim = json!({
            "metadata": { "name": "data-demo-3" },
            "status": { "phase": "Bound", "capacity": { "storage": "10Gi" } },
        });
        Found::There(Box::new(serde_json::from_value(claim).unwrap()))
    }

    #[test]
    fn a_node_that_is_down_tells_its_pod_its_volume_and_who_saw_what() {
        let seen = example::without_demo_3();
        let parts = Parts { pod: Found::Missing, claim: bound() };
        let told = explain(&seen, &seen.nodes[3], &parts);
        assert_eq!(told.title, "DefsNode demo-3 of cluster demo: Down, mirror of demo-pair-1");
        assert!(told.state[0].starts_with("Ready is False for 3 min (NodeSuspected)"));
        assert_eq!(
            told.state[1..],
            ["there is no pod demo-3", "volume claim data-demo-3 is Bound, 10Gi"]
        );
        assert_eq!(told.evidence, ["2026-05-05 11:56:50 UTC  demo-2: no heartbeat for 10 s"]);
        assert_eq!(told.outlook.len(), 2);
    }

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        let seen = example::without_demo_3();
        let status = json!({
            "phase": "Pending",
            "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no room" }],
            "containerStatuses": [{
                "name": "node", "image": "x", "imageID": "", "ready": false, "restartCount": 4,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
                "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
            }],
        });
        let Found::There(pod) = pod(status, json!({})) else { panic!() };
        assert_eq!(
            of_pod(&seen, &pod),
            "pod demo-3 on machine machine-3 is Pending, not ready, no room, started anew 4 times, \
             CrashLoopBackOff: back-off, ended last with code 1 (Error)"
        );
    }

    #[test]
    fn a_pod_on_a_dead_machine_is_terminating_until_somebody_says_that_it_is_gone() {
        let seen = example::without_demo_3();
        let deleted = json!({
            "deletionTimestamp": "2026-05-05T12:00:20Z", "deletionGracePeriodSeconds": 30,
        });
        let Found::There(pod) = pod(json!({}), deleted) else { panic!() };
        assert!(of_pod(&seen, &pod).contains("Terminating for 10 s"), "{}", of_pod(&seen, &pod));
    }

    #[test]
    fn one_that_serves_in_a_pair_that_is_not_whole_leads_there() {
        let seen = example::without_demo_3();
        assert_eq!(
            outlook(&seen, &seen.nodes[2]),
            ["demo-pair-1 is Degraded: kubectl defs why pair/demo-pair-1"]
        );
    }

    #[test]
    fn what_may_not_be_seen_is_said_and_the_rest_is_told() {
        let seen = example::healthy();
        let hidden = || "not allowed to get pods in namespace shop".to_owned();
        let parts = Parts { pod: Found::Hidden(hidden()), claim: Found::Missing };
        let told = explain(&seen, &seen.nodes[0], &parts);
        assert_eq!(told.state, [hidden(), "there is no volume claim data-demo-0".to_owned()]);
        assert_eq!(told.outlook, ["nothing: everything is as asked"]);
    }
}
