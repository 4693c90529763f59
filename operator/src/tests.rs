//! The controllers against an API that misbehaves.

pub(crate) mod fake;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::run::{Options, control};
use fake::{CRDS, Call, Fake};

const CLUSTERS: &str = "defs.bpfs.io/v1alpha1/defsclusters";
const NODES: &str = "defs.bpfs.io/v1alpha1/defsnodes";
const PAIRS: &str = "defs.bpfs.io/v1alpha1/defspairs";
const PODS: &str = "v1/pods";
const CLAIMS: &str = "v1/persistentvolumeclaims";
const CONFIG_MAPS: &str = "v1/configmaps";
const SECRETS: &str = "v1/secrets";
const EVENTS: &str = "events.k8s.io/v1/events";

/// An operator, and the API that it works on.
struct Operator {
    api: Fake,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Operator {
    fn start(api: &Fake) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let options = Options::parse_from(["defs-operator", "--repository", "example/defs"]);
        let (client, owner) = (api.client(), (tasks.clone(), stop.clone()));
        let metrics = Arc::new(Metrics::new());
        let counts = Arc::clone(&metrics);
        tasks.spawn(async move {
            control((&client, &counts), &options, (&owner.0, &owner.1)).await.unwrap();
        });
        Self { api: api.clone(), metrics, tasks, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await.unwrap();
        let granted = granted();
        let refused: Vec<_> =
            self.api.calls().into_iter().filter(|call| !granted.contains(call)).collect();
        assert!(refused.is_empty(), "the chart doesn't grant {refused:?}");
    }

    /// Waits for all objects of a cluster of `nodes` nodes.
    async fn makes(&self, nodes: usize) {
        self.api
            .until("each node has a pod and a volume", |api| {
                [NODES, PODS, CLAIMS].iter().all(|it| api.all(it).len() == nodes)
                    && api.all(CONFIG_MAPS).len() == 2
            })
            .await;
    }
}

/// What the chart lets the operator do, as verbs and resources.
fn granted() -> BTreeSet<(&'static str, String)> {
    let texts = [
        include_str!("../../charts/defs/templates/_rules.tpl"),
        include_str!("../../charts/defs/templates/rbac.yaml"),
    ];
    let listed = |line: &'static str, name: &str| {
        let list = line.trim_start_matches([' ', '-']).strip_prefix(name)?;
        let list = list.trim_start_matches([':', ' ', '[']).trim_end_matches(']');
        Some(list.split(", ").map(|it| it.trim_matches('"')).collect::<Vec<_>>())
    };
    let (mut groups, mut resources, mut granted) = (vec![], vec![], BTreeSet::new());
    for line in texts.iter().flat_map(|text| text.lines()) {
        groups = listed(line, "apiGroups").unwrap_or(groups);
        resources = listed(line, "resources:").unwrap_or(resources);
        for verb in listed(line, "verbs").unwrap_or_default() {
            let of_group = |group: &&str| {
                resources.iter().map(|it| format!("{group}/{it}")).collect::<Vec<_>>()
            };
            granted.extend(groups.iter().flat_map(of_group).map(|it| (verb, it)));
        }
    }
    granted
}

fn cluster(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "defs.bpfs.io/v1alpha1",
        "kind": "DefsCluster",
        "metadata": {"name": name, "namespace": "storage", "generation": 1},
        "spec": {"version": "1.2.3", "replicas": replicas, "storage": {"size": "1Gi"}},
    })
}

