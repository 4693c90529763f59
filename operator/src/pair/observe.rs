//! What the members of a pair say of it.

use defs_core::ids::NodeId;
use defs_core::network::Labels;
use defs_crds::DefsPair;
use defs_crds::pair::status::{DefsPairStatus, Migration};
use defs_wire::admin as pb;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::agents::AgentKey;
use crate::build::Names;
use crate::cluster::{agent_key, labels, node_id};
use crate::context::Context;

/// A pair, as its members and other nodes say.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    names: Names,
    /// The newest epoch that a node of the cluster knows.
    pub(super) epoch: Option<u64>,
    /// The DefsNodes that are primary and mirror in it.
    pub(super) members: [Option<String>; 2],
    pub(super) witnesses: Vec<String>,
    /// Which of the two the operator hears.
    pub(super) heard: [bool; 2],
    /// Where they stand.
    pub(super) labels: [Option<Labels>; 2],
    /// Members that are not heard, and why.
    pub(super) away: Vec<String>,
    /// Whether a member that is heard still takes over what the other holds.
    is_syncing: bool,
    /// Whether a member says that the other is away.
    pub(super) is_degraded: bool,
    /// Bytes that the fuller one of those holds that are heard.
    pub(super) held: u64,
    /// An id of the newest epoch that is no DefsNode's any more: the node came back without its
    /// data and is another one.
    pub(super) stranger: Option<NodeId>,
    /// Whether other nodes hold the pair to be lost.
    pub(super) is_lost: bool,
}

impl Observed {
    /// Whether a DefsNode is a member, as the node that it is now.
    pub(super) fn has(&self, node: &str) -> bool {
        self.members.iter().any(|it| it.as_deref() == Some(node))
    }

    /// Bytes that the newcomer of `migration` holds by its own word.
    pub(super) fn copied(&self, context: &Context, migration: &Migration) -> u64 {
        let known = context.agents.known(&self.newcomer(migration));
        let said = known.report.as_ref().and_then(|report| report.status.as_ref());
        said.map_or(0, |status| status.used_bytes)
    }

    fn newcomer(&self, migration: &Migration) -> AgentKey {
        agent_key(&self.names, &migration.to)
    }

    /// Whether both are there and hold the same.
    pub(super) fn is_in_sync(&self) -> bool {
        self.heard == [true; 2] && !self.is_syncing && !self.is_degraded
    }
}

pub(super) fn observe(
    context: &Context,
    names: &Names,
    pair: &DefsPair,
    status: &DefsPairStatus,
) -> Observed {
    let nodes = context.world.nodes.state();
    let nodes = nodes.iter().filter(|it| {
        it.namespace().as_deref() == Some(&names.namespace)
            && it.spec.cluster_ref == pair.spec.cluster_ref
    });
    let known: Vec<_> = nodes
        .map(|it| (Clone::clone(it), context.agents.known(&agent_key(names, &it.name_any()))))
        .collect();
    let now = Instant::now();
    let Some(pair_id) = &status.pair_id else { return Observed::default() };
    let heard = known.iter().filter(|(_, known)| known.is_heard(now));
    let reports: Vec<&pb::Report> = heard.filter_map(|(_, it)| it.report.as_deref()).collect();
    let is_this = |it: &&pb::Pair| it.pair_id == *pair_id;
    let views = reports.iter().filter_map(|report| report.pair.as_ref()).filter(is_this);
    let Some(newest) = views.max_by_key(|view| view.epoch) else {
        return unseen(names, pair, &reports, pair_id);
    };
    let name_of = |id: &String| {
        let found = known
            .iter()
            .find(|(node, known)| node_id(node, known).is_some_and(|node| node.full() == *id));
        found.map(|(node, _)| node.name_any())
    };
    let members = [name_of(&newest.primary_id), name_of(&newest.mirror_id)];
    let report_of = |id: &String| {
        reports.iter().find(|it| it.status.as_ref().is_some_and(|said| said.node_id == *id))
    };
    let ids = [&newest.primary_id, &newest.mirror_id];
    let theirs = ids.map(|id| report_of(id).copied());
    let labels = theirs.map(|report| report.and_then(|it| it.card.as_ref()).map(labels));
    let is_syncing = theirs.iter().flatten().any(|report| {
        report.healing.as_ref().is_some_and(|healing| healing.syncing)
            // It has not entered the newest epoch yet.
            || report.pair.as_ref().is_none_or(|it| it.epoch != newest.epoch)
    });
    let is_degraded =
        theirs.iter().flatten().any(|it| !matches!(it.partner_health.as_str(), "Alive" | ""));
    let heard = theirs.map(|it| it.is_some());
    let away = ids.iter().zip(heard).filter(|(_, heard)| !heard).map(|(id, _)| {
        let name = name_of(id).unwrap_or_else(|| (*id).clone());
        let why = context.agents.known(&agent_key(names, &name)).problem;
        format!("{name}: {}", why.unwrap_or_else(|| "not heard".to_owned()))
    });
    let used = theirs.iter().flatten().filter_map(|it| Some(it.status.as_ref()?.used_bytes));
    let is_known = |id: &&&String| name_of(id).is_some();
    let mut strangers = ids.iter().filter(|id| !is_known(id)).filter_map(|id| id.parse().ok());
    Observed {
        names: names.clone(),
        held: used.max().unwrap_or(0),
        stranger: strangers.next(),
        epoch: Some(newest.epoch),
        witnesses: newest.witness_ids.iter().filter_map(name_of).collect(),
        members,
        heard,
        labels,
        away: away.collect(),
        is_syncing,
        is_degraded,
        is_lost: is_lost(&reports, pair_id),
    }
}

/// Nobody of it is heard.
fn unseen(names: &Names, pair: &DefsPair, reports: &[&pb::Report], pair_id: &str) -> Observed {
    let away = pair.spec.members.iter().map(|it| it.node_ref.name.clone()).collect();
    let is_lost = is_lost(reports, pair_id);
    Observed { names: names.clone(), away, is_lost, ..Observed::default() }
}

fn is_lost(reports: &[&pb::Report], pair_id: &str) -> bool {
    let healing = reports.iter().filter_map(|report| report.healing.as_ref());
    healing.flat_map(|it| &it.lost_pairs).any(|lost| lost.pair_id == pair_id)
}
