//! What a user has a minute after `helm install` and an eight-line DefsCluster.

use anyhow::{Context as _, Result, ensure};
use defs_crds::cluster::status::{ClusterPhase, PairCounts};
use defs_crds::node::status::{NodeState, Role};
use defs_crds::reason::ConditionType;
use defs_crds::{DefsNode, DefsPair};
use defs_e2e_kubernetes::{Network, eventually, is_true, pod_ready, seconds, with_namespace};
use kube::ResourceExt;
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn from_nothing_helm_install_and_a_defscluster_make_six_nodes_ready() -> Result<()> {
    with_namespace("install", async |ns| {
        let installation = ns.world().installation();
        installation.remove().await?;
        let began = Instant::now();
        installation.install().await?;
        ns.figure("helm install", format!("{:.1?}", began.elapsed()))?;
        let applied = Instant::now();
        let network = Network::make(ns, "demo", json!({})).await?;
        eventually("a pod is ready", seconds(90), async || {
            ensure!(network.pods().await?.iter().any(pod_ready), "none of them is");
            Ok(())
        })
        .await?;
        ns.took("apply to the first pod Ready", applied.elapsed(), seconds(60))?;
        network.is_ready(seconds(150)).await?;
        ns.figure("apply to Ready", format!("{:.1?}", applied.elapsed()))?;
        ns.took("helm install to Ready", began.elapsed(), seconds(90))?;
        shows_itself(&network).await
    })
    .await
}

/// What `kubectl get defsclusters,defspairs,defsnodes` shows.
async fn shows_itself(network: &Network<'_>) -> Result<()> {
    let status = network.cluster().await?.status.context("a status")?;
    let pairs = PairCounts { total: 3, healthy: 3, degraded: 0, lost: 0 };
    assert_eq!((status.phase, status.pairs), (Some(ClusterPhase::Ready), pairs));
    assert_eq!((status.replicas, status.ready, status.spares), (6, 6, 0));
    network.is_paired_across_machines().await?;
    eventually("pairs and nodes show all that they have", seconds(90), async || {
        let (pairs, nodes) = (network.pairs().await?, network.nodes().await?);
        pairs.iter().try_for_each(shows_pair)?;
        nodes.iter().try_for_each(shows_node)
    })
    .await
}

fn shows_pair(pair: &DefsPair) -> Result<()> {
    let name = pair.name_any();
    let status = pair.status.as_ref().with_context(|| format!("{name} has no status"))?;
    let has_roles = status.primary.is_some() && status.mirror.is_some();
    ensure!(has_roles && status.epoch.is_some(), "{name} has no roles or no epoch");
    ensure!(status.score.is_some(), "{name} has no score");
    ensure!(is_true(&status.conditions, ConditionType::DomainsDistinct), "{name} is not apart");
    Ok(())
}

fn shows_node(node: &DefsNode) -> Result<()> {
    let name = node.name_any();
    let status = node.status.as_ref().with_context(|| format!("{name} has no status"))?;
    ensure!(status.state == Some(NodeState::Serving), "{name} is {:?}", status.state);
    ensure!(matches!(status.role, Some(Role::Primary | Role::Mirror)), "{name} has no role");
    let zone = status.domain.as_ref().and_then(|domain| domain.zone.as_ref());
    ensure!(zone.is_some() && status.node_name.is_some(), "{name} stands nowhere");
    ensure!(status.score.is_some() && status.peer_id.is_some(), "{name} has no score or no id");
    Ok(())
}

#[tokio::test]
async fn helm_test_puts_gets_and_repairs_an_object() -> Result<()> {
    with_namespace("helm-test", async |ns| {
        let began = Instant::now();
        let said = ns.world().installation().test().await?;
        ns.figure("helm test", format!("{:.1?}", began.elapsed()))?;
        ensure!(said.contains("ok"), "its pod said nothing of what it did: {said}");
        Ok(())
    })
    .await
}
