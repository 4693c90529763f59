//! What all nodes of a cluster share: settings, services, the budget for drains, who may reach
//! them.

use std::collections::BTreeMap;

use defs_crds::DefsCluster;
use defs_crds::cluster::Profile;
use defs_crds::names::{FIELD_MANAGER, STATUS_PORT, label, value};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ADMIN_PORT, Names, owned_by, selector};
use crate::error::Error;

/// Nodes that are named to each new one as the first to ask. Any of them leads to all others.
const BOOTSTRAP_NODES: u32 = 3;

/// What all nodes of a cluster share.
pub(crate) struct SharedObjects {
    pub(crate) config_maps: Vec<ConfigMap>,
    pub(crate) services: Vec<Service>,
    /// None where drains are never to be held up.
    pub(crate) budget: Option<PodDisruptionBudget>,
    /// None where everybody may reach the nodes.
    pub(crate) policy: Option<NetworkPolicy>,
}

/// What all nodes of `cluster` share; `network` is the text of its network file.
pub(crate) fn shared_objects(cluster: &DefsCluster, network: &str) -> Result<SharedObjects, Error> {
    let names = Names::of(cluster)?;
    let config_map = |name: String, data: Vec<(&str, String)>| -> Result<ConfigMap, Error> {
        let data = data.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
        let metadata = owned_by(cluster, name, &names.cluster)?;
        Ok(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
    };
    let settings =
        config_map(names.settings(), vec![("node.yaml", node_settings(cluster, &names))])?;
    let client = client_settings(cluster, &names);
    let network = vec![("network", network.to_owned()), ("client.yaml", client)];
    let network = config_map(names.network(), network)?;
    Ok(SharedObjects {
        config_maps: vec![settings, network],
        services: services(cluster, &names)?,
        budget: budget(cluster, &names)?,
        policy: policy(cluster, &names)?,
    })
}

/// As YAML: one `name: "value"` a line.
fn lines(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect()
}

/// The first peers to ask.
fn bootstrap_peers(cluster: &DefsCluster, names: &Names) -> Vec<String> {
    let port = cluster.spec.node.port;
    (0..BOOTSTRAP_NODES.min(cluster.spec.replicas))
        .map(|index| format!("/dns/{}/tcp/{port}", names.host(&names.node(index))))
        .collect()
}

/// The settings that all nodes share, as YAML.
pub(super) fn node_settings(cluster: &DefsCluster, names: &Names) -> String {
    let mut settings = cluster.spec.node_settings();
    let mut peers = bootstrap_peers(cluster, names);
    if let Some(at) = settings.iter().position(|(name, _)| *name == "bootstrapPeers") {
        peers.push(settings.remove(at).1);
    }
    settings.extend([
        ("bootstrapPeers", peers.join(",")),
        ("pairing", "assigned".to_owned()),
        ("adminPort", ADMIN_PORT.to_string()),
        ("tlsDir", super::node::TLS_DIR.to_owned()),
        ("dataDir", super::node::DATA_DIR.to_owned()),
        ("networkFile", format!("{}/network", super::node::NETWORK_DIR)),
    ]);
    settings.sort();
    lines(&settings)
}

fn client_settings(cluster: &DefsCluster, names: &Names) -> String {
    let mut settings = cluster.spec.client_settings();
    settings.push(("bootstrapPeers", bootstrap_peers(cluster, names).join(",")));
    settings.sort();
    lines(&settings)
}

fn services(cluster: &DefsCluster, names: &Names) -> Result<Vec<Service>, Error> {
    let port = |name: &str, port: u16, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    };
    let peers = cluster.spec.node.port;
    let swarm = || vec![port("peers", peers, "TCP"), port("peers-quic", peers, "UDP")];
    let headless = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        // Nodes find each other before they are ready: that is how they become so.
        publish_not_ready_addresses: Some(true),
        selector: Some(selector(&names.cluster)),
        ports: Some(
            swarm()
                .into_iter()
                .chain([port("admin", ADMIN_PORT, "TCP"), port("status", STATUS_PORT, "TCP")])
                .collect(),
        ),
        ..ServiceSpec::default()
    };
    let clients = ServiceSpec {
        selector: Some(selector(&names.cluster)),
        ports: Some(swarm()),
        ..ServiceSpec::default()
    };
    let service = |name: String, spec: ServiceSpec| -> Result<Service, Error> {
        let metadata = owned_by(cluster, name, &names.cluster)?;
        Ok(Service { metadata, spec: Some(spec), ..Service::default() })
    };
    Ok(vec![service(names.nodes(), headless)?, service(names.clients(), clients)?])
}

/// One node at a time may be drained: a pair can do without one member.
fn budget(cluster: &DefsCluster, names: &Names) -> Result<Option<PodDisruptionBudget>, Error> {
    if cluster.spec.profile == Profile::Dev {
        return Ok(None);
    }
    // While nodes are taken away there are more than the spec says.
    let there = cluster.status.as_ref().map_or(0, |status| status.replicas);
    let nodes = cluster.spec.replicas.max(there);
    let least = i32::try_from(nodes.saturating_sub(1)).unwrap_or(i32::MAX);
    let spec = PodDisruptionBudgetSpec {
        // As a number: a share, or how many may be missing, is counted only for the built-in
        // kinds that own pods.
        min_available: Some(IntOrString::Int(least)),
        selector: Some(select(selector(&names.cluster))),
        // What doesn't work any more holds up nobody's drain.
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = owned_by(cluster, names.nodes(), &names.cluster)?;
    Ok(Some(PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }))
}

/// Peers and clients reach the peers' port, the operator the admin port.
fn policy(cluster: &DefsCluster, names: &Names) -> Result<Option<NetworkPolicy>, Error> {
    if !cluster.spec.network.network_policy {
        return Ok(None);
    }
    let port = |port: u16, protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(port.into())),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    };
    let peers = cluster.spec.node.port;
    let operator = BTreeMap::from([
        (label::NAME.to_owned(), value::NAME.to_owned()),
        (label::COMPONENT.to_owned(), "operator".to_owned()),
    ]);
    let operator = NetworkPolicyPeer {
        // Wherever it is installed.
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(select(operator)),
        ..NetworkPolicyPeer::default()
    };
    let ingress = vec![
        NetworkPolicyIngressRule {
            ports: Some(vec![port(peers, "TCP"), port(peers, "UDP"), port(STATUS_PORT, "TCP")]),
            ..NetworkPolicyIngressRule::default()
        },
        NetworkPolicyIngressRule {
            from: Some(vec![operator]),
            ports: Some(vec![port(ADMIN_PORT, "TCP")]),
        },
    ];
    let spec = NetworkPolicySpec {
        pod_selector: Some(select(selector(&names.cluster))),
        ingress: Some(ingress),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ..NetworkPolicySpec::default()
    };
    let mut metadata = owned_by(cluster, names.nodes(), &names.cluster)?;
    metadata.annotations = Some(BTreeMap::from([(
        "kubernetes.io/description".to_owned(),
        format!("Who may reach the nodes of {}; made by {FIELD_MANAGER}.", names.cluster),
    )]));
    Ok(Some(NetworkPolicy { metadata, spec: Some(spec) }))
}

fn select(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
