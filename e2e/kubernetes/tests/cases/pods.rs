//! Pods that end: the other member serves at once, and the pair is whole again soon.

use anyhow::{Context as _, Result, ensure};
use defs_e2e_kubernetes::{Network, Workload, eventually, seconds, with_namespace};
use serde_json::json;
use tokio::time::Instant;

/// Whose pods end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Primary,
    Mirror,
    Both,
}

#[tokio::test]
async fn reads_go_on_while_the_pods_of_a_pair_are_killed() -> Result<()> {
    with_namespace("pods", async |ns| {
        let network = Network::ready(ns, "demo", json!({})).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([20, 3], seconds(90)).await?;
        let pair = network.pairings().await?.first().context("a pair")?.name.clone();
        for killed in [Killed::Primary, Killed::Mirror, Killed::Both] {
            survives(&network, &workload, &pair, killed).await?;
        }
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

async fn survives(
    network: &Network<'_>,
    workload: &Workload,
    pair: &str,
    killed: Killed,
) -> Result<()> {
    let pairing = network.is_healthy(pair, seconds(60)).await?;
    let before = workload.so_far();
    let members = match killed {
        Killed::Primary => vec![&pairing.primary],
        Killed::Mirror => vec![&pairing.mirror],
        Killed::Both => vec![&pairing.primary, &pairing.mirror],
    };
    let began = Instant::now();
    let mut pods = Vec::new();
    for member in members {
        pods.push(network.kill_pod(member).await?);
    }
    for pod in &pods {
        network.is_back(pod).await?;
    }
    let returned = Instant::now();
    let what = format!("{killed:?} killed");
    let namespace = network.namespace();
    namespace
        .figure(&format!("{what}, until the pod is back"), format!("{:.1?}", began.elapsed()))?;
    network.is_healthy(pair, seconds(90)).await?;
    namespace.took(
        &format!("{what}, Healthy after its return"),
        returned.elapsed(),
        seconds(60),
    )?;
    workload.has_written([5, 1], seconds(60)).await?;
    let now = workload.so_far();
    match killed {
        // The other member has everything.
        Killed::Primary | Killed::Mirror => now.no_read_failed_since(&before),
        Killed::Both => now.check(),
    }
}

#[tokio::test]
async fn a_deleted_pod_says_so_first_and_nobody_notices() -> Result<()> {
    with_namespace("handover", async |ns| {
        let network = Network::ready(ns, "demo", json!({})).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([20, 3], seconds(90)).await?;
        let pairing = network.pairings().await?.into_iter().next().context("a pair")?;
        let before = workload.so_far();
        let pod = network.delete_pod(&pairing.primary).await?;
        network.is_back(&pod).await?;
        let after = network.is_healthy(&pairing.name, seconds(90)).await?;
        assert_eq!(after.members(), pairing.members());
        // Decision 16: it says that it goes, and its role waits for it.
        assert_eq!(after.primary, pairing.primary);
        workload.has_written([5, 1], seconds(60)).await?;
        workload.so_far().no_read_failed_since(&before)?;
        // The pair takes nothing new meanwhile, and the others do.
        workload.so_far().no_write_was_refused_since(&before)?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

#[tokio::test]
async fn an_eviction_waits_until_the_last_one_is_back() -> Result<()> {
    with_namespace("evict", async |ns| {
        let network = Network::ready(ns, "demo", json!({})).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([20, 3], seconds(90)).await?;
        let pairings = network.pairings().await?;
        let [first, second, ..] = &pairings[..] else { anyhow::bail!("{pairings:?}") };
        let before = workload.so_far();
        let evicted = eventually("one may be evicted", seconds(30), async || {
            network.evict(&first.primary).await?.context("it was refused")
        })
        .await?;
        let other = network.evict(&second.primary).await?;
        ensure!(other.is_none(), "two were evicted at once");
        network.is_back(&evicted).await?;
        eventually("the next may be evicted", seconds(60), async || {
            network.evict(&second.primary).await?.context("it is still refused")
        })
        .await?;
        network.is_healthy(&second.name, seconds(120)).await?;
        workload.so_far().no_read_failed_since(&before)?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}
