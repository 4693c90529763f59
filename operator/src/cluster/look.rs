//! What is known of a cluster now: its objects, and what its nodes say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};
use defs_crds::cluster::Weights as WantedWeights;
use defs_crds::names::annotation;
use defs_crds::pair::Origin;
use defs_crds::pair::status::{MigrationPhase, PairPhase};
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
use crate::build::{Names, revision};
use crate::context::Context;
use crate::error::Error;
use crate::pair::objection;
use crate::plan::{Asked, KnownPair, Machine, Member, Orphan};

/// The taint by which somebody declares a machine to be off for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// All that a cluster's decisions rest on.
pub(crate) struct Looked {
    pub(crate) nodes: Vec<Arc<DefsNode>>,
    /// Those that can be: what people made by mistake is left out.
    pub(crate) pairs: Vec<Arc<DefsPair>>,
    /// Names that pairs have, also those that can't be.
    pub(crate) pair_names: BTreeSet<String>,
    pub(crate) known: BTreeMap<String, Known>,
    pub(crate) members: Vec<Member>,
    pub(crate) known_pairs: Vec<KnownPair>,
    /// Pairs of the network that no object stands for.
    pub(crate) orphans: Vec<Orphan>,
    /// What all nodes have measured of each other.
    pub(crate) survey: Survey,
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
    let pair_names = pairs.iter().map(|it| it.name_any()).collect();
    pairs.retain(|it| objection(context, it).is_none());
    let known: BTreeMap<_, _> = nodes
        .iter()
        .map(|it| (it.name_any(), context.agents.known(&agent_key(names, &it.name_any()))))
        .collect();
    let now = Instant::now();
    let survey = survey(&cluster.spec.pairing.weights, &known);
    let member =
        |node: &Arc<DefsNode>| member(context, (cluster, names), node, (&known, now), &survey);
    let members: Vec<_> = nodes.iter().map(member).collect::<Result<_, _>>()?;
    let said = Said::new(&nodes, &known, now);
    let known_pairs: Vec<_> = pairs.iter().filter_map(|pair| said.known_pair(pair)).collect();
    let orphans = said.orphans(&pairs);
    let is_settled = members.iter().all(|it| it.is_heard)
        && nodes.len() == cluster.spec.replicas as usize
        && pairs.len() >= cluster.spec.pairs() as usize
        && known_pairs.iter().all(|it| !it.is_changing() && it.is_healthy)
        && members.iter().all(|it| !it.is_outdated);
    Ok(Looked {
        nodes,
        pairs,
        pair_names,
        known,
        members,
        known_pairs,
        orphans,
        survey,
        is_settled,
    })
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
    for known in known.values() {
        let said = known.report.as_ref().and_then(|report| report.status.as_ref());
        let observer = said.and_then(|status| status.node_id.parse().ok());
        let Some(observer) = observer else { continue };
        observers.hear(observer, known.readings.iter().cloned());
    }
    let nodes = known.values().filter_map(surveyed).collect();
    Survey::new(nodes, observers, weights(wanted))
}

/// Sums of nothing are refused by the schema: then the usual weights count.
pub(crate) fn weights(wanted: &WantedWeights) -> Weights {
    let WantedWeights { geography, capacity, bandwidth, latency, stability, load } = *wanted;
    let given = Given { geography, capacity, bandwidth, latency, stability, load };
    Weights::try_from(given).unwrap_or_default()
}

fn member(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    node: &DefsNode,
    (known, now): (&BTreeMap<String, Known>, Instant),
    survey: &Survey,
) -> Result<Member, Error> {
    let name = node.name_any();
    let unknown = Known::default();
    let known = known.get(&name).unwrap_or(&unknown);
    let id = node_id(node, known);
    let said = card(known);
    let pod = pod(context, node);
    let asked = if node.is_acknowledged_lost() {
        Asked::GivenUp
    } else if node.spec.replace.requested {
        Asked::Leave
    } else if node.spec.index >= cluster.spec.replicas {
        Asked::Shrink
    } else {
        Asked::Stay
    };
    let revision = revision(cluster, node, names, &context.repository)?;
    let is_outdated = pod.as_ref().is_some_and(|pod| {
        pod.metadata.deletion_timestamp.is_none()
            && pod.annotations().get(annotation::REVISION) != Some(&revision)
    });
    Ok(Member {
        node: id,
        labels: said.map(labels).unwrap_or_default(),
        reach: said.map(reach).unwrap_or_default(),
        capacity: said.map_or(0, |card| card.capacity_bytes),
        used: said.map_or(0, |card| card.used_bytes),
        score: id.and_then(|id| survey.score(&id)),
        rated: id.and_then(|id| survey.rated(&id)),
        is_heard: known.is_heard(now),
        silent: context.agents.silence(known, now),
        is_ready: pod.as_deref().is_some_and(is_ready),
        machine: machine(context, pod.as_deref()),
        asked,
        is_outdated,
        name,
    })
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

/// What the nodes that are heard say of pairs.
struct Said<'a> {
    /// DefsNodes by the ids that they have now.
    names: BTreeMap<String, String>,
    /// What those say that are heard, by the names of their DefsNodes.
    reports: BTreeMap<String, &'a pb::Report>,
}

