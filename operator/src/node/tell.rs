//! How a node is, for its object: who says what of it, and since when.

use std::collections::BTreeMap;

use defs_crds::cluster::Announce;
use defs_crds::cluster::status::bucket;
use defs_crds::node::status::{DefsNodeStatus, EVIDENCE_MAX, Evidence, NodeScore, NodeState, Role};
use defs_crds::reason::{ConditionType as Type, Reason};
use defs_crds::{DefsCluster, DefsNode};
use defs_pairing::score::{Part, Score};
use defs_wire::admin as pb;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Service};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::Seen;
use crate::apply::apply_status;
use crate::build::Names;
use crate::cluster::{agent_key, is_ready, node_id, percent, steady};
use crate::condition::{Conditions, now};
use crate::context::Context;
use crate::error::Error;

pub(super) async fn tell(
    context: &Context,
    cluster: &DefsCluster,
    node: &DefsNode,
    seen: &Seen<'_>,
) -> Result<(), Error> {
    let before = node.status.clone().unwrap_or_default();
    let Seen { pod, known, .. } = *seen;
    let said = known.report.as_ref().and_then(|report| report.status.as_ref());
    let is_heard = known.is_heard(Instant::now());
    let generation = node.metadata.generation;
    let mut conditions = Conditions::of(before.conditions.clone(), generation);
    let is_serving = is_heard && pod.is_some_and(is_ready) && seen.problem.is_none();
    let (reason, detail) = why(context, node, seen, is_serving);
    conditions.say(Type::Ready, is_serving, reason, detail.clone());
    let pair = super::membership(context, node);
    let state = state(node, is_heard, said, pair.is_some());
    let peer_id = node_id(node, known).map(|id| id.full());
    let mut evidence = before.evidence.clone();
    if before.peer_id.is_some() && before.peer_id != peer_id {
        let note = "It was another node before: what that one held is not here.";
        conditions.news.push((Reason::VolumeLost, note.to_owned()));
        testify(&mut evidence, "defs-operator", note);
    }
    if before.state.is_some_and(|before| before != state) {
        gather(context, node, seen, (&mut evidence, &detail), pair.as_ref());
    }
    let percent = said.map(|it| percent(it.used_bytes, it.capacity_bytes));
    let ranking = context
        .rankings
        .get(node.metadata.namespace.as_deref().unwrap_or_default(), &node.spec.cluster_ref.name);
    let score = ranking.nodes.get(&node.name_any());
    let status = DefsNodeStatus {
        observed_generation: generation,
        state: Some(state),
        peer_id,
        pod_name: pod.map(ResourceExt::name_any),
        pod_uid: pod.and_then(ResourceExt::uid),
        pvc_name: Some(Names::claim(&node.name_any())),
        addresses: said.map_or_else(|| before.addresses.clone(), |it| it.addresses.clone()),
        announced: match cluster.spec.network.announce {
            Announce::Pod => None,
            Announce::Service | Announce::External => announced(context, node).or(before.announced),
        },
        node_name: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        // Until a pod has a machine, it stands where the last one stood.
        domain: pod
            .map(|pod| super::domain(context, cluster, pod))
            .filter(|it| it.host.is_some())
            .or(before.domain),
        role: pair.as_ref().and_then(|(_, role)| *role),
        pair: pair.map(|(pair, _)| pair),
        score: score.map(|score| scored(before.score.as_ref(), score)).or(before.score),
        capacity_bytes: said.map(|it| it.capacity_bytes).or(before.capacity_bytes),
        used_bytes: said.map(|it| bucket(it.used_bytes)).or(before.used_bytes),
        used_percent: percent.or(before.used_percent),
        evidence,
        conditions: conditions.all,
    };
    apply_status(&context.client, node, node.status.as_ref(), &status).await?;
    context.tell(&node.object_ref(&()), conditions.news).await;
    Ok(())
}

/// The address that the node's own service has, as the first part of a multiaddress.
fn announced(context: &Context, node: &DefsNode) -> Option<String> {
    let namespace = node.namespace()?;
    let name = Names::node_service(&node.name_any());
    let service =
        context.world.services.get(&ObjectRef::<Service>::new(&name).within(&namespace))?;
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return Some(format!("/dns/{name}.{namespace}.svc"));
    }
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    let first = balancer.ingress.as_ref()?.first()?;
    match (&first.ip, &first.hostname) {
        (Some(ip), _) if ip.contains(':') => Some(format!("/ip6/{ip}")),
        (Some(ip), _) => Some(format!("/ip4/{ip}")),
        (None, Some(host)) => Some(format!("/dns/{host}")),
        (None, None) => None,
    }
}

fn scored(before: Option<&NodeScore>, score: &Score) -> NodeScore {
    let known = |name: &String| before.and_then(|it| it.parts.get(name)).copied();
    let part = |Part { dimension, points, .. }: &Part| {
        let name = dimension.to_string();
        let points = steady(known(&name), points.get());
        (name, points)
    };
    let parts: BTreeMap<_, _> = score.parts.iter().map(part).collect();
    NodeScore { total: steady(before.map(|it| it.total), score.total.get()), parts }
}

/// Adds a word of `who` before the others.
fn testify(evidence: &mut Vec<Evidence>, who: &str, what: &str) {
    let what = what.chars().take(512).collect();
    evidence.insert(0, Evidence { at: now(), who: who.to_owned(), what });
    evidence.truncate(EVIDENCE_MAX);
}

