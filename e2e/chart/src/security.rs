//! The pod security standard `restricted`, and a root file system that nobody writes to.

use serde_json::{Value, json};

use crate::helm::{matrix, render};
use crate::objects::{containers, pods, texts};

/// Volumes that the standard lets pods have.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What the standard has against a pod, and what we have besides.
fn objections(pod: &Value) -> Vec<String> {
    let mut objections = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            objections.push(what);
        }
    };
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        must(pod[shared] != true, format!("{shared} is on"));
    }
    let context = &pod["securityContext"];
    must(context["runAsNonRoot"] == true, "it may run as root".to_owned());
    must(context["sysctls"].is_null(), "it sets sysctls".to_owned());
    let user = context["runAsUser"].as_u64();
    must(user.is_some_and(|user| user > 0), format!("it runs as user {user:?}"));
    let seccomp = &context["seccompProfile"]["type"];
    must(seccomp == "RuntimeDefault", format!("its seccomp profile is {seccomp}"));
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        for kind in kinds {
            must(VOLUMES.contains(&kind.as_str()), format!("it has a volume of kind {kind}"));
        }
    }
    for container in containers(pod) {
        let name = &container["name"];
        let context = &container["securityContext"];
        let escalates = context["allowPrivilegeEscalation"] != false;
        must(!escalates, format!("{name} may gain privileges"));
        must(context["privileged"] != true, format!("{name} is privileged"));
        must(context["readOnlyRootFilesystem"] == true, format!("{name} may write anywhere"));
        must(texts(&context["capabilities"]["drop"]) == ["ALL"], format!("{name} keeps powers"));
        must(context["capabilities"]["add"].is_null(), format!("{name} adds powers"));
        for own in ["runAsNonRoot", "runAsUser", "seccompProfile", "procMount", "seLinuxOptions"] {
            must(context[own].is_null(), format!("{name} has a {own} of its own"));
        }
        let is_open = |port: &Value| !port["hostPort"].is_null();
        let ports = container["ports"].as_array();
        must(!ports.into_iter().flatten().any(is_open), format!("{name} takes a host's port"));
    }
    objections
}

#[test]
fn every_pod_is_restricted() {
    for values in matrix() {
        for (whose, pod) in pods(&render(&["--values", &values])) {
            assert_eq!(objections(pod), [""; 0], "{values}: {whose}");
        }
    }
}

#[test]
fn a_pod_that_asks_for_more_is_noticed() {
    let (_, good) =
        pods(&render(&[])).into_iter().map(|(whose, pod)| (whose, pod.clone())).next().unwrap();
    let changed = |path: &str, value: Value| {
        let mut pod = good.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value;
        objections(&pod).len()
    };
    for (path, value) in [
        ("/hostNetwork", json!(true)),
        ("/securityContext/runAsNonRoot", json!(false)),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/seccompProfile/type", json!("Unconfined")),
        ("/volumes", json!([{"name": "a", "hostPath": {"path": "/"}}])),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/containers/0/securityContext/capabilities/drop", json!([])),
        ("/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"])),
        ("/containers/0/ports", json!([{"containerPort": 1, "hostPort": 1}])),
        ("/initContainers", json!([{"name": "first"}])),
    ] {
        assert!(changed(path, value) > 0, "{path}");
    }
}

#[test]
fn the_token_is_given_to_those_who_ask_and_nobody_else() {
    for object in &render(&[]) {
        if object["kind"] == "ServiceAccount" {
            assert_eq!(object["automountServiceAccountToken"], false);
        }
    }
    for (whose, pod) in pods(&render(&[])) {
        assert_eq!(pod["automountServiceAccountToken"], true, "{whose}");
    }
}

#[test]
fn what_the_test_writes_it_writes_to_a_volume_that_goes_with_it() {
    let objects = render(&[]);
    let pods = pods(&objects);
    let (_, pod) = pods.iter().find(|(whose, _)| whose == "Pod/defs-test").unwrap();
    assert_eq!(pod["volumes"], json!([{"name": "home", "emptyDir": {}}]));
    let mounts = &pod["containers"][0]["volumeMounts"];
    assert_eq!(*mounts, json!([{"name": "home", "mountPath": "/var/lib/defs"}]));
    let environment = json!([
        {"name": "DEFS_HOME", "value": "/var/lib/defs/home"},
        {"name": "TMPDIR", "value": "/var/lib/defs"},
    ]);
    assert_eq!(pod["containers"][0]["env"], environment);
}