impl<'a> Said<'a> {
    fn new(nodes: &[Arc<DefsNode>], known: &'a BTreeMap<String, Known>, now: Instant) -> Self {
        let unknown = Known::default();
        let id = |node: &Arc<DefsNode>| {
            let name = node.name_any();
            let id = node_id(node, known.get(&name).unwrap_or(&unknown))?;
            Some((id.full(), name))
        };
        let heard = known.iter().filter(|(_, known)| known.is_heard(now));
        let reports = heard.filter_map(|(name, it)| Some((name.clone(), it.report.as_deref()?)));
        Self { names: nodes.iter().filter_map(id).collect(), reports: reports.collect() }
    }

    /// The newest that is said of the pair with this id.
    fn newest(&self, id: &str) -> Option<&'a pb::Pair> {
        let views = self.reports.values().filter_map(|report| report.pair.as_ref());
        views.filter(|view| view.pair_id == id).max_by_key(|view| view.epoch)
    }

    fn known_pair(&self, pair: &DefsPair) -> Option<KnownPair> {
        let [one, other] = &pair.spec.members[..] else { return None };
        let members = [one.node_ref.name.clone(), other.node_ref.name.clone()];
        let status = pair.status.clone().unwrap_or_default();
        let newest = status.pair_id.as_ref().and_then(|id| self.newest(id));
        let mut held_down = BTreeSet::new();
        for (says, of) in [(&members[0], &members[1]), (&members[1], &members[0])] {
            let health = self.reports.get(says).map(|report| report.partner_health.as_str());
            if matches!(health, Some("Down" | "Lost")) {
                held_down.insert(of.clone());
            }
        }
        let used = |name: &String| Some(self.reports.get(name)?.status.as_ref()?.used_bytes);
        let is_under_way = |phase: &MigrationPhase| {
            use MigrationPhase::{Cleaning, Done, Failed};
            !matches!(phase, Done | Failed | Cleaning)
        };
        let migration = status.migration.filter(|it| is_under_way(&it.phase));
        let changed = status.history.first().map(|it| it.at.0.as_second());
        Some(KnownPair {
            name: pair.name_any(),
            id: status.pair_id.as_ref().and_then(|id| id.parse().ok()),
            strangers: newest.map(|it| self.strangers(&members, it)).unwrap_or_default(),
            is_forgotten: status.epoch.is_some() && newest.is_none(),
            primary: status.primary,
            is_paused: pair.spec.paused,
            comes: migration.map(|it| it.to),
            is_pinned: pair.spec.origin == Origin::Pinned,
            is_healthy: status.phase == Some(PairPhase::Healthy),
            held_down,
            held: members.iter().filter_map(used).max().unwrap_or(0),
            changed: changed.and_then(|it| u64::try_from(it).ok()).map(Duration::from_secs),
            members,
        })
    }

    /// Members whose DefsNodes are other nodes now than the pair has: one of the pair's own ids
    /// is nobody's any more.
    fn strangers(&self, members: &[String; 2], newest: &pb::Pair) -> BTreeSet<String> {
        let ids = [&newest.primary_id, &newest.mirror_id];
        if ids.iter().all(|id| self.names.contains_key(*id)) {
            return BTreeSet::new();
        }
        let has_place = |name: &&String| ids.iter().any(|id| self.names.get(*id) == Some(name));
        members.iter().filter(|name| !has_place(name)).cloned().collect()
    }

    /// Pairs of the network that none of `pairs` stands for, as far as their members are free.
    fn orphans(&self, pairs: &[Arc<DefsPair>]) -> Vec<Orphan> {
        let has = |id: &String| {
            pairs
                .iter()
                .any(|it| it.status.as_ref().is_some_and(|it| it.pair_id.as_ref() == Some(id)))
        };
        let taken: BTreeSet<_> =
            pairs.iter().flat_map(|it| &it.spec.members).map(|it| &it.node_ref.name).collect();
        let orphan = |view: &&pb::Pair| {
            let members = [&view.primary_id, &view.mirror_id].map(|id| self.names.get(id));
            let [Some(primary), Some(mirror)] = members else { return None };
            let is_free = !taken.contains(primary) && !taken.contains(mirror);
            let id = view.pair_id.parse().ok().filter(|_| is_free && !has(&view.pair_id))?;
            Some(Orphan { id, members: [primary.clone(), mirror.clone()] })
        };
        let views = self.reports.values().filter_map(|report| report.pair.as_ref());
        let found: BTreeSet<_> = views.filter_map(|view| orphan(&view)).collect();
        found.into_iter().collect()
    }
}
