//! What is known of a cluster now: its objects, and what its nodes say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::format::Format;
use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};
use defs_core::reading::Reading;
use defs_crds::cluster::Weights as WantedWeights;
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use defs_pairing::planner::Candidate;
use defs_pairing::score::observers::Observers;
use defs_pairing::score::{Given, Weights};
use defs_pairing::survey::{Survey, Surveyed};
use defs_wire::admin as pb;
use k8s_openapi::api::core::v1::{Node as KubeNode, Pod};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::agents::{AgentKey, Known};
use crate::build::Names;
use crate::context::Context;
use crate::error::Error;
use crate::plan::{KnownPair, Machine, Member};

/// The taint by which somebody declares a machine to be off for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// All that a cluster's decisions rest on.
pub(crate) struct Looked {
    pub(crate) nodes: Vec<Arc<DefsNode>>,
    pub(crate) pairs: Vec<Arc<DefsPair>>,
    pub(crate) known: BTreeMap<String, Known>,
    pub(crate) members: Vec<Member>,
    pub(crate) known_pairs: Vec<KnownPair>,
    /// Nothing is under way that no watch tells of.
    pub(crate) is_settled: bool,
}

/// The agent of a node.
pub(crate) fn agent_key(names: &Names, node: &str) -> AgentKey {
    AgentKey {
        namespace: names.namespace.clone(),
        cluster: names.cluster.clone(),
        node: node.to_owned(),
    }
}

pub(crate) fn look(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
) -> Result<Looked, Error> {
    let world = &context.world;
    let is_ours = |namespace: Option<String>, reference: &str| {
        namespace.as_deref() == Some(&names.namespace) && reference == names.cluster
    };
    let mut nodes: Vec<_> = world.nodes.state();
    nodes.retain(|it| is_ours(it.namespace(), &it.spec.cluster_ref.name));
    nodes.sort_by_key(|it| it.spec.index);
    let mut pairs: Vec<_> = world.pairs.state();
    pairs.retain(|it| is_ours(it.namespace(), &it.spec.cluster_ref.name));
    pairs.sort_by_key(|it| it.name_any());
    let known: BTreeMap<_, _> = nodes
        .iter()
        .map(|it| (it.name_any(), context.agents.known(&agent_key(names, &it.name_any()))))
        .collect();
    let now = Instant::now();
    let survey = survey(&cluster.spec.pairing.weights, &known);
    let anybody = known.values().any(|it| it.is_heard(now));
    let member = |node: &Arc<DefsNode>| member(context, node, &known, (now, anybody), &survey);
    let members: Vec<_> = nodes.iter().map(member).collect();
    let known_pairs: Vec<_> =
        pairs.iter().filter_map(|pair| known_pair(pair, &known, now)).collect();
    let is_settled = members.iter().all(|it| it.is_heard)
        && nodes.len() == cluster.spec.replicas as usize
        && pairs.len() >= cluster.spec.pairs() as usize
        && known_pairs.iter().all(|it| !it.is_changing);
    Ok(Looked { nodes, pairs, known, members, known_pairs, is_settled })
}

/// A node's id in the network, as it said itself or as it was written down.
pub(crate) fn node_id(node: &DefsNode, known: &Known) -> Option<NodeId> {
    let said = known.report.as_ref().and_then(|report| report.status.as_ref());
    let said = said.and_then(|status| status.node_id.parse().ok());
    let kept = node.status.as_ref().and_then(|status| status.peer_id.as_ref());
    said.or_else(|| kept.and_then(|id| id.parse().ok()))
}

fn card(known: &Known) -> Option<&pb::NodeCard> {
    known.report.as_ref()?.card.as_ref()
}

fn surveyed(known: &Known) -> Option<Surveyed> {
    let card = card(known)?;
    let candidate = Candidate {
        node: card.node_id.parse().ok()?,
        labels: labels(card),
        capacity: card.capacity_bytes,
        reach: reach(card),
    };
    Some(Surveyed { candidate, used: card.used_bytes })
}

/// Where a node says that it stands.
pub(crate) fn labels(card: &pb::NodeCard) -> Labels {
    let (host, zone, region) = (card.host.clone(), card.zone.clone(), card.region.clone());
    Labels { host, zone, region }
}

fn reach(card: &pb::NodeCard) -> Reach {
    if card.reach == Reach::Hidden.to_string() { Reach::Hidden } else { Reach::Open }
}

