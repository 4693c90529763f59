//! A node's pod, volume and certificate.

use std::collections::BTreeMap;
use std::time::SystemTime;

use defs_crds::cluster::{Hard, TlsMode};
use defs_crds::names::{STATUS_PORT, annotation, label, value};
use defs_crds::{DefsCluster, DefsNode};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    ExecAction, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, LocalObjectReference,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource, Pod, PodAffinityTerm, PodAntiAffinity, PodSecurityContext,
    PodSpec, Probe, SeccompProfile, Secret, SecretVolumeSource, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{ADMIN_PORT, Names, labels, owned_by, selector};
use crate::authority::Authority;
use crate::error::Error;

pub(super) const DATA_DIR: &str = "/var/lib/defs";
pub(super) const TLS_DIR: &str = "/etc/defs/tls";
pub(super) const NETWORK_DIR: &str = "/etc/defs/network";
const SETTINGS_DIR: &str = "/etc/defs/settings";

/// Who runs in the pods: nobody of the machine.
const USER: i64 = 65_532;

/// How long a node may take to end what it is doing.
const GRACE_SECONDS: i64 = 30;

/// A node waits to be admitted before it answers probes: so many of these make ten minutes.
const START_PROBES: i32 = 300;
const PROBE_SECONDS: i32 = 2;

/// The annotation of a certificate's secret: from when it is to be made anew, in Unix seconds.
const RENEW_AT: &str = "defs.bpfs.io/renew-at";

/// The domain key of machines.
const HOST_KEY: &str = "kubernetes.io/hostname";

/// The volume of `node`. It outlives the node, and the cluster too unless that says otherwise.
pub(crate) fn claim(
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
) -> Result<PersistentVolumeClaim, Error> {
    let name = node.name_any();
    let storage = &cluster.spec.storage;
    let size = Quantity(storage.size.to_string());
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: storage.storage_class_name.clone(),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    };
    let mut metadata = owned_by(cluster, Names::claim(&name), &names.cluster)?;
    metadata.labels = Some(node_labels(&names.cluster, &name));
    if cluster.spec.keeps_volumes() {
        metadata.owner_references = None;
    }
    if let Some(lost) = node.spec.replace.acknowledge_lost.clone() {
        let lost = BTreeMap::from([(annotation::IN_PLACE_OF.to_owned(), lost)]);
        metadata.annotations = Some(lost);
    }
    Ok(PersistentVolumeClaim { metadata, spec: Some(spec), ..PersistentVolumeClaim::default() })
}

fn node_labels(cluster: &str, node: &str) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert(label::COMPONENT.to_owned(), value::NODE.to_owned());
    labels.insert(label::NODE.to_owned(), node.to_owned());
    labels
}

/// The pod of `node`, as one of `revision`.
pub(crate) fn pod(
    cluster: &DefsCluster,
    node: &DefsNode,
    (image, revision): (&str, &str),
    names: &Names,
) -> Result<Pod, Error> {
    let name = node.name_any();
    let mut metadata = owned_by(node, name.clone(), &names.cluster)?;
    let mut labels = node_labels(&names.cluster, &name);
    let pair = node.status.as_ref().and_then(|status| status.pair.clone());
    if let Some(pair) = &pair {
        labels.insert(label::PAIR.to_owned(), pair.clone());
    }
    metadata.labels = Some(labels);
    let revision = BTreeMap::from([(annotation::REVISION.to_owned(), revision.to_owned())]);
    metadata.annotations = Some(revision);
    let spec = spec(cluster, node, image, names, pair.as_deref());
    Ok(Pod { metadata, spec: Some(spec), ..Pod::default() })
}

