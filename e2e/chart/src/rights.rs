//! What the operator and the test may do: each right has a reason in code, and there is no other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{matrix, render, text};
use crate::objects::{find, kind, name, namespace, of_kind, texts, title};

/// A right, and what needs it.
struct Right {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Right {
    Right { group, resource, verbs, why }
}

const DEFS: &str = defs_crds::names::GROUP;

/// All of an object's life. Server-side apply is `patch`, and `create` when it is new.
const KEEP: &[&str] = &["list", "watch", "create", "patch", "delete"];
/// What is also read at the server itself, and goes with its owner only.
const READ_AND_KEEP: &[&str] = &["get", "list", "watch", "create", "patch"];
/// Of kinds that may not be installed: no watch.
const APPLY: &[&str] = &["get", "create", "patch"];

/// In the namespaces that are looked after.
const OPERATOR: &[Right] = &[
    right(DEFS, "defsclusters", &["list", "watch"], "stores.rs"),
    right(DEFS, "defsnodes", KEEP, "one for each replica; fewer when scaled down"),
    right(DEFS, "defspairs", KEEP, "pairs that the planner forms and dissolves"),
    right(DEFS, "defsclusters/status", &["patch"], "cluster/tell.rs"),
    right(DEFS, "defsnodes/status", &["patch"], "node.rs"),
    right(DEFS, "defspairs/status", &["patch"], "pair.rs; cluster/decide.rs"),
    right(DEFS, "defsclusters/finalizers", &["update"], "blockOwnerDeletion in build.rs"),
    right(DEFS, "defsnodes/finalizers", &["update"], "blockOwnerDeletion in build.rs"),
    right("", "pods", KEEP, "made, labelled with their pair, removed when they have ended"),
    right("", "persistentvolumeclaims", KEEP, "made, grown, removed if so asked"),
    right("", "services", KEEP, "names of nodes, ways in; none of their own if not asked for"),
    right("", "configmaps", READ_AND_KEEP, "settings; the network's file, in cluster/keys.rs"),
    right("", "secrets", READ_AND_KEEP, "keys and certificates, in cluster/keys.rs"),
    right("policy", "poddisruptionbudgets", KEEP, "none with profile Dev"),
    right("networking.k8s.io", "networkpolicies", KEEP, "none if so asked"),
    right("events.k8s.io", "events", &["create", "patch"], "context.rs; patch counts repetitions"),
];

/// What belongs to no namespace.
const CLUSTER_WIDE: &[Right] = &[
    right("", "nodes", &["list", "watch"], "labels of zone and region; readiness"),
    right("apiextensions.k8s.io", CRDS, &["get"], "whether they are those of this operator"),
];

const CRDS: &str = "customresourcedefinitions:defsclusters.defs.bpfs.io,defsnodes.defs.bpfs.io,defspairs.defs.bpfs.io";

const LEASE: &[Right] = &[
    right("coordination.k8s.io", "leases", &["create"], "it can't be named before it is there"),
    right("coordination.k8s.io", "leases:defs-operator", &["get", "patch"], "the leader's"),
];

const POD_MONITORS: &[Right] =
    &[right("monitoring.coreos.com", "podmonitors", APPLY, "observability.prometheus")];

const CERTIFICATES: &[Right] =
    &[right("cert-manager.io", "certificates", APPLY, "security.tls.mode CertManager")];

/// Of `helm test`: operator/kubectl/src/command/check.
const TEST: &[Right] = &[
    right(DEFS, "defsclusters", &["get", "list", "create", "delete"], "its own, in cluster.rs"),
    right(DEFS, "defsnodes", &["get", "list"], "which pod is whose, in lose.rs"),
    right(DEFS, "defspairs", &["get", "list"], "which pair holds the object, and how it is"),
    right("", "configmaps", &["get"], "the network's file and the client's settings, in owner.rs"),
    right("", "pods", &["get", "list", "delete"], "loses those that hold the object, in lose.rs"),
    right("", "events", &["list"], "what a failed step says"),
];

/// `group/resource verb` of each right.
fn expected(tables: &[&[Right]]) -> BTreeSet<String> {
    let rights = tables.iter().flat_map(|table| table.iter());
    let one = |right: &Right| {
        assert!(!right.why.is_empty());
        let place = format!("{}/{}", right.group, right.resource);
        right.verbs.iter().map(move |verb| format!("{place} {verb}")).collect::<Vec<_>>()
    };
    rights.flat_map(one).collect()
}

/// The same of a role.
fn granted(role: &Value) -> BTreeSet<String> {
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = texts(&rule["resourceNames"]);
        let named = if names.is_empty() { String::new() } else { format!(":{}", names.join(",")) };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let right = format!("{group}/{resource}{named} {verb}");
                    assert!(granted.insert(right.clone()), "{right} is said twice");
                }
            }
        }
    }
    granted
}

