//! A DefsNode: its certificate, volume and pod, the connection to it, and how it is.

use std::sync::Arc;

use defs_crds::cluster::status::bucket;
use defs_crds::names::label;
use defs_crds::node::status::{DefsNodeStatus, Domain, NodeState};
use defs_crds::reason::{ConditionType as Type, Reason};
use defs_crds::{DefsCluster, DefsNode};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use tokio::time::Instant;

use crate::agents::{Known, Target};
use crate::apply::{apply, apply_status};
use crate::build::{ADMIN_PORT, Names, node_objects, tls_secret};
use crate::cluster::{agent_key, is_ready, node_id, percent, pod};
use crate::condition::{Conditions, system_time};
use crate::context::{Context, LOOK_AGAIN, SOON};
use crate::error::Error;

/// The label of machines that says their zone.
const ZONE_KEYS: &str = "/zone";
/// The label of machines that says their region.
const REGION_KEYS: &str = "/region";

/// Brings a node one step nearer to what is wanted of it.
pub(crate) async fn reconcile(node: Arc<DefsNode>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = node.namespace().ok_or(Error::Nameless)?;
    let cluster = ObjectRef::new(&node.spec.cluster_ref.name).within(&namespace);
    let Some(cluster) = context.world.clusters.get(&cluster) else {
        // It goes with its cluster.
        return Ok(Action::await_change());
    };
    let names = Names::of(&cluster)?;
    let key = agent_key(&names, &node.name_any());
    if node.metadata.deletion_timestamp.is_some() {
        context.agents.forget(&key);
        return Ok(Action::await_change());
    }
    let Some(credentials) = context.credentials.get(&namespace, &names.cluster) else {
        return Ok(Action::requeue(SOON));
    };
    let is_paused = cluster.spec.paused.all;
    if !is_paused {
        make(&context, &cluster, &node, &names, &credentials.authority).await?;
    }
    let pod = pod(&context, &node);
    match pod.as_deref().and_then(|pod| target(&context, &cluster, &names, pod)) {
        Some(target) => context.agents.follow(&key, target, &credentials),
        None => context.agents.lose(&key, "it has no pod that runs"),
    }
    let known = context.agents.known(&key);
    tell(&context, &cluster, &node, pod.as_deref(), &known).await?;
    context.failures.over("DefsNode", &*node);
    Ok(Action::requeue(if known.is_heard(Instant::now()) { LOOK_AGAIN } else { SOON * 5 }))
}

async fn make(
    context: &Context,
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
    authority: &crate::authority::Authority,
) -> Result<(), Error> {
    let (client, world) = (&context.client, &context.world);
    let name = node.name_any();
    let kept = ObjectRef::<Secret>::new(&Names::certificate(&name)).within(&names.namespace);
    let kept = world.secrets.get(&kept);
    let secret = tls_secret(node, names, authority, kept.as_deref(), system_time())?;
    apply(client, &world.secrets, &secret).await?;
    let image = image(context, cluster);
    let objects = node_objects(cluster, node, &image)?;
    let claim = Names::claim(&name);
    let claim = ObjectRef::<PersistentVolumeClaim>::new(&claim).within(&names.namespace);
    if world.claims.get(&claim).is_none() {
        crate::cluster::create(context, &objects.claim).await?;
    }
    match pod(context, node) {
        None => crate::cluster::create(context, &objects.pod).await,
        Some(there) if has_ended(&there) => crate::apply::delete(client, &*there).await,
        Some(there) => relabel(context, &there, &objects.pod).await,
    }
}

/// A pod that has ended for good, as after an eviction, makes room for the next.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && matches!(phase, Some("Failed" | "Succeeded"))
}

/// The image of the nodes.
fn image(context: &Context, cluster: &DefsCluster) -> String {
    let version = cluster.spec.version.clone().unwrap_or_default();
    cluster.spec.image.clone().unwrap_or_else(|| format!("{}:{version}", context.repository))
}

/// A pod's pair is found by its label, also by the scheduler.
async fn relabel(context: &Context, there: &Pod, wanted: &Pod) -> Result<(), Error> {
    let (has, should) = (there.labels().get(label::PAIR), wanted.labels().get(label::PAIR));
    if has == should {
        return Ok(());
    }
    let name = there.name_any();
    let namespace = there.namespace().ok_or(Error::Nameless)?;
    let patch = serde_json::json!({"metadata": {"labels": {label::PAIR: should}}});
    let pods = Api::<Pod>::namespaced(context.client.clone(), &namespace);
    let patched = pods.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(Error::api(format!("label pod {name}")))
}

/// Where a node can be reached.
fn target(context: &Context, cluster: &DefsCluster, names: &Names, pod: &Pod) -> Option<Target> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    let domain = domain(context, cluster, pod);
    Some(Target {
        address: format!("{host}:{ADMIN_PORT}"),
        name: names.host(&pod.name_any()),
        zone: domain.zone.unwrap_or_default(),
        region: domain.region.unwrap_or_default(),
    })
}