/// What the pod of `node` is, as a member of `pair`.
pub(super) fn spec(
    cluster: &DefsCluster,
    node: &DefsNode,
    image: &str,
    names: &Names,
    pair: Option<&str>,
) -> PodSpec {
    let name = node.name_any();
    let scheduling = &cluster.spec.scheduling;
    let pull_secrets = cluster.spec.image_pull_secrets.iter();
    PodSpec {
        hostname: Some(name.clone()),
        subdomain: Some(names.nodes()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security()),
        containers: vec![container(cluster, node, image)],
        volumes: Some(volumes(cluster, names, &name)),
        node_selector: Some(scheduling.node_selector.clone()).filter(|it| !it.is_empty()),
        affinity: affinity(cluster, pair),
        tolerations: Some(scheduling.tolerations.clone()).filter(|it| !it.is_empty()),
        topology_spread_constraints: Some(spread(cluster, &names.cluster)),
        priority_class_name: scheduling.priority_class_name.clone(),
        image_pull_secrets: Some(
            pull_secrets.map(|it| LocalObjectReference { name: it.name.clone() }).collect(),
        )
        .filter(|it: &Vec<_>| !it.is_empty()),
        ..PodSpec::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // Else the node's own key would be opened to its group at each start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn container(cluster: &DefsCluster, node: &DefsNode, image: &str) -> Container {
    let port = |name: &str, port: u16, protocol: &str| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    };
    let peers = cluster.spec.node.port;
    let probe = |path: &str, period: i32, failures: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(STATUS_PORT.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(PROBE_SECONDS),
        ..Probe::default()
    };
    Container {
        name: "node".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(cluster.spec.image_pull_policy.word().to_owned()),
        command: Some(vec!["/usr/bin/defs-node".to_owned()]),
        args: Some(vec!["--config".to_owned(), settings_file()]),
        env: Some(environment(cluster, node)),
        lifecycle: Some(Lifecycle { pre_stop: Some(hand_over()), ..Lifecycle::default() }),
        ports: Some(vec![
            port("peers", peers, "TCP"),
            port("peers-quic", peers, "UDP"),
            port("admin", ADMIN_PORT, "TCP"),
            port("status", STATUS_PORT, "TCP"),
        ]),
        startup_probe: Some(probe("/healthz", PROBE_SECONDS, START_PROBES)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", PROBE_SECONDS, 3)),
        resources: cluster.spec.node.resources.clone(),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("data", DATA_DIR, false),
            mount("settings", SETTINGS_DIR, true),
            mount("network", NETWORK_DIR, true),
            mount("tls", TLS_DIR, true),
        ]),
        ..Container::default()
    }
}

fn settings_file() -> String {
    format!("{SETTINGS_DIR}/node.yaml")
}

/// Before a pod ends, its partner serves and nobody chooses its pair.
fn hand_over() -> LifecycleHandler {
    let command = ["/usr/bin/defs-node", "hand-over", "--config", &settings_file()];
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let exec = Some(ExecAction { command: Some(command) });
    LifecycleHandler { exec, ..LifecycleHandler::default() }
}

fn environment(cluster: &DefsCluster, node: &DefsNode) -> Vec<EnvVar> {
    let mut all = vec![
        from_field("DEFS_HOST", "spec.nodeName"),
        from_field("POD_NAME", "metadata.name"),
        from_field("POD_NAMESPACE", "metadata.namespace"),
    ];
    if let Some(address) = node.status.as_ref().and_then(|it| it.announced.as_ref()) {
        let port = cluster.spec.node.port;
        all.push(value_of("DEFS_ANNOUNCE", format!("{address}/tcp/{port}")));
    }
    if let Some(otlp) = &cluster.spec.observability.otlp {
        let ratio = f64::from(otlp.sampling_percent) / 100.0;
        let resource = format!(
            "service.namespace={},k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),\
             k8s.node.name=$(DEFS_HOST)",
            cluster.name_any()
        );
        all.extend([
            value_of("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint.clone()),
            value_of("OTEL_EXPORTER_OTLP_PROTOCOL", otlp.protocol.word().to_owned()),
            value_of("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
            value_of("OTEL_TRACES_SAMPLER_ARG", ratio.to_string()),
            value_of("OTEL_RESOURCE_ATTRIBUTES", resource),
        ]);
    }
    all
}

fn value_of(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.to_owned(), api_version: None };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only).filter(|it| *it),
        ..VolumeMount::default()
    }
}

fn volumes(cluster: &DefsCluster, names: &Names, node: &str) -> Vec<Volume> {
    let config = |name: &str, map: String| Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: map, ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    };
    vec![
        Volume {
            name: "data".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: Names::claim(node),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        },
        config("settings", names.settings()),
        config("network", names.network()),
        Volume {
            name: "tls".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(tls_secret_name(cluster, names, node)),
                // Nothing else that may be in it is for nodes.
                items: Some(["ca.crt", "tls.crt", "tls.key"].map(file).to_vec()),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
    ]
}