/// What everybody says who has a say in how the node is: the operator, the kubelet, the partner.
fn gather(
    context: &Context,
    node: &DefsNode,
    seen: &Seen<'_>,
    (evidence, detail): (&mut Vec<Evidence>, &str),
    pair: Option<&(String, Option<Role>)>,
) {
    let is_heard = seen.known.is_heard(Instant::now());
    let kubelet = match seen.pod {
        None => "there is no pod",
        Some(pod) if is_ready(pod) => "its pod is ready",
        Some(_) => "its pod is not ready",
    };
    testify(evidence, "kubelet", kubelet);
    if let Some((partner, health)) = pair.and_then(|(pair, _)| partner(context, node, pair)) {
        testify(evidence, &partner, &format!("it holds its partner to be {health}"));
    }
    let own = match detail {
        _ if is_heard => "it is heard".to_owned(),
        "" => "not heard".to_owned(),
        detail => format!("not heard: {detail}"),
    };
    testify(evidence, "defs-operator", &own);
}

/// The partner of a node, and what it makes of it.
fn partner(context: &Context, node: &DefsNode, pair: &str) -> Option<(String, String)> {
    let namespace = node.namespace()?;
    let pair = context.world.pairs.get(&ObjectRef::new(pair).within(&namespace))?;
    let name = node.name_any();
    let partner = pair.spec.members.iter().find(|it| it.node_ref.name != name)?;
    let partner = partner.node_ref.name.clone();
    let cluster = node.spec.cluster_ref.name.clone();
    let names = Names { namespace, cluster };
    let known = context.agents.known(&agent_key(&names, &partner));
    let health = known.report.as_ref().filter(|_| known.is_heard(Instant::now()))?;
    let health = health.partner_health.to_lowercase();
    (!health.is_empty()).then_some((partner, health))
}

/// Why a node is as it is, for people.
fn why(context: &Context, node: &DefsNode, seen: &Seen<'_>, is_serving: bool) -> (Reason, String) {
    if is_serving {
        return (Reason::NodeJoined, String::new());
    }
    if let Some(error) = seen.problem.filter(|error| error.is_for_people()) {
        return (error.reason(), format!("{}.", error.whole()));
    }
    let Some(pod) = seen.pod else {
        return (Reason::NotSeenYet, "It has no pod yet.".to_owned());
    };
    let status = pod.status.clone().unwrap_or_default();
    if let Some(found) = unscheduled(context, node, &status).or_else(|| waiting(pod, &status)) {
        return found;
    }
    let problem = seen.known.problem.clone().unwrap_or_default();
    let was_there = node.status.as_ref().is_some_and(|status| status.peer_id.is_some());
    let reason = if was_there { Reason::NodeSuspected } else { Reason::NotSeenYet };
    (reason, problem)
}

/// Why the pod has no machine: most often since its volume can't be had.
fn unscheduled(context: &Context, node: &DefsNode, status: &PodStatus) -> Option<(Reason, String)> {
    let scheduled = status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled");
    let not = scheduled.filter(|it| it.status == "False")?;
    let message = not.message.clone().unwrap_or_default();
    let namespace = node.namespace()?;
    let claim = ObjectRef::new(&Names::claim(&node.name_any())).within(&namespace);
    let claim = context.world.claims.get(&claim);
    let is_bound = claim.as_ref().is_some_and(|claim| {
        claim.status.as_ref().and_then(|it| it.phase.as_deref()) == Some("Bound")
    });
    let lower = message.to_lowercase();
    let is_about_volumes = lower.contains("volume") || lower.contains("storageclass");
    if is_bound || !is_about_volumes {
        return Some((Reason::PodUnschedulable, message));
    }
    let class = claim.as_ref().and_then(|it| it.spec.as_ref()?.storage_class_name.clone());
    let class = class.map_or_else(
        || "there is no storage class for it".to_owned(),
        |class| format!("storage class {class}"),
    );
    let claim = Names::claim(&node.name_any());
    Some((Reason::VolumeMissing, format!("Claim {claim}, {class}: {message}")))
}

/// Why the container doesn't run.
fn waiting(pod: &Pod, status: &PodStatus) -> Option<(Reason, String)> {
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers.filter_map(|it| it.state.as_ref()?.waiting.clone()).next()?;
    let image = pod.spec.as_ref().and_then(|it| it.containers.first()?.image.clone());
    let detail = waiting.message.unwrap_or_default();
    Some(match waiting.reason.as_deref() {
        Some("ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName") => {
            (Reason::ImageNotPulled, format!("{}: {detail}", image.unwrap_or_default()))
        }
        Some("CrashLoopBackOff" | "CreateContainerConfigError" | "RunContainerError") => {
            (Reason::PodCrashing, detail)
        }
        _ => (Reason::NotSeenYet, detail),
    })
}

fn state(
    node: &DefsNode,
    is_heard: bool,
    said: Option<&pb::StatusResponse>,
    is_paired: bool,
) -> NodeState {
    let is_known = node.status.as_ref().is_some_and(|status| status.peer_id.is_some());
    match (is_heard, said) {
        (true, Some(_)) if node.spec.replace.requested => {
            if is_paired {
                NodeState::Draining
            } else {
                NodeState::Drained
            }
        }
        (true, Some(status)) if status.pair.is_some() => NodeState::Serving,
        (true, Some(_)) => NodeState::Spare,
        _ if !is_known => NodeState::Joining,
        _ if is_paired => NodeState::Down,
        _ => NodeState::Suspect,
    }
}