/// Where the machine of a pod stands, by its labels.
fn domain(context: &Context, cluster: &DefsCluster, pod: &Pod) -> Domain {
    let host = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let machine = host.as_ref().and_then(|host| context.world.machines.get(&ObjectRef::new(host)));
    let label = |suffix: &str| {
        let mut keys = cluster.spec.topology.domain_keys.iter();
        let key = keys.find(|key| key.ends_with(suffix)).cloned();
        let key = key.unwrap_or_else(|| format!("topology.kubernetes.io{suffix}"));
        machine.as_ref().and_then(|machine| machine.labels().get(&key).cloned())
    };
    Domain { zone: label(ZONE_KEYS), region: label(REGION_KEYS), host }
}

async fn tell(
    context: &Context,
    cluster: &DefsCluster,
    node: &DefsNode,
    pod: Option<&Pod>,
    known: &Known,
) -> Result<(), Error> {
    let before = node.status.clone().unwrap_or_default();
    let report = known.report.as_ref();
    let said = report.and_then(|report| report.status.as_ref());
    let is_heard = known.is_heard(Instant::now());
    let generation = node.metadata.generation;
    let mut conditions = Conditions::of(before.conditions.clone(), generation);
    let is_serving = is_heard && pod.is_some_and(is_ready);
    let (reason, detail) = why(pod, known, is_serving, before.peer_id.is_some());
    conditions.say(Type::Ready, is_serving, reason, detail);
    let pair = membership(context, node);
    let percent = said.map(|it| percent(it.used_bytes, it.capacity_bytes));
    let status = DefsNodeStatus {
        observed_generation: generation,
        state: Some(state(is_heard, said, pair.is_some(), &before)),
        peer_id: node_id(node, known).map(|id| id.full()),
        pod_name: pod.map(ResourceExt::name_any),
        pod_uid: pod.and_then(ResourceExt::uid),
        pvc_name: Some(Names::claim(&node.name_any())),
        addresses: said.map_or_else(|| before.addresses.clone(), |it| it.addresses.clone()),
        node_name: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        // Until a pod has a machine, it stands where the last one stood.
        domain: pod
            .map(|pod| domain(context, cluster, pod))
            .filter(|it| it.host.is_some())
            .or(before.domain),
        role: pair.as_ref().and_then(|(_, role)| *role),
        pair: pair.map(|(pair, _)| pair),
        score: before.score.clone(),
        capacity_bytes: said.map(|it| it.capacity_bytes).or(before.capacity_bytes),
        used_bytes: said.map(|it| bucket(it.used_bytes)).or(before.used_bytes),
        used_percent: percent.or(before.used_percent),
        evidence: before.evidence.clone(),
        conditions: conditions.all,
    };
    apply_status(&context.client, node, node.status.as_ref(), &status).await?;
    context.tell(&node.object_ref(&()), conditions.news).await;
    Ok(())
}

/// Why a node is as it is, for people.
fn why(pod: Option<&Pod>, known: &Known, is_serving: bool, was_there: bool) -> (Reason, String) {
    if is_serving {
        return (Reason::NodeJoined, String::new());
    }
    let Some(pod) = pod else { return (Reason::NotSeenYet, "It has no pod yet.".to_owned()) };
    let status = pod.status.clone().unwrap_or_default();
    let scheduled = status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled");
    if let Some(not) = scheduled.filter(|it| it.status == "False") {
        return (Reason::PodUnschedulable, not.message.clone().unwrap_or_default());
    }
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers.iter().find_map(|it| it.state.as_ref()?.waiting.clone());
    if let Some(waiting) = waiting {
        let detail = waiting.message.unwrap_or_default();
        return match waiting.reason.as_deref() {
            Some(
                "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName",
            ) => (Reason::ImageNotPulled, detail),
            Some("CrashLoopBackOff" | "CreateContainerConfigError" | "RunContainerError") => {
                (Reason::PodCrashing, detail)
            }
            _ => (Reason::NotSeenYet, detail),
        };
    }
    let problem = known.problem.clone().unwrap_or_default();
    let reason = if was_there { Reason::NodeSuspected } else { Reason::NotSeenYet };
    (reason, problem)
}

fn state(
    is_heard: bool,
    said: Option<&defs_wire::admin::StatusResponse>,
    is_paired: bool,
    before: &DefsNodeStatus,
) -> NodeState {
    match (is_heard, said) {
        (true, Some(status)) if status.pair.is_some() => NodeState::Serving,
        (true, Some(_)) => NodeState::Spare,
        _ if before.peer_id.is_none() => NodeState::Joining,
        _ if is_paired => NodeState::Down,
        _ => NodeState::Suspect,
    }
}

/// The pair that a node is a member of, and its place in it.
fn membership(
    context: &Context,
    node: &DefsNode,
) -> Option<(String, Option<defs_crds::node::status::Role>)> {
    use defs_crds::node::status::Role;
    let name = node.name_any();
    let pairs = context.world.pairs.state();
    let pair = pairs.iter().find(|pair| {
        pair.namespace() == node.namespace()
            && pair.spec.cluster_ref == node.spec.cluster_ref
            && pair.spec.members.iter().any(|member| member.node_ref.name == name)
    })?;
    let status = pair.status.clone().unwrap_or_default();
    let role = if status.primary.as_ref() == Some(&name) {
        Some(Role::Primary)
    } else if status.mirror.as_ref() == Some(&name) {
        Some(Role::Mirror)
    } else {
        None
    };
    Some((pair.name_any(), role))
}
