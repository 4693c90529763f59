//! The objects of a cluster, as they should be: pure, from what is wanted and what was looked up.

mod node;
mod outside;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use defs_crds::names::{API_VERSION, FIELD_MANAGER, label, value};
use defs_crds::{DefsCluster, DefsNode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::error::Error;

pub(crate) use node::{claim, pod, tls_secret};
pub(crate) use outside::{CERTIFICATE, POD_MONITOR, certificates, node_service, pod_monitor};
pub(crate) use shared::shared_objects;

/// The port of a node's admin API: the operator's alone.
pub(crate) const ADMIN_PORT: u16 = 8443;

/// Names of a cluster's objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) cluster: String,
}

impl Names {
    pub(crate) fn of(cluster: &DefsCluster) -> Result<Self, Error> {
        let name = cluster.name_any();
        if name.len() > defs_crds::names::CLUSTER_NAME_MAX {
            return Err(Error::LongName(name));
        }
        Ok(Self { namespace: cluster.namespace().ok_or(Error::Nameless)?, cluster: name })
    }

    /// Of a node's DefsNode and pod.
    pub(crate) fn node(&self, index: u32) -> String {
        format!("{}-{index}", self.cluster)
    }

    /// Of a node's volume claim.
    pub(crate) fn claim(node: &str) -> String {
        format!("data-{node}")
    }

    /// Of the service of one node, where nodes are reached by one.
    pub(crate) fn node_service(node: &str) -> String {
        format!("{node}-peers")
    }

    /// Of the certificate that all nodes share, where cert-manager makes it.
    pub(crate) fn shared_certificate(&self) -> String {
        format!("{}-tls", self.cluster)
    }

    /// Of the certificate by which nodes know the operator, where cert-manager makes it.
    pub(crate) fn caller_certificate(&self) -> String {
        format!("{}-operator-tls", self.cluster)
    }

    /// Of the secret with a node's certificate.
    pub(crate) fn certificate(node: &str) -> String {
        format!("{node}-tls")
    }

    /// Of the service that gives each node a name.
    pub(crate) fn nodes(&self) -> String {
        format!("{}-nodes", self.cluster)
    }

    /// Of the service by which clients find some node.
    pub(crate) fn clients(&self) -> String {
        self.cluster.clone()
    }

    /// Of the settings that all nodes share.
    pub(crate) fn settings(&self) -> String {
        format!("{}-settings", self.cluster)
    }

    /// Of the public file that names the network, and the clients' settings.
    pub(crate) fn network(&self) -> String {
        format!("{}-network", self.cluster)
    }

    /// Of the secret with the authority of certificates.
    pub(crate) fn authority(&self) -> String {
        format!("{}-authority", self.cluster)
    }

    /// Of the secret with the key that admits nodes.
    pub(crate) fn invite(&self) -> String {
        format!("{}-invite", self.cluster)
    }

    /// The name of a node within the cluster.
    pub(crate) fn host(&self, node: &str) -> String {
        format!("{node}.{}.{}.svc", self.nodes(), self.namespace)
    }
}

/// Labels of all that belongs to a cluster.
pub(crate) fn labels(cluster: &str) -> BTreeMap<String, String> {
    let pairs = [
        (label::NAME, value::NAME),
        (label::INSTANCE, cluster),
        (label::PART_OF, value::NAME),
        (label::MANAGED_BY, FIELD_MANAGER),
        (label::CLUSTER, cluster),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Labels that select the pods of a cluster's nodes.
pub(crate) fn selector(cluster: &str) -> BTreeMap<String, String> {
    [(label::CLUSTER, cluster), (label::COMPONENT, value::NODE)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// An object that goes with `owner`.
pub(crate) fn owned_by<K: Resource<DynamicType = ()>>(
    owner: &K,
    name: String,
    cluster: &str,
) -> Result<ObjectMeta, Error> {
    let uid = owner.meta().uid.clone().ok_or(Error::Nameless)?;
    let owner_reference = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().ok_or(Error::Nameless)?,
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Ok(ObjectMeta {
        name: Some(name),
        namespace: owner.meta().namespace.clone(),
        labels: Some(labels(cluster)),
        owner_references: Some(vec![owner_reference]),
        ..ObjectMeta::default()
    })
}

/// The DefsNode of this number.
pub(crate) fn defs_node(cluster: &DefsCluster, index: u32) -> Result<DefsNode, Error> {
    let names = Names::of(cluster)?;
    let spec = defs_crds::DefsNodeSpec {
        cluster_ref: defs_crds::Reference::to(&names.cluster),
        index,
        replace: defs_crds::node::Replace::default(),
    };
    let mut node = DefsNode::new(&names.node(index), spec);
    node.metadata = owned_by(cluster, names.node(index), &names.cluster)?;
    Ok(node)
}

/// The image of the nodes; `repository` is where those of a version are.
pub(crate) fn image(cluster: &DefsCluster, repository: &str) -> String {
    let version = cluster.spec.version.clone().unwrap_or_default();
    cluster.spec.image.clone().unwrap_or_else(|| format!("{repository}:{version}"))
}

/// What a node's pod is made of now, in one word: the pair that it is in counts for nothing.
pub(crate) fn revision(
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
    repository: &str,
) -> Result<String, Error> {
    let pod = node::spec(cluster, node, &image(cluster, repository), names, None);
    let whole = serde_json::to_vec(&(pod, shared::node_settings(cluster, names)))?;
    Ok(blake3::hash(&whole).to_hex()[..REVISION_LETTERS].to_owned())
}

/// Enough to tell revisions of one pod apart.
const REVISION_LETTERS: usize = 16;
