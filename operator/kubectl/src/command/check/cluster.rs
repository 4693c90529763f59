//! The DefsCluster of a check: made, waited for, removed.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use defs_crds::names::{API_VERSION, label, pod_selector};
use defs_crds::reason::ConditionType;
use defs_crds::{ByteSize, DefsCluster};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use super::super::status;
use super::Bench;
use super::steps::Looked;
use crate::args;
use crate::conditions;
use crate::figures::counted;
use crate::seen::{Seen, see_objects};

/// Who made it: one that was left behind is taken away by the next check.
const MADE_BY: &str = "kubectl-defs";

/// Makes the cluster. One of an earlier check that was cut off goes first.
pub(super) async fn create(bench: &Bench<'_>) -> Result<()> {
    let name = &bench.cluster;
    if let Some(there) = bench.access.get::<DefsCluster>(&bench.namespace, name).await? {
        if there.labels().get(label::MANAGED_BY).map(String::as_str) != Some(MADE_BY) {
            bail!(
                "there is a DefsCluster {name} already: check that one without --create, or choose \
                 another --name"
            );
        }
        bench.steps.note(&format!("DefsCluster {name} of an earlier check is removed first"));
        remove(bench, name).await?;
    }
    bench.access.create(&bench.namespace, &wanted(bench.asked)?).await?;
    Ok(())
}

/// A small cluster that may run anywhere and leaves nothing.
fn wanted(asked: &args::Check) -> Result<DefsCluster> {
    let secrets: Vec<_> = asked.image_pull_secrets.iter().map(|it| json!({ "name": it })).collect();
    let mut spec = json!({
        "profile": "Dev",
        "replicas": asked.nodes,
        "imagePullSecrets": secrets,
        "storage": {
            "size": ByteSize(asked.storage), "retention": { "whenDeleted": "Delete" },
        },
        "topology": { "hard": "None" },
        "durability": { "tolerate": { "pairs": 0 } },
    });
    match &asked.image {
        Some(image) => spec["image"] = json!(image),
        None => spec["version"] = json!(env!("CARGO_PKG_VERSION")),
    }
    if let Some(class) = &asked.storage_class {
        spec["storage"]["storageClassName"] = json!(class);
    }
    let mut cluster: DefsCluster = serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "DefsCluster",
        "metadata": { "name": asked.name }, "spec": spec,
    }))
    .context("failed to describe the DefsCluster")?;
    cluster.metadata.labels =
        Some(BTreeMap::from([(label::MANAGED_BY.to_owned(), MADE_BY.to_owned())]));
    Ok(cluster)
}

/// Waits until the cluster is Ready.
pub(super) async fn ready(bench: &Bench<'_>) -> Result<()> {
    let look = async || Ok(readiness(&see_objects(&bench.access).await?, &bench.cluster));
    bench.steps.until(bench.limit, look).await
}

fn readiness(seen: &Seen, name: &str) -> Looked<()> {
    let Ok(&[cluster]) = seen.clusters_named(Some(name)).as_deref() else {
        return Looked::Waits(format!("there is no DefsCluster {name}"));
    };
    let Some(status) = &cluster.status else {
        return Looked::Waits("no operator has looked at it yet".to_owned());
    };
    let ready = conditions::of(&status.conditions, ConditionType::Ready);
    let is_new = status.observed_generation == cluster.metadata.generation;
    if is_new && ready.is_some_and(|it| it.status == "True") {
        return Looked::Done(());
    }
    // Without ages, and without what the nodes say below: it is told again when something changes.
    let mut parts = vec![format!(
        "{} of {} nodes ready, pairs: {}",
        status.ready,
        cluster.spec.replicas,
        status::pairs(cluster, status)
    )];
    parts.extend(ready.map(|it| format!("{}: {}", it.reason, conditions::sentence(it))));
    parts.extend(status::silent_nodes(seen, cluster));
    Looked::Waits(parts.join("; "))
}

/// Deletes the cluster, and waits until it and its pods are gone.
pub(super) async fn remove(bench: &Bench<'_>, name: &str) -> Result<()> {
    let (access, namespace) = (&bench.access, &bench.namespace);
    if let Some(there) = access.get::<DefsCluster>(namespace, name).await? {
        access.delete(&there).await?;
    }
    let look = async || {
        let there = access.get::<DefsCluster>(namespace, name).await?;
        let pods = access.labelled::<Pod>(namespace, &pod_selector(name)).await?;
        Ok(match (there, pods.len()) {
            (None, 0) => Looked::Done(()),
            (Some(_), 0) => Looked::Waits(format!("DefsCluster {name} is being deleted")),
            (_, pods) => {
                let pods = counted(pods as u64, "pod");
                Looked::Waits(format!("{pods} of DefsCluster {name} still there"))
            }
        })
    };
    bench.steps.until(bench.limit, look).await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};
    use crate::example;

    fn asked(line: &str) -> args::Check {
        let words =
            ["kubectl-defs", "check", "--create"].into_iter().chain(line.split_whitespace());
        let Command::Check(check) = Args::parse_from(words).command else { panic!() };
        check
    }

    #[test]
    fn the_cluster_is_small_runs_anywhere_and_leaves_nothing() {
        let line = "--name x --nodes 6 --image a/b:1 --storage 2Gi --storage-class fast \
                    --image-pull-secret one --image-pull-secret two";
        let cluster = serde_json::to_value(wanted(&asked(line)).unwrap()).unwrap();
        let spec = &cluster["spec"];
        for (pointer, value) in [
            ("/replicas", json!(6)),
            ("/image", json!("a/b:1")),
            ("/profile", json!("Dev")),
            ("/imagePullSecrets", json!([{"name": "one"}, {"name": "two"}])),
            ("/storage/size", json!("2Gi")),
            ("/storage/storageClassName", json!("fast")),
            ("/storage/retention/whenDeleted", json!("Delete")),
            ("/topology/hard", json!("None")),
            ("/durability/tolerate/pairs", json!(0)),
        ] {
            assert_eq!(spec.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(spec.get("version"), None);
        assert_eq!(cluster["metadata"]["labels"][label::MANAGED_BY], MADE_BY);
        let version = wanted(&asked("")).unwrap().spec.version;
        assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn readiness_is_the_operators_word_about_the_newest_spec() {
        let mut seen = example::healthy();
        assert_eq!(readiness(&seen, "demo"), Looked::Done(()));
        assert!(matches!(readiness(&seen, "other"), Looked::Waits(_)));
        seen.clusters[0].metadata.generation = Some(2);
        assert!(matches!(readiness(&seen, "demo"), Looked::Waits(_)));
    }

    #[test]
    fn what_is_waited_for_names_the_nodes_and_their_trouble() {
        let seen = example::without_demo_3();
        let Looked::Waits(waits) = readiness(&seen, "demo") else { panic!("ready") };
        assert_eq!(
            waits,
            "4 of 5 nodes ready, pairs: 1 healthy, 1 degraded; MemberAway: One member of a pair is \
             away; the other serves reads.; demo-3: NodeSuspected: A node didn't \
             answer for a while; its partner serves. no connection"
        );
    }
}