fn file(name: &str) -> KeyToPath {
    KeyToPath { key: name.to_owned(), path: name.to_owned(), mode: None }
}

/// The secret with the certificate that a node shows.
fn tls_secret_name(cluster: &DefsCluster, names: &Names, node: &str) -> String {
    let tls = &cluster.spec.security.tls;
    match tls.mode {
        TlsMode::Internal => Names::certificate(node),
        TlsMode::CertManager => names.shared_certificate(),
        TlsMode::Provided => tls.secret_name.clone().unwrap_or_default(),
    }
}

/// The affinity that the spec says, and that two of a pair never share a machine.
fn affinity(cluster: &DefsCluster, pair: Option<&str>) -> Option<Affinity> {
    let mut affinity = cluster.spec.scheduling.affinity.clone();
    let Some(pair) = pair.filter(|_| cluster.spec.topology.hard != Hard::None) else {
        return affinity;
    };
    let partner = BTreeMap::from([(label::PAIR.to_owned(), pair.to_owned())]);
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(partner),
            ..LabelSelector::default()
        }),
        topology_key: HOST_KEY.to_owned(),
        ..PodAffinityTerm::default()
    };
    let anti = affinity
        .get_or_insert_default()
        .pod_anti_affinity
        .get_or_insert_with(PodAntiAffinity::default);
    anti.required_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
    affinity
}

/// Nodes spread over domains as evenly as may be, so that pairs can be made across them.
fn spread(cluster: &DefsCluster, name: &str) -> Vec<TopologySpreadConstraint> {
    let own = &cluster.spec.scheduling.topology_spread_constraints;
    if !own.is_empty() {
        return own.clone();
    }
    let constraint = |key: &String| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.clone(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(selector(name)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    };
    cluster.spec.topology.domain_keys.iter().map(constraint).collect()
}

/// The secret with a node's certificate. The one that is `kept` stays as it is until it is time,
/// or until it is another authority's.
pub(crate) fn tls_secret(
    node: &DefsNode,
    names: &Names,
    authority: &Authority,
    kept: Option<&Secret>,
    now: SystemTime,
) -> Result<Secret, Error> {
    let name = node.name_any();
    let mut metadata = owned_by(node, Names::certificate(&name), &names.cluster)?;
    if let Some(kept) = kept.filter(|kept| is_fresh(kept, authority, now)) {
        metadata.annotations = renew_at(kept).map(|at| renewing(&at));
        return Ok(Secret {
            metadata,
            data: kept.data.clone(),
            type_: tls_type(),
            ..Secret::default()
        });
    }
    let host = names.host(&name);
    let (issued, renew) =
        authority.node(vec![host.clone(), format!("{host}.cluster.local")], now)?;
    let seconds = renew.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    metadata.annotations = Some(renewing(&seconds.to_string()));
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = BTreeMap::from([
        ("ca.crt".to_owned(), bytes(authority.certificate())),
        ("tls.crt".to_owned(), bytes(&issued.certificate)),
        ("tls.key".to_owned(), bytes(&issued.key)),
    ]);
    Ok(Secret { metadata, data: Some(data), type_: tls_type(), ..Secret::default() })
}

fn tls_type() -> Option<String> {
    Some("kubernetes.io/tls".to_owned())
}

fn renewing(at: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(RENEW_AT.to_owned(), at.to_owned())])
}

fn renew_at(kept: &Secret) -> Option<String> {
    kept.metadata.annotations.as_ref()?.get(RENEW_AT).cloned()
}

fn is_fresh(kept: &Secret, authority: &Authority, now: SystemTime) -> bool {
    let seconds: Option<u64> = renew_at(kept).and_then(|at| at.parse().ok());
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let data = kept.data.clone().unwrap_or_default();
    let is_ours =
        data.get("ca.crt").is_some_and(|kept| kept.0 == authority.certificate().as_bytes());
    let is_whole = ["tls.crt", "tls.key"].iter().all(|name| data.contains_key(*name));
    is_ours && is_whole && seconds.is_some_and(|seconds| now < seconds)
}