#[test]
fn the_operator_has_the_rights_of_the_table_and_no_others() {
    let objects = render(&[]);
    let role = find(&objects, "ClusterRole", "defs-system-defs-operator");
    assert_eq!(granted(role), expected(&[OPERATOR]));
    let machines = find(&objects, "ClusterRole", "defs-system-defs-machines");
    assert_eq!(granted(machines), expected(&[CLUSTER_WIDE]));
    let lease = find(&objects, "Role", "defs-operator-lease");
    assert_eq!(granted(lease), expected(&[LEASE]));
}

#[test]
fn in_one_namespace_the_operator_has_the_same_rights_there_and_nowhere_else() {
    let objects = render(&["--set", "watchNamespace=storage"]);
    let role = find(&objects, "Role", "defs-operator");
    assert_eq!(namespace(role), Some("storage"));
    assert_eq!(granted(role), expected(&[OPERATOR]));
    let wide: Vec<_> = of_kind(&objects, "ClusterRole").into_iter().map(name).collect();
    assert_eq!(wide, ["defs-system-defs-machines"]);
}

#[test]
fn rights_to_the_kinds_of_others_come_by_a_switch() {
    let all = ["--set", "operator.podMonitors=true", "--set", "certManager.enabled=true"];
    for (arguments, more) in [(&all[..2], POD_MONITORS), (&all[2..], CERTIFICATES)] {
        let objects = render(arguments);
        let role = find(&objects, "ClusterRole", "defs-system-defs-operator");
        assert_eq!(granted(role), expected(&[OPERATOR, more]), "{arguments:?}");
    }
}

#[test]
fn the_test_has_the_rights_of_its_table_and_no_others() {
    let objects = render(&[]);
    assert_eq!(granted(find(&objects, "Role", "defs-test")), expected(&[TEST]));
}

#[test]
fn what_belongs_to_the_test_is_there_only_as_long_as_it_runs() {
    let mut hooks = 0;
    for object in render(&[]).iter().filter(|object| name(object) == "defs-test") {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "test", "{}", title(object));
        let deleted = &annotations["helm.sh/hook-delete-policy"];
        assert_eq!(deleted, "before-hook-creation,hook-succeeded", "{}", title(object));
        hooks += 1;
    }
    assert_eq!(hooks, 4, "account, role, binding, pod");
}

#[test]
fn no_right_is_for_everything() {
    for values in matrix() {
        let objects = render(&["--values", &values]);
        for role in objects.iter().filter(|it| matches!(kind(it), "Role" | "ClusterRole")) {
            let rules = role["rules"].to_string();
            assert!(!rules.contains('*'), "{values}: {}: {rules}", title(role));
        }
    }
}

#[test]
fn every_binding_gives_a_role_that_is_there_to_an_account_that_is_used() {
    for values in matrix() {
        let objects = render(&["--values", &values]);
        let is_binding =
            |object: &&Value| matches!(kind(object), "RoleBinding" | "ClusterRoleBinding");
        for binding in objects.iter().filter(is_binding) {
            let role = &binding["roleRef"];
            let role =
                find(&objects, role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
            assert_eq!(namespace(role), namespace(binding), "{}", title(binding));
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1);
            let account = &subjects[0]["name"];
            let runs =
                |path: &str| objects.iter().any(|object| object.pointer(path) == Some(account));
            let is_used =
                runs("/spec/serviceAccountName") || runs("/spec/template/spec/serviceAccountName");
            assert!(is_used, "{values}: {} is for nobody", title(binding));
            assert_eq!(subjects[0]["namespace"], "defs-system");
        }
    }
}

#[test]
fn without_the_switch_no_role_is_made_but_the_tests() {
    let objects = render(&["--set", "rbac.create=false"]);
    let roles = objects.iter().filter(|it| matches!(kind(it), "Role" | "ClusterRole"));
    assert_eq!(roles.map(title).collect::<Vec<_>>(), ["Role/defs-test"]);
}

/// What the operator's watches call a kind, and what RBAC calls it.
const WATCHED: &[(&str, &str)] = &[
    ("DefsCluster", "defs.bpfs.io/defsclusters"),
    ("DefsNode", "defs.bpfs.io/defsnodes"),
    ("DefsPair", "defs.bpfs.io/defspairs"),
    ("Pod", "/pods"),
    ("PersistentVolumeClaim", "/persistentvolumeclaims"),
    ("Secret", "/secrets"),
    ("ConfigMap", "/configmaps"),
    ("Service", "/services"),
    ("PodDisruptionBudget", "policy/poddisruptionbudgets"),
    ("NetworkPolicy", "networking.k8s.io/networkpolicies"),
    ("Machine", "/nodes"),
];

#[test]
fn every_kind_that_the_operator_watches_it_may_watch() {
    let stores = text("operator/src/stores.rs");
    let fields = stores.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) "));
    let kinds: BTreeSet<_> =
        fields.filter_map(|field| field.split_once(": Watched<")?.1.strip_suffix(">,")).collect();
    let known: BTreeSet<_> = WATCHED.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, known, "operator/src/stores.rs watches other kinds than the table has");
    let granted = expected(&[OPERATOR, CLUSTER_WIDE]);
    for (kind, resource) in WATCHED {
        for verb in ["list", "watch"] {
            assert!(granted.contains(&format!("{resource} {verb}")), "{kind}: {verb}");
        }
    }
}
