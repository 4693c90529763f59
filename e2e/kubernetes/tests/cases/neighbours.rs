//! Two clusters of the same name in two namespaces.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use defs_client::GetError;
use defs_client::connect::ConnectionError;
use defs_e2e::noise;
use defs_e2e_kubernetes::{Namespace, Network, Owner, with_namespace};
use serde_json::json;

#[tokio::test]
async fn two_clusters_in_two_namespaces_do_not_see_each_other() -> Result<()> {
    with_namespace("here", async |here| {
        let there = here.beside().await?;
        let done = are_apart(here, &there).await;
        let removed = there.remove().await;
        done.and(removed)
    })
    .await
}

async fn are_apart(here: &Namespace, there: &Namespace) -> Result<()> {
    let small = json!({"replicas": 4});
    let one = Network::make(here, "demo", small.clone()).await?;
    let other = Network::ready(there, "demo", small).await?;
    one.is_ready(defs_e2e_kubernetes::seconds(120)).await?;
    let (ours, theirs) = (peers(&one).await?, peers(&other).await?);
    ensure!(ours.len() == 4 && ours.is_disjoint(&theirs), "{ours:?}, {theirs:?}");
    let [mine, stranger] = [Owner::of(&one).await?, Owner::of(&other).await?];
    assert_eq!((mine.pairs_seen().await?, stranger.pairs_seen().await?), (2, 2));
    let bytes = noise(1, 100_000);
    let put = mine.put("ours", bytes.clone()).await?;
    assert_eq!(mine.get("ours").await?, bytes);
    let error = stranger.get_by(put.ticket).await.err().context("the object was read")?;
    let is_foreign = matches!(error.downcast_ref(), Some(GetError::OtherNetwork { .. }));
    ensure!(is_foreign, "{error:#}");
    let error = Owner::who_asks(&one, &other).await.err().context("the other network answered")?;
    let is_foreign = matches!(error.downcast_ref(), Some(ConnectionError::OtherNetworks { .. }));
    ensure!(is_foreign, "{error:#}");
    Ok(())
}

async fn peers(network: &Network<'_>) -> Result<BTreeSet<String>> {
    let nodes = network.nodes().await?;
    Ok(nodes.into_iter().filter_map(|node| node.status?.peer_id).collect())
}
