//! All that the objects say: what every command reads before it tells a part of it.

use defs_crds::{DefsCluster, DefsNode, DefsPair};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::access::{Access, Scope};
use crate::api::ApiError;
use crate::figures;
use crate::leader::{self, Leader};

/// What there is.
#[derive(Debug)]
pub(crate) struct Seen {
    /// When it was read.
    pub(crate) now: Timestamp,
    /// Where.
    pub(crate) scope: Scope,
    pub(crate) leader: Leader,
    pub(crate) clusters: Vec<DefsCluster>,
    pub(crate) nodes: Vec<DefsNode>,
    pub(crate) pairs: Vec<DefsPair>,
    /// Objects that this program can't read, and why.
    pub(crate) unreadable: Vec<String>,
}

/// Reads the objects of the scope, and whether an operator leads.
pub(crate) async fn see(access: &Access) -> Result<Seen, ApiError> {
    let mut seen = see_objects(access).await?;
    seen.leader = leader::find(access, seen.now).await?;
    Ok(seen)
}

/// Reads the objects of the scope alone.
pub(crate) async fn see_objects(access: &Access) -> Result<Seen, ApiError> {
    let scope = &access.scope;
    let clusters = access.list::<DefsCluster>(scope, None).await?;
    let nodes = access.list::<DefsNode>(scope, None).await?;
    let pairs = access.list::<DefsPair>(scope, None).await?;
    let unreadable = [clusters.unreadable, nodes.unreadable, pairs.unreadable].concat();
    Ok(Seen {
        now: figures::now(),
        scope: scope.clone(),
        leader: Leader::Hidden { why: "nobody looked".to_owned() },
        clusters: clusters.objects,
        nodes: nodes.objects,
        pairs: pairs.objects,
        unreadable,
    })
}

impl Seen {
    /// The nodes of a cluster, by their number.
    pub(crate) fn nodes_of(&self, cluster: &DefsCluster) -> Vec<&DefsNode> {
        let is_its = |it: &&DefsNode| {
            it.namespace() == cluster.namespace() && it.spec.cluster_ref.name == cluster.name_any()
        };
        let mut nodes: Vec<_> = self.nodes.iter().filter(is_its).collect();
        nodes.sort_by_key(|it| it.spec.index);
        nodes
    }

    /// The pairs of a cluster, by their number.
    pub(crate) fn pairs_of(&self, cluster: &DefsCluster) -> Vec<&DefsPair> {
        let is_its = |it: &&DefsPair| {
            it.namespace() == cluster.namespace() && it.spec.cluster_ref.name == cluster.name_any()
        };
        let mut pairs: Vec<_> = self.pairs.iter().filter(is_its).collect();
        // `demo-pair-10` comes behind `demo-pair-9`.
        pairs.sort_by_key(|it| (it.name_any().len(), it.name_any()));
        pairs
    }

    /// A node that a pair or a cluster beside it names.
    pub(crate) fn node(&self, namespace: Option<&str>, name: &str) -> Option<&DefsNode> {
        let is_it =
            |it: &&DefsNode| it.name_any() == name && it.namespace().as_deref() == namespace;
        self.nodes.iter().find(is_it)
    }

    /// The cluster that a node or a pair beside it names.
    pub(crate) fn cluster(&self, namespace: Option<&str>, name: &str) -> Option<&DefsCluster> {
        let is_it =
            |it: &&DefsCluster| it.name_any() == name && it.namespace().as_deref() == namespace;
        self.clusters.iter().find(is_it)
    }

    /// The pair that a node is a member of, or is about to be.
    pub(crate) fn pair_with(&self, node: &DefsNode) -> Option<&DefsPair> {
        let its = |it: &&DefsPair| {
            it.namespace() == node.namespace()
                && it.spec.cluster_ref == node.spec.cluster_ref
                && members(it).contains(&node.name_any())
        };
        self.pairs.iter().find(its)
    }
}

/// The DefsNodes of a pair, the primary first; as the object wants them where nobody has said
/// yet how it is. Who is about to come is the last.
pub(crate) fn members(pair: &DefsPair) -> Vec<String> {
    let status = pair.status.as_ref();
    let known = status.iter().flat_map(|it| [&it.primary, &it.mirror]).flatten().cloned();
    let wanted = pair.spec.members.iter().map(|it| it.node_ref.name.clone());
    let migration = status.and_then(|it| it.migration.as_ref());
    let coming = migration.filter(|it| crate::migration::is_under_way(it)).map(|it| it.to.clone());
    let mut members: Vec<String> = Vec::new();
    for name in known.chain(wanted).chain(coming) {
        if !members.contains(&name) {
            members.push(name);
        }
    }
    members
}