/// What all nodes have measured of each other.
fn survey(wanted: &WantedWeights, known: &BTreeMap<String, Known>) -> Survey {
    let mut observers = Observers::default();
    for report in known.values().filter_map(|it| it.report.as_ref()) {
        let observer = report.status.as_ref().and_then(|status| status.node_id.parse().ok());
        let Some(observer) = observer else { continue };
        let readings = report.readings.iter().filter_map(|bytes| Reading::decode(bytes).ok());
        observers.hear(observer, readings);
    }
    let nodes = known.values().filter_map(surveyed).collect();
    Survey::new(nodes, observers, weights(wanted))
}

/// Sums of nothing are refused by the schema: then the usual weights count.
fn weights(wanted: &WantedWeights) -> Weights {
    let WantedWeights { geography, capacity, bandwidth, latency, stability, load } = *wanted;
    let given = Given { geography, capacity, bandwidth, latency, stability, load };
    Weights::try_from(given).unwrap_or_default()
}

fn member(
    context: &Context,
    node: &DefsNode,
    known: &BTreeMap<String, Known>,
    (now, anybody): (Instant, bool),
    survey: &Survey,
) -> Member {
    let name = node.name_any();
    let unknown = Known::default();
    let known = known.get(&name).unwrap_or(&unknown);
    let id = node_id(node, known);
    let said = card(known);
    let pod = pod(context, node);
    // While nobody is heard at all it is the operator that is away.
    let silent =
        known.heard.filter(|_| anybody).map_or(Duration::ZERO, |it| now.duration_since(it));
    Member {
        node: id,
        labels: said.map(labels).unwrap_or_default(),
        reach: said.map(reach).unwrap_or_default(),
        capacity: said.map_or(0, |card| card.capacity_bytes),
        used: said.map_or(0, |card| card.used_bytes),
        score: id.and_then(|id| survey.score(&id)),
        is_heard: known.is_heard(now),
        silent,
        is_ready: pod.as_deref().is_some_and(is_ready),
        machine: machine(context, pod.as_deref()),
        is_given_up: node.is_acknowledged_lost(),
        is_leaving: node.spec.replace.requested,
        name,
    }
}

/// The pod of a node.
pub(crate) fn pod(context: &Context, node: &DefsNode) -> Option<Arc<Pod>> {
    let namespace = node.namespace()?;
    context.world.pods.get(&ObjectRef::new(&node.name_any()).within(&namespace))
}

/// Whether the kubelet says that a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

fn machine(context: &Context, pod: Option<&Pod>) -> Machine {
    let name = pod.and_then(|pod| pod.spec.as_ref()?.node_name.as_ref());
    let Some(name) = name else { return Machine::None };
    match context.world.machines.get(&ObjectRef::new(name)) {
        None => Machine::Gone,
        Some(machine) if is_out_of_service(&machine) => Machine::Gone,
        Some(machine) if is_machine_ready(&machine) => Machine::Ready,
        Some(_) => Machine::NotReady,
    }
}

fn is_out_of_service(machine: &KubeNode) -> bool {
    let taints = machine.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| taints.iter().any(|taint| taint.key == OUT_OF_SERVICE))
}

fn is_machine_ready(machine: &KubeNode) -> bool {
    let conditions = machine.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

fn known_pair(pair: &DefsPair, known: &BTreeMap<String, Known>, now: Instant) -> Option<KnownPair> {
    let [one, other] = &pair.spec.members[..] else { return None };
    let members = [one.node_ref.name.clone(), other.node_ref.name.clone()];
    let heard = |name: &String| known.get(name).filter(|it| it.is_heard(now));
    let report = |name: &String| heard(name).and_then(|it| it.report.as_ref());
    let mut held_down = BTreeSet::new();
    for (says, of) in [(&members[0], &members[1]), (&members[1], &members[0])] {
        let health = report(says).map(|report| report.partner_health.as_str());
        if matches!(health, Some("Down" | "Lost")) {
            held_down.insert(of.clone());
        }
    }
    let used = |name: &String| report(name)?.status.as_ref().map(|status| status.used_bytes);
    let held = members.iter().filter_map(used).max().unwrap_or(0);
    let status = pair.status.as_ref();
    let is_changing = status.and_then(|status| status.migration.as_ref()).is_some_and(|it| {
        use defs_crds::pair::status::MigrationPhase;
        !matches!(
            it.phase,
            MigrationPhase::Done | MigrationPhase::Failed | MigrationPhase::Cleaning
        )
    });
    Some(KnownPair {
        name: pair.name_any(),
        members,
        is_paused: pair.spec.paused,
        is_changing,
        held_down,
        held,
    })
}
