//! Volumes that are lost: a node begins anew and gets everything from its partner.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use defs_crds::names::annotation::ALLOW_DELETION;
use defs_e2e_kubernetes::{Network, Workload, eventually, seconds, with_namespace};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn a_node_that_lost_its_disk_or_its_claim_is_replaced_and_healed() -> Result<()> {
    with_namespace("volumes", async |ns| {
        let network = Network::ready(ns, "demo", spares()).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([40, 6], seconds(90)).await?;
        let pairings = network.pairings().await?;
        let [first, second, ..] = &pairings[..] else { anyhow::bail!("{pairings:?}") };
        loses_its_disk(&network, &first.mirror).await?;
        is_whole(&network, "disk wiped").await?;
        loses_its_claim(&network, &network.pairing(&second.name).await?.primary).await?;
        is_whole(&network, "claim deleted").await?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

/// Times are a tenth of the usual: whoever was told that its epoch is the newest is not replaced
/// for a fifth of `replaceAfter`.
fn spares() -> Value {
    json!({"replicas": 7, "minSpares": 1, "failover": {"replaceAfter": "1m"}})
}

async fn peers(network: &Network<'_>) -> Result<BTreeSet<String>> {
    let nodes = network.nodes().await?;
    Ok(nodes.into_iter().filter_map(|node| node.status?.peer_id).collect())
}

/// The node begins anew, as another one.
async fn loses_its_disk(network: &Network<'_>, node: &str) -> Result<()> {
    let before = network.node(node).await?.status.and_then(|status| status.peer_id);
    let before = before.context("a node with an id")?;
    let volume = network.volume(node).await?;
    network.namespace().world().machines().wipe(&volume).await?;
    let pod = network.kill_pod(node).await?;
    network.is_back(&pod).await?;
    eventually("nobody has the lost node's id", seconds(60), async || {
        ensure!(!peers(network).await?.contains(&before), "{node} is still told to be {before}");
        Ok(())
    })
    .await
}

async fn loses_its_claim(network: &Network<'_>, node: &str) -> Result<()> {
    let ns = network.namespace();
    let name = format!("data-{node}");
    let before = ns.api::<PersistentVolumeClaim>().get(&name).await?.uid();
    let refused = ns.delete::<PersistentVolumeClaim>(&name).await;
    let error = format!("{:#}", refused.err().context("the claim went without a word")?);
    ensure!(error.contains("still needs data-"), "{error}");
    let allowed = json!({"metadata": {"annotations": {ALLOW_DELETION: "true"}}});
    ns.patch::<PersistentVolumeClaim>(&name, &allowed).await?;
    ns.delete::<PersistentVolumeClaim>(&name).await?;
    let pod = network.kill_pod(node).await?;
    eventually("there is another claim", seconds(90), async || {
        let claim = ns.api::<PersistentVolumeClaim>().get(&name).await?;
        ensure!(claim.uid() != before, "it is the deleted one");
        Ok(())
    })
    .await?;
    network.is_back(&pod).await.map(drop)
}

async fn is_whole(network: &Network<'_>, after: &str) -> Result<()> {
    let began = Instant::now();
    for pairing in network.pairings().await? {
        network.is_healthy(&pairing.name, seconds(150)).await?;
    }
    network.is_ready(seconds(60)).await?;
    let took = format!("{:.1?}", began.elapsed());
    network.namespace().figure(&format!("{after}, all redundant after the pod's return"), took)
}