fn condition(api: &Fake, collection: &str, name: &str, kind: &str) -> Option<(String, String)> {
    let object = api.get(collection, name)?;
    let conditions = object["status"]["conditions"].as_array()?.clone();
    let found = conditions.into_iter().find(|it| it["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("reason"), text("message")))
}

fn has_event(api: &Fake, reason: &str, note: &str) -> bool {
    let says = |it: &Value| {
        it["reason"] == reason && it["note"].as_str().is_some_and(|it| it.contains(note))
    };
    api.all(EVENTS).iter().any(says)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_while_writes_conflict_and_watches_end() {
    let api = Fake::new();
    // Every third write of a status meets another's.
    let mut writes = 0;
    api.refuse(move |call| {
        writes += u32::from(call.resource.ends_with("/status"));
        (call.resource.ends_with("/status") && writes % 3 == 0).then_some((409, "changed"))
    });
    api.put(CLUSTERS, cluster("demo", 4));
    let operator = Operator::start(&api);
    operator.makes(4).await;
    api.drop_watches();
    api.edit(CLUSTERS, "demo", |it| it["spec"]["replicas"] = 6.into());
    operator.makes(6).await;
    api.expire_watches();
    api.edit(CLUSTERS, "demo", |it| it["spec"]["replicas"] = 8.into());
    operator.makes(8).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_gets_each_object_once() {
    let api = Fake::new();
    api.delay(Duration::from_millis(100));
    api.put(CLUSTERS, cluster("demo", 4));
    let operator = Operator::start(&api);
    operator.makes(4).await;
    assert_eq!(api.all(SECRETS).len(), 2 + 4, "invite, authority, and one for each node");
    let metrics = Arc::clone(&operator.metrics);
    operator.stop().await;
    let page = metrics.page();
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| {
            panic!("{name} is not in\n{page}");
        });
        line.trim().parse().unwrap()
    };
    let waits =
        r#"controller_runtime_reconcile_total{controller="defsnode",result="requeue_after"}"#;
    assert!(value(waits) >= 4.0, "{page}");
    for (name, expected) in [
        (r#"controller_runtime_reconcile_errors_total{controller="defsnode"}"#, 0.0),
        (r#"controller_runtime_active_workers{controller="defsnode"}"#, 0.0),
        ("defs_operator_nodes_heard", 0.0),
    ] {
        assert_eq!(value(name).to_bits(), f64::to_bits(expected), "{name}\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_refused_is_told_in_the_servers_words_until_there_is_room() {
    let api = Fake::new();
    let is_pod = |call: &Call| call.verb == "create" && call.resource == PODS;
    api.refuse(move |call| is_pod(call).then_some((403, "exceeded quota: pods=0")));
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    for (collection, name) in [(NODES, "demo-0"), (CLUSTERS, "demo")] {
        api.until("the refusal is told", |api| {
            condition(api, collection, name, "Ready").is_some_and(|(reason, message)| {
                reason == "ApplyRefused" && message.contains("exceeded quota")
            })
        })
        .await;
    }
    api.refuse_nothing();
    operator.makes(2).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_edits_or_deletes_is_put_back_and_told() {
    let api = Fake::new();
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    operator.makes(2).await;
    let invite = api.get(SECRETS, "demo-invite").unwrap();
    let settings = api.get(CONFIG_MAPS, "demo-settings").unwrap()["data"].clone();
    api.until("the first look is over", |api| {
        api.get(CLUSTERS, "demo").is_some_and(|it| it["status"]["observedGeneration"] == 1)
    })
    .await;
    api.edit(CONFIG_MAPS, "demo-settings", |it| it["data"]["node.yaml"] = "port: 1".into());
    api.until("the settings are as before", |api| {
        api.get(CONFIG_MAPS, "demo-settings").is_some_and(|it| it["data"] == settings)
    })
    .await;
    api.until("it is told", |api| has_event(api, "PutBack", "demo-settings")).await;
    api.remove(SECRETS, "demo-invite");
    api.remove(SECRETS, "demo-0-tls");
    api.until("the secrets are back", |api| {
        api.get(SECRETS, "demo-0-tls").is_some()
            && api.get(SECRETS, "demo-invite").is_some_and(|it| it["data"] == invite["data"])
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_key_is_gone_is_never_founded_anew() {
    let api = Fake::new();
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    operator.makes(2).await;
    let network = api.get(CONFIG_MAPS, "demo-network").unwrap()["data"].clone();
    let invite = api.get(SECRETS, "demo-invite").unwrap()["data"].clone();
    operator.stop().await;
    // One of its two places is enough.
    api.remove(SECRETS, "demo-invite");
    let operator = Operator::start(&api);
    api.until("the invite is back", |api| {
        api.get(SECRETS, "demo-invite").is_some_and(|it| it["data"] == invite)
    })
    .await;
    operator.stop().await;
    api.remove(SECRETS, "demo-invite");
    api.remove(SECRETS, "demo-authority");
    let operator = Operator::start(&api);
    api.until("it says what is gone", |api| {
        condition(api, CLUSTERS, "demo", "Ready").is_some_and(|(reason, message)| {
            reason == "SecretMissing" && message.contains("demo-invite")
        })
    })
    .await;
    assert_eq!(api.get(SECRETS, "demo-invite"), None);
    assert_eq!(api.get(CONFIG_MAPS, "demo-network").unwrap()["data"], network);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cant_be_read_keeps_nobody_from_the_others() {
    let api = Fake::new();
    let mut broken = cluster("broken", 2);
    broken["spec"]["replicas"] = "many".into();
    api.put(CLUSTERS, broken);
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    operator.makes(2).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_that_cant_be_say_why_and_take_nothing_from_others() {
    let api = Fake::new();
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    operator.makes(2).await;
    let pair = |name: &str, cluster: &str, members: [&str; 2]| {
        json!({
            "apiVersion": "defs.bpfs.io/v1alpha1",
            "kind": "DefsPair",
            "metadata": {"name": name, "namespace": "storage", "generation": 1},
            "spec": {"clusterRef": {"name": cluster},
                "members": members.map(|it| json!({"nodeRef": {"name": it}}))},
        })
    };
    api.put(PAIRS, pair("nowhere", "other", ["demo-0", "demo-1"]));
    api.put(PAIRS, pair("nobody", "demo", ["demo-0", "demo-7"]));
    for (name, why) in [("nowhere", "no DefsCluster"), ("nobody", "no DefsNode demo-7")] {
        api.until("the objection is told", |api| {
            condition(api, PAIRS, name, "Ready")
                .is_some_and(|(reason, message)| reason == "InvalidSpec" && message.contains(why))
        })
        .await;
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_stay_or_go_with_the_cluster_as_it_says() {
    let api = Fake::new();
    let mut passing = cluster("passing", 2);
    passing["spec"]["storage"]["retention"] = json!({"whenDeleted": "Delete"});
    api.put(CLUSTERS, cluster("demo", 2));
    api.put(CLUSTERS, passing);
    let operator = Operator::start(&api);
    api.until("all volumes are there", |api| api.all(CLAIMS).len() == 4).await;
    api.remove(CLUSTERS, "demo");
    api.remove(CLUSTERS, "passing");
    let left: Vec<_> = api.all(CLAIMS).iter().map(|it| it["metadata"]["name"].clone()).collect();
    assert_eq!(left, ["data-demo-0", "data-demo-1"]);
    assert!(api.get(SECRETS, "demo-invite").is_some(), "without it the volumes are of no use");
    assert_eq!(api.get(SECRETS, "passing-invite"), None);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crds_of_another_version_are_told_and_missing_ones_end_the_operator() {
    let api = Fake::new();
    api.edit(CRDS, "defspairs.defs.bpfs.io", |it| {
        it["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({});
    });
    api.put(CLUSTERS, cluster("demo", 2));
    let operator = Operator::start(&api);
    api.until("it is told", |api| has_event(api, "CrdsDiffer", "DefsPair")).await;
    operator.stop().await;
    api.remove(CRDS, "defsnodes.defs.bpfs.io");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = Options::parse_from(["defs-operator"]);
    let error = control((&api.client(), &Arc::new(Metrics::new())), &options, (&tasks, &stop))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("defsnodes.defs.bpfs.io is not installed"), "{error}");
}
