//! What is made of kinds that other programs bring, or for callers outside of the cluster.

use defs_crds::DefsCluster;
use defs_crds::cluster::{Announce, IssuerRef};
use defs_crds::names::{STATUS_PORT, label};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::json;

use super::{Names, owned_by, selector};
use crate::error::Error;
use defs_crds::DefsNode;

/// A kind that others bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Foreign {
    group: &'static str,
    kind: &'static str,
}

impl Foreign {
    /// As the API server knows it.
    pub(crate) fn resource(self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(self.group, "v1", self.kind))
    }
}

/// Of the Prometheus operator.
pub(crate) const POD_MONITOR: Foreign =
    Foreign { group: "monitoring.coreos.com", kind: "PodMonitor" };

/// Of cert-manager.
pub(crate) const CERTIFICATE: Foreign = Foreign { group: "cert-manager.io", kind: "Certificate" };

/// The service by which one node is reached, where nodes are reached by services.
pub(crate) fn node_service(
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
) -> Result<Option<Service>, Error> {
    let type_ = match cluster.spec.network.announce {
        Announce::Pod => return Ok(None),
        Announce::Service => "ClusterIP",
        Announce::External => "LoadBalancer",
    };
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: cluster.spec.node.port.into(),
        protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    };
    let name = node.name_any();
    let mut selected = selector(&names.cluster);
    selected.insert(label::NODE.to_owned(), name.clone());
    let spec = ServiceSpec {
        type_: Some(type_.to_owned()),
        selector: Some(selected),
        // Peers find a node before it is ready: that is how it becomes so.
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![port("peers", "TCP"), port("peers-quic", "UDP")]),
        ..ServiceSpec::default()
    };
    let metadata = owned_by(node, Names::node_service(&name), &names.cluster)?;
    Ok(Some(Service { metadata, spec: Some(spec), ..Service::default() }))
}

/// What makes Prometheus' operator scrape the nodes.
pub(crate) fn pod_monitor(cluster: &DefsCluster, names: &Names) -> Result<DynamicObject, Error> {
    let mut monitor = DynamicObject::new(&names.nodes(), &POD_MONITOR.resource());
    monitor.metadata = owned_by(cluster, names.nodes(), &names.cluster)?;
    monitor.data = json!({"spec": {
        "selector": {"matchLabels": selector(&names.cluster)},
        "podTargetLabels": [label::CLUSTER, label::NODE, label::PAIR],
        "podMetricsEndpoints": [{"portNumber": STATUS_PORT, "path": "/metrics"}],
    }});
    Ok(monitor)
}

/// What makes cert-manager issue two certificates: one that all nodes show, and one by which they
/// know the operator. A node can't call another with its own.
pub(crate) fn certificates(
    cluster: &DefsCluster,
    issuer: &IssuerRef,
    names: &Names,
) -> Result<[DynamicObject; 2], Error> {
    let every = names.host("*");
    let for_nodes = [every.clone(), format!("{every}.cluster.local")];
    let for_operator = ["defs-operator".to_owned()];
    let nodes = (names.shared_certificate(), &for_nodes[..], "server auth");
    let operator = (names.caller_certificate(), &for_operator[..], "client auth");
    Ok([certificate(cluster, issuer, nodes)?, certificate(cluster, issuer, operator)?])
}

fn certificate(
    cluster: &DefsCluster,
    issuer: &IssuerRef,
    (name, hosts, usage): (String, &[String], &str),
) -> Result<DynamicObject, Error> {
    let of_cluster = cluster.name_any();
    let mut certificate = DynamicObject::new(&name, &CERTIFICATE.resource());
    certificate.metadata = owned_by(cluster, name.clone(), &of_cluster)?;
    certificate.data = json!({"spec": {
        "secretName": name,
        "dnsNames": hosts,
        "usages": ["digital signature", usage],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "secretTemplate": {"labels": super::labels(&of_cluster)},
        "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
    }});
    Ok(certificate)
}
