//! Mistakes that people make: the status says in words what is wrong, nothing is lost, and all
//! is well when the mistake is corrected.

use anyhow::{Context as _, Result, ensure};
use defs_crds::names::annotation::ALLOW_DELETION;
use defs_crds::reason::{ConditionType, Reason};
use defs_e2e::noise;
use defs_e2e_kubernetes::{Namespace, Network, Owner, eventually, seconds, with_namespace};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

/// Both the node and its cluster say why they aren't ready.
async fn says_why(network: &Network<'_>, reasons: &[Reason], words: &str) -> Result<()> {
    let node = format!("{}-0", network.name());
    let not_ready = (ConditionType::Ready, "False");
    let said = network.node_says(&node, not_ready, reasons, seconds(60)).await?;
    ensure!(said.contains(words), "{node}: {said}");
    let said = network.says(ConditionType::Ready, "False", reasons, seconds(60)).await?;
    ensure!(said.contains(words), "{}: {said}", network.name());
    Ok(())
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_and_may_be_corrected() -> Result<()> {
    with_namespace("image", async |ns| {
        let wrong = json!({"replicas": 4, "image": "e2e.local/defs:none"});
        let network = Network::make(ns, "demo", wrong).await?;
        says_why(&network, &[Reason::ImageNotPulled], "e2e.local/defs:none").await?;
        network.change(&json!({"image": ns.world().args().image()})).await?;
        network.is_ready(seconds(150)).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn a_storage_class_that_does_not_exist_is_named_and_may_be_made() -> Result<()> {
    with_namespace("class", async |ns| {
        let class = format!("late-{}", ns.name());
        let spec = json!({"replicas": 4, "storage": {"storageClassName": class}});
        let network = Network::make(ns, "demo", spec).await?;
        says_why(&network, &[Reason::VolumeMissing, Reason::PodUnschedulable], &class).await?;
        let classes = Api::<StorageClass>::all(ns.client());
        classes.create(&PostParams::default(), &like_the_default(&classes, &class).await?).await?;
        let ready = network.is_ready(seconds(150)).await;
        classes.delete(&class, &DeleteParams::default()).await?;
        ready.map(drop)
    })
    .await
}

/// A class of another name that makes the same volumes.
async fn like_the_default(classes: &Api<StorageClass>, name: &str) -> Result<StorageClass> {
    let mut known = classes.list(&ListParams::default()).await?.items;
    let mut class = known.pop().context("the cluster has no storage class")?;
    class.metadata = serde_json::from_value(json!({"name": name}))?;
    Ok(class)
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_named_and_may_be_lifted() -> Result<()> {
    with_namespace("quota", async |ns| {
        let quota = json!({"spec": {"hard": {"pods": "2"}}});
        ns.apply::<ResourceQuota>("small", &quota).await?;
        let network = Network::make(ns, "demo", json!({"replicas": 4})).await?;
        let words = "exceeded quota";
        let refused = [Reason::ApplyRefused];
        eventually("a node says that its pod was refused", seconds(60), async || {
            let nodes = network.nodes().await?;
            let said =
                nodes.into_iter().filter_map(|node| node.status).flat_map(|it| it.conditions);
            let said: Vec<_> = said.map(|it| format!("{}: {}", it.reason, it.message)).collect();
            let is_told = |it: &String| it.starts_with(refused[0].name()) && it.contains(words);
            ensure!(said.iter().any(is_told), "{said:?}");
            Ok(())
        })
        .await?;
        let said = network.says(ConditionType::Ready, "False", &refused, seconds(30)).await?;
        ensure!(said.contains(words), "{said}");
        ns.delete::<ResourceQuota>("small").await?;
        // What is refused is tried again, ever more seldom.
        network.is_ready(seconds(240)).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn what_somebody_edits_or_deletes_by_hand_is_put_back() -> Result<()> {
    with_namespace("by-hand", async |ns| {
        let network = Network::ready(ns, "demo", json!({"replicas": 4})).await?;
        let owner = Owner::of(&network).await?;
        let bytes = noise(3, 300_000);
        owner.put("kept", bytes.clone()).await?;
        settings_come_back(ns).await?;
        for secret in ["demo-invite", "demo-authority", "demo-0-tls"] {
            secret_comes_back(ns, secret).await?;
        }
        network.is_ready(seconds(90)).await?;
        assert_eq!(owner.get("kept").await?, bytes);
        Ok(())
    })
    .await
}

async fn settings_come_back(ns: &Namespace) -> Result<()> {
    let maps = ns.api::<ConfigMap>();
    let before = maps.get("demo-settings").await?.data;
    let edit = json!({"data": {"node.yaml": "port: 1\n", "more": "of it"}});
    ns.patch::<ConfigMap>("demo-settings", &edit).await?;
    eventually("the settings are as they were", seconds(30), async || {
        let now = maps.get("demo-settings").await?.data;
        let setting = |data: &Option<std::collections::BTreeMap<String, String>>| {
            data.as_ref().and_then(|data| data.get("node.yaml").cloned())
        };
        ensure!(setting(&now) == setting(&before), "{now:?}");
        Ok(())
    })
    .await?;
    ns.told("demo", "demo-settings", seconds(30)).await.map(drop)
}

/// What it held is the same, but for a certificate, of which another one is as good.
async fn secret_comes_back(ns: &Namespace, name: &str) -> Result<()> {
    let secrets = ns.api::<Secret>();
    let before = secrets.get(name).await?;
    let guarded = json!({"metadata": {"annotations": {ALLOW_DELETION: "true"}}});
    ns.patch::<Secret>(name, &guarded).await?;
    ns.delete::<Secret>(name).await?;
    // Sooner than the operator looks at everything again.
    eventually(&format!("{name} is back"), seconds(15), async || {
        let now = secrets.get(name).await?;
        let is_certificate = name.ends_with("-tls");
        ensure!(is_certificate || now.data == before.data, "it holds something else");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deleted_invite_never_founds_another_network() -> Result<()> {
    with_namespace("invite", async |ns| {
        let network = Network::ready(ns, "demo", json!({"replicas": 4})).await?;
        let maps = ns.api::<ConfigMap>();
        let before = maps.get("demo-network").await?.data;
        let kept = ns.api::<Secret>().get("demo-invite").await?;
        let operator = ns.world().operator();
        let guarded = json!({"metadata": {"annotations": {ALLOW_DELETION: "true"}}});
        // The authority's secret has it too: with that alone all goes on.
        operator.scale(0).await?;
        ns.patch::<Secret>("demo-invite", &guarded).await?;
        ns.delete::<Secret>("demo-invite").await?;
        operator.scale(1).await?;
        operator.led(None).await?;
        eventually("the invite is back", seconds(60), async || {
            let back = ns.api::<Secret>().get_opt("demo-invite").await?;
            ensure!(back.is_some_and(|it| it.data == kept.data), "it is another one, or none");
            Ok(())
        })
        .await?;
        operator.scale(0).await?;
        for secret in ["demo-invite", "demo-authority"] {
            ns.patch::<Secret>(secret, &guarded).await?;
            ns.delete::<Secret>(secret).await?;
        }
        operator.scale(1).await?;
        operator.led(None).await?;
        let lost = &[Reason::SecretMissing];
        let said = network.says(ConditionType::Ready, "False", lost, seconds(60)).await?;
        ensure!(said.contains("demo-invite"), "{said}");
        assert_eq!(maps.get("demo-network").await?.data, before, "another network was founded");
        // Whoever has a backup of it puts it back.
        let data = json!({"data": kept.data, "metadata": {"labels": kept.metadata.labels}});
        ns.apply::<Secret>("demo-invite", &data).await?;
        // Nodes get certificates of another authority, as soon as their kubelets bring them.
        network.is_ready(seconds(240)).await?;
        assert_eq!(maps.get("demo-network").await?.data, before);
        Ok(())
    })
    .await
}
