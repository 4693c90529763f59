//! The operator itself fails: what was decided goes on, and what it can't see it leaves alone.

use anyhow::{Context as _, Result, bail, ensure};
use defs_crds::DefsNode;
use defs_crds::cluster::status::ClusterPhase;
use defs_crds::pair::status::MigrationPhase;
use defs_crds::reason::{ConditionType, Reason};
use defs_e2e_kubernetes::{
    Fault, Load, Network, Workload, eventually, seconds, throughout, with_namespace,
};
use kube::ResourceExt;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test]
async fn a_migration_goes_on_when_its_operator_is_killed_at_each_of_its_phases() -> Result<()> {
    with_namespace("phases", async |ns| {
        // Slow enough that the phases can be told apart.
        let slow = json!({
            "replicas": 8, "minSpares": 2,
            "repair": {"maxBandwidth": "1Mi"}, "failover": {"replaceAfter": "2m"},
        });
        let network = Network::ready(ns, "demo", slow).await?;
        let little = Load { most: [100, 10], ..Load::USUAL };
        let workload = Workload::with(&network, little).await?;
        workload.has_written([40, 8], seconds(120)).await?;
        let pairing = network.pairings().await?.into_iter().next().context("a pair")?;
        let leaves = &pairing.mirror;
        let replace = json!({"spec": {"replace": {"requested": true}}});
        ns.patch::<DefsNode>(leaves, &replace).await?;
        let mut phases = goes_on(&network, &pairing.name, leaves).await?;
        ns.figure("asked for, killed at", format!("{phases:?}"))?;
        // Else it takes no place: it was asked to leave.
        let stay = json!({"spec": {"replace": {"requested": false}}});
        ns.patch::<DefsNode>(leaves, &stay).await?;
        phases.extend(is_given_up(&network).await?);
        // The next leader is there when the lease has run out: what is over by then isn't seen.
        for phase in [MigrationPhase::Planned, MigrationPhase::Copying, MigrationPhase::Switching] {
            ensure!(phases.contains(&phase), "no operator was killed at {phase:?}: {phases:?}");
        }
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}

/// A machine is gone and a person gives up what was on it: nobody waits for `replaceAfter`.
async fn is_given_up(network: &Network<'_>) -> Result<Vec<MigrationPhase>> {
    let ns = network.namespace();
    let victim = network.replaceable().await?;
    let (pairing, member) = victim.hit.first().context("a member")?;
    let peer = network.node(member).await?.status.and_then(|status| status.peer_id);
    ns.world().machines().begin(Fault::PowerCut, &victim.machine).await?;
    // Else the next operator might be put there.
    ns.world().machines().is_said_ready(&victim.machine, false).await?;
    let lost = json!({"spec": {"replace": {"acknowledgeLost": peer}}});
    ns.patch::<DefsNode>(member, &lost).await?;
    let phases = goes_on(network, &pairing.name, member).await?;
    ns.figure("given up, killed at", format!("{phases:?}"))?;
    ns.world().machines().end(Fault::PowerCut, &victim.machine).await?;
    Ok(phases)
}

/// Kills the operator whenever the change of `pair` enters another phase. Answers the phases.
async fn goes_on(network: &Network<'_>, pair: &str, leaves: &str) -> Result<Vec<MigrationPhase>> {
    let mut phases = Vec::new();
    let mut id = None;
    let ends = async {
        loop {
            let status = network.pair(pair).await?.status.context("a status")?;
            let is_out = ![&status.primary, &status.mirror].contains(&&Some(leaves.to_owned()));
            match status.migration {
                None if is_out => return Ok(()),
                Some(migration) if !phases.contains(&migration.phase) => {
                    let first = id.get_or_insert_with(|| migration.id.clone());
                    ensure!(*first == migration.id, "another change began: {migration:?}");
                    phases.push(migration.phase);
                    let operator = network.namespace().world().operator();
                    let killed = operator.kill_leader().await?;
                    operator.led(Some(&killed)).await?;
                }
                Some(_) | None => sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    timeout(seconds(240), ends).await.with_context(|| format!("{leaves} is still in {pair}"))??;
    ensure!(!phases.is_empty(), "no change of {pair} was seen");
    let healed = network.is_healthy(pair, seconds(120)).await?;
    ensure!(!healed.members().contains(&leaves), "{leaves} is a member of {healed:?}");
    Ok(phases)
}

#[tokio::test]
async fn an_operator_that_hears_nobody_replaces_nobody_and_says_so() -> Result<()> {
    with_namespace("cut-off", async |ns| {
        let soon = json!({"replicas": 6, "minSpares": 2, "failover": {"replaceAfter": "20s"}});
        let network = Network::ready(ns, "demo", soon).await?;
        let before = network.membership().await?;
        let operator = ns.world().operator();
        operator.cut_off().await?;
        let isolated = [Reason::CutOff, Reason::TooManySilent];
        let began = Instant::now();
        network.says(ConditionType::OperatorIsolated, "True", &isolated, seconds(90)).await?;
        ns.figure("cut off, until it says so", format!("{:.1?}", began.elapsed()))?;
        let phase = network.cluster().await?.status.and_then(|status| status.phase);
        assert_eq!(phase, Some(ClusterPhase::Frozen));
        // Somebody really fails meanwhile: still nobody is replaced.
        let killed = before.values().next().context("a pair")?[0].clone();
        network.kill_pod(&killed).await?;
        let longer = async {
            sleep(seconds(40)).await;
            Ok(())
        };
        throughout("nobody is replaced", longer, async || {
            ensure!(network.membership().await? == before, "somebody was");
            Ok(())
        })
        .await?;
        operator.reconnect().await?;
        network.says(ConditionType::OperatorIsolated, "False", &[], seconds(60)).await?;
        network.is_ready(seconds(90)).await?;
        assert_eq!(network.membership().await?, before);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_other_takes_over() -> Result<()> {
    with_namespace("two", async |ns| {
        let operator = ns.world().operator();
        operator.scale(2).await?;
        let network = Network::ready(ns, "demo", json!({"replicas": 4})).await?;
        let nodes = network.nodes().await?.len();
        let began = Instant::now();
        let killed = operator.kill_leader().await?;
        let leader = operator.led(Some(&killed)).await?;
        ns.took("killed, until the other leads", began.elapsed(), seconds(30))?;
        ensure!(leader.name_any() != killed.name_any(), "nobody took over");
        let pairing = network.pairings().await?.into_iter().next().context("a pair")?;
        let pod = network.kill_pod(&pairing.primary).await?;
        network.is_back(&pod).await?;
        network.is_healthy(&pairing.name, seconds(90)).await?;
        assert_eq!(network.nodes().await?.len(), nodes);
        operator.scale(1).await?;
        operator.led(None).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn an_operator_that_was_away_changes_nothing_and_does_what_is_due() -> Result<()> {
    with_namespace("away", async |ns| {
        let soon = json!({"replicas": 6, "minSpares": 2, "failover": {"replaceAfter": "20s"}});
        let network = Network::ready(ns, "demo", soon).await?;
        let workload = Workload::start(&network).await?;
        workload.has_written([10, 1], seconds(60)).await?;
        let operator = ns.world().operator();
        let victim = network.replaceable().await?;
        operator.scale(0).await?;
        let (pairing, member) = victim.hit.first().context("a member")?;
        ns.world().machines().begin(Fault::PowerCut, &victim.machine).await?;
        ns.world().machines().is_said_ready(&victim.machine, false).await?;
        // Nobody decides meanwhile: nodes are told whom to pair with.
        let kept = network.pairing(&pairing.name).await?;
        assert_eq!(kept.members(), pairing.members());
        workload.so_far().check()?;
        operator.scale(1).await?;
        operator.led(None).await?;
        eventually("the member is replaced", seconds(120), async || {
            let now = network.pairing(&pairing.name).await?;
            if now.members().contains(&member.as_str()) {
                bail!("{now:?}");
            }
            Ok(())
        })
        .await?;
        network.is_healthy(&pairing.name, seconds(120)).await?;
        let history = workload.finish().await?;
        ns.figure("history", history)
    })
    .await
}
