//! A DefsNode: its certificate, volume and pod, the connection to it, and how it is.

mod make;
mod tell;

use std::sync::Arc;

use defs_crds::node::status::{Domain, Role};
use defs_crds::{DefsCluster, DefsNode};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::agents::{Known, Target};
use crate::build::{ADMIN_PORT, Names};
use crate::cluster::{agent_key, pod};
use crate::context::{Context, LOOK_AGAIN, SOON};
use crate::error::Error;
use crate::pair::objection;

/// What was seen of a node in one look.
struct Seen<'a> {
    pod: Option<&'a Pod>,
    known: &'a Known,
    /// What could not be made.
    problem: Option<&'a Error>,
}

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
    let made = if cluster.spec.paused.all {
        Ok(())
    } else {
        make::make(&context, &cluster, &node, &names, &credentials.tls).await
    };
    let pod = pod(&context, &node);
    match pod.as_deref().and_then(|pod| target(&context, &cluster, &names, pod)) {
        Some(target) => context.agents.follow(&key, target, &credentials),
        None => context.agents.lose(&key, "it has no pod that runs"),
    }
    let known = context.agents.known(&key);
    let was_there = node.status.as_ref().is_some_and(|status| status.peer_id.is_some());
    if context.agents.has_just_begun() && was_there && !known.is_heard(Instant::now()) {
        made?;
        return Ok(Action::requeue(SOON));
    }
    let seen = Seen { pod: pod.as_deref(), known: &known, problem: made.as_ref().err() };
    tell::tell(&context, &cluster, &node, &seen).await?;
    made?;
    context.failures.over("DefsNode", &*node);
    Ok(Action::requeue(if known.is_heard(Instant::now()) { LOOK_AGAIN } else { SOON * 5 }))
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

/// The pair that a node is a member of, and its place in it.
fn membership(context: &Context, node: &DefsNode) -> Option<(String, Option<Role>)> {
    let name = node.name_any();
    let pairs = context.world.pairs.state();
    let pair = pairs.iter().find(|pair| {
        pair.namespace() == node.namespace()
            && pair.spec.cluster_ref == node.spec.cluster_ref
            && pair.spec.members.iter().any(|member| member.node_ref.name == name)
            && objection(context, pair).is_none()
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
