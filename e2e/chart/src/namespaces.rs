//! An operator for one namespace: nothing of it is outside, but the reader of machines.

use serde_json::{Value, json};

use crate::helm::{NAMESPACE, matrix, render};
use crate::objects::{CLUSTER_WIDE, find, kind, name, namespace, of_kind, texts, title};

const WATCHED: &str = "storage";

#[test]
fn every_object_that_belongs_to_a_namespace_says_to_which() {
    for values in matrix() {
        for object in render(&["--values", &values]) {
            let is_wide = CLUSTER_WIDE.contains(&kind(&object));
            assert_eq!(namespace(&object).is_none(), is_wide, "{values}: {}", title(&object));
        }
    }
}

#[test]
fn in_one_namespace_only_the_reader_of_machines_is_outside() {
    let objects = render(&["--values", "charts/defs/ci/namespaced-values.yaml"]);
    let outside: Vec<_> = objects
        .iter()
        .filter(|object| !matches!(namespace(object), Some(NAMESPACE | WATCHED)))
        .map(title)
        .collect();
    let reader = "defs-system-defs-machines";
    let expected = [format!("ClusterRole/{reader}"), format!("ClusterRoleBinding/{reader}")];
    assert_eq!(outside, expected);
    // It only reads.
    for rule in find(&objects, "ClusterRole", reader)["rules"].as_array().unwrap() {
        let verbs = texts(&rule["verbs"]);
        assert!(verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)), "{rule}");
    }
}

#[test]
fn policies_of_one_namespace_hold_in_it_alone() {
    let bindings = |arguments: &[&str]| -> Vec<Value> {
        let objects = render(arguments);
        let bindings = of_kind(&objects, "ValidatingAdmissionPolicyBinding");
        assert_eq!(bindings.len(), 4);
        bindings.into_iter().cloned().collect()
    };
    let only = json!({"namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": WATCHED}}});
    for binding in bindings(&["--values", "charts/defs/ci/namespaced-whole-values.yaml"]) {
        assert_eq!(binding["spec"]["matchResources"], only, "{}", name(&binding));
    }
    for binding in bindings(&[]) {
        assert_eq!(binding["spec"]["matchResources"], Value::Null, "{}", name(&binding));
    }
}

#[test]
fn two_releases_of_one_name_in_two_namespaces_share_no_object() {
    let wide = |namespace: &str| -> Vec<String> {
        let arguments =
            ["--namespace", namespace, "--set", "watchNamespace=x", "--set", "crds.install=false"];
        let objects = render(&arguments);
        let wide = objects.iter().filter(|it| CLUSTER_WIDE.contains(&kind(it)));
        wide.map(title).collect()
    };
    let (one, other) = (wide("one"), wide("other"));
    assert!(!one.is_empty());
    assert!(one.iter().all(|title| !other.contains(title)), "{one:?}");
}

#[test]
fn the_test_makes_its_cluster_where_the_operator_looks() {
    for (arguments, expected) in [
        (&[][..], NAMESPACE),
        (&["--values", "charts/defs/ci/namespaced-values.yaml"][..], WATCHED),
    ] {
        let objects = render(arguments);
        let pod = find(&objects, "Pod", "defs-test");
        assert_eq!(namespace(pod), Some(NAMESPACE), "helm reads its log there");
        let told = format!("--namespace={expected}");
        assert!(texts(&pod["spec"]["containers"][0]["args"]).contains(&told.as_str()));
        for kind in ["Role", "RoleBinding"] {
            assert_eq!(namespace(find(&objects, kind, "defs-test")), Some(expected));
        }
    }
}
