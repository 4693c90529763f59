//! Machines that lose power, their kubelet or their network.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use defs_crds::node::status::NodeState;
use defs_crds::pair::status::PairPhase;
use defs_e2e_kubernetes::{
    Fault, Namespace, Network, Victim, Workload, eventually, seconds, throughout, with_namespace,
};
use kube::ResourceExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn members_whose_machine_loses_power_are_replaced() -> Result<()> {
    with_namespace("power-cut", async |ns| {
        let spares = json!({"replicas": 8, "minSpares": 2, "failover": {"replaceAfter": "30s"}});
        let network = Network::ready(ns, "demo", spares).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([40, 8], seconds(120)).await?;
        let victim = network.replaceable().await?;
        let machines = ns.world().machines();
        machines.begin(Fault::PowerCut, &victim.machine).await?;
        are_replaced(&network, &victim).await?;
        workload.has_written([5, 1], seconds(60)).await?;
        machines.end(Fault::PowerCut, &victim.machine).await?;
        network.is_ready(seconds(120)).await?;
        come_back_as_spares(&network, &victim).await?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

async fn are_replaced(network: &Network<'_>, victim: &Victim) -> Result<()> {
    let (ns, cut) = (network.namespace(), Instant::now());
    for (pairing, member) in &victim.hit {
        eventually(&format!("a new member for {}", pairing.name), seconds(90), async || {
            let status = network.pair(&pairing.name).await?.status.context("no status")?;
            let is_out = ![&status.primary, &status.mirror].contains(&&Some(member.clone()));
            ensure!(status.migration.is_some() || is_out, "{member} is still a member");
            Ok(())
        })
        .await?;
        let what = format!("power cut, new member of {} chosen", pairing.name);
        ns.took(&what, cut.elapsed(), seconds(45))?;
    }
    for (pairing, member) in &victim.hit {
        let healed = network.is_healthy(&pairing.name, seconds(180)).await?;
        ensure!(!healed.members().contains(&member.as_str()), "{member} is a member of {healed:?}");
        let comes = healed.partner_of(pairing.partner_of(member));
        let held = network.node(comes).await?.status.and_then(|status| status.used_bytes);
        let what = format!("power cut, {} redundant again", pairing.name);
        ns.figure(&what, format!("{:.1?}, {held:?} bytes", cut.elapsed()))?;
    }
    network.is_paired_across_machines().await
}

async fn come_back_as_spares(network: &Network<'_>, victim: &Victim) -> Result<()> {
    for (_, member) in &victim.hit {
        eventually(&format!("{member} is a spare"), seconds(90), async || {
            let state = network.node(member).await?.status.and_then(|status| status.state);
            ensure!(state == Some(NodeState::Spare), "it is {state:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// That nobody is replaced in the time that `work` takes.
async fn as_they_are(network: &Network<'_>, work: impl Future<Output = Result<()>>) -> Result<()> {
    let before = network.membership().await?;
    throughout("nobody is replaced", work, async || {
        let now = network.membership().await?;
        ensure!(now == before, "{now:?} instead of {before:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_is_replaced_for_a_kubelet_that_hangs_while_its_nodes_answer() -> Result<()> {
    with_namespace("frozen", async |ns| {
        let soon = json!({"replicas": 8, "minSpares": 2, "failover": {"replaceAfter": "20s"}});
        let network = Network::ready(ns, "demo", soon).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([20, 3], seconds(90)).await?;
        let victim = network.replaceable().await?;
        let before = workload.so_far();
        as_they_are(&network, hangs(ns, &victim.machine, seconds(30))).await?;
        workload.so_far().no_read_failed_since(&before)?;
        as_they_are(&network, async { network.is_ready(seconds(150)).await.map(drop) }).await?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

/// The kubelet hangs until Kubernetes has noticed, and `longer`.
async fn hangs(ns: &Namespace, machine: &str, longer: Duration) -> Result<()> {
    let machines = ns.world().machines();
    machines.begin(Fault::FrozenKubelet, machine).await?;
    machines.is_said_ready(machine, false).await?;
    sleep(longer).await;
    machines.end(Fault::FrozenKubelet, machine).await?;
    machines.is_said_ready(machine, true).await
}

#[tokio::test]
async fn a_machine_whose_cable_is_cut_is_waited_for() -> Result<()> {
    with_namespace("cable", async |ns| {
        let network = Network::ready(ns, "demo", json!({})).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([20, 3], seconds(90)).await?;
        let victim = network.victim_of_any_kind().await?;
        let machines = ns.world().machines();
        as_they_are(&network, async {
            machines.begin(Fault::CutCable, &victim.machine).await?;
            for (pairing, _) in &victim.hit {
                is_degraded(&network, &pairing.name).await?;
            }
            machines.end(Fault::CutCable, &victim.machine).await?;
            for (pairing, _) in &victim.hit {
                network.is_healthy(&pairing.name, seconds(120)).await?;
            }
            network.is_ready(seconds(60)).await.map(drop)
        })
        .await?;
        workload.has_written([5, 1], seconds(60)).await?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

async fn is_degraded(network: &Network<'_>, pair: &str) -> Result<()> {
    eventually(&format!("{pair} is Degraded"), seconds(60), async || {
        let phase = network.pair(pair).await?.status.and_then(|status| status.phase);
        ensure!(phase == Some(PairPhase::Degraded), "it is {phase:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_stuck_on_a_dead_machine_stays_the_only_one_until_a_person_speaks() -> Result<()> {
    with_namespace("stuck", async |ns| {
        // So long is nobody replaced unless the machine is declared to be gone.
        let late = json!({"replicas": 6, "minSpares": 2, "failover": {"replaceAfter": "5m"}});
        let network = Network::ready(ns, "demo", late).await?;
        let victim = network.replaceable().await?;
        let machines = ns.world().machines();
        let (pairing, member) = victim.hit.first().context("a member")?;
        let stuck = network.pod(member).await?.uid();
        machines.begin(Fault::PowerCut, &victim.machine).await?;
        is_terminating(&network, member).await?;
        throughout("the pod stays the only one", twenty_seconds(), async || {
            let pod = network.pod(member).await?;
            ensure!(pod.uid() == stuck, "there is another one: {:?}", pod.metadata);
            ensure!(
                network.pairing(&pairing.name).await?.members() == pairing.members(),
                "replaced"
            );
            Ok(())
        })
        .await?;
        machines.declare_out_of_service(&victim.machine).await?;
        eventually("the stuck pod is freed", seconds(60), async || {
            let pod = ns.api::<k8s_openapi::api::core::v1::Pod>().get_opt(member).await?;
            ensure!(pod.and_then(|pod| pod.uid()) != stuck, "it is still there");
            Ok(())
        })
        .await?;
        let began = Instant::now();
        let healed = network.is_healthy(&pairing.name, seconds(120)).await?;
        ns.figure("out of service, redundant again", format!("{:.1?}", began.elapsed()))?;
        ensure!(!healed.members().contains(&member.as_str()), "{member} was not replaced");
        machines.end(Fault::PowerCut, &victim.machine).await?;
        machines.declare_in_service(&victim.machine).await?;
        network.is_ready(seconds(150)).await?;
        Ok(())
    })
    .await
}

async fn twenty_seconds() -> Result<()> {
    sleep(seconds(20)).await;
    Ok(())
}

async fn is_terminating(network: &Network<'_>, node: &str) -> Result<()> {
    eventually(&format!("the pod of {node} is Terminating"), seconds(90), async || {
        let pod = network.pod(node).await?;
        ensure!(pod.metadata.deletion_timestamp.is_some(), "it is not yet");
        Ok(())
    })
    .await
}
