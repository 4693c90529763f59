//! Wrong values are refused before anything is installed, with the place where they stand.

use crate::helm::{NEWEST, refusal};

/// What is set, and words that the refusal must have.
const WRONG: &[(&str, &[&str])] = &[
    ("replicas=two", &["replicas"]),
    ("replicas=9", &["replicas"]),
    ("unknown=1", &["unknown"]),
    ("image.unknown=1", &["image", "unknown"]),
    ("image.tag=latest", &["image", "tag"]),
    ("image.repository=ghcr.io/bpfs/defs@sha256:1", &["image", "repository"]),
    ("image.digest=sha256:12", &["image", "digest"]),
    ("image.pullPolicy=Sometimes", &["image", "pullPolicy"]),
    ("imagePullSecrets={a}", &["imagePullSecrets"]),
    ("fullnameOverride=Not_a_name", &["fullnameOverride"]),
    ("watchNamespace=a.b", &["watchNamespace"]),
    ("crds.install=maybe", &["crds", "install"]),
    ("serviceAccount.create=false", &["serviceAccount", "name"]),
    ("admissionPolicies.trustedUsers={a'b}", &["admissionPolicies", "trustedUsers"]),
    ("networkPolicy.apiServer.ports={70000}", &["networkPolicy", "apiServer", "ports"]),
    ("networkPolicy.apiServer.cidrs={everywhere}", &["networkPolicy", "apiServer", "cidrs"]),
    ("metrics.podMonitor.interval=soon", &["metrics", "podMonitor", "interval"]),
    ("telemetry.otlp.endpoint=collector:4317", &["telemetry", "otlp", "endpoint"]),
    ("telemetry.otlp.protocol=thrift", &["telemetry", "otlp", "protocol"]),
    ("telemetry.otlp.sampling=2", &["telemetry", "otlp", "sampling"]),
    ("log.level=verbose", &["log", "level"]),
    ("listenAddress=localhost", &["listenAddress"]),
    ("extraEnv[0].value=x", &["extraEnv", "name"]),
    ("resources.limit.memory=1Gi", &["resources", "limit"]),
    ("test.storageSize=1", &["test", "storageSize"]),
    ("test.timeout=10", &["test", "timeout"]),
];

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (set, words) in WRONG {
        let said = refusal(NEWEST, &["--set", set]);
        assert!(said.contains("schema"), "{set} was refused, but not by the schema: {said}");
        for word in *words {
            assert!(said.contains(word), "{set}: `{word}` is not said: {said}");
        }
    }
}
