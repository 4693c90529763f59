//! Who is paired with whom: nodes that are left over, and pairs that a person makes.

use anyhow::{Context as _, Result, ensure};
use defs_crds::DefsPair;
use defs_crds::node::status::NodeState;
use defs_crds::pair::Origin;
use defs_crds::reason::{ConditionType, Reason};
use defs_e2e_kubernetes::{Network, Owner, eventually, seconds, with_namespace};
use kube::ResourceExt;
use serde_json::{Value, json};

#[tokio::test]
async fn an_odd_node_is_a_spare_until_another_one_comes() -> Result<()> {
    with_namespace("odd", async |ns| {
        let network = Network::ready(ns, "demo", json!({"replicas": 5})).await?;
        let status = network.cluster().await?.status.context("a status")?;
        assert_eq!((status.pairs.healthy, status.spares), (2, 1));
        let spare = network.spares().await?.pop().context("a spare")?;
        let state = network.node(&spare).await?.status.and_then(|status| status.state);
        assert_eq!(state, Some(NodeState::Spare));
        network.change(&json!({"replicas": 6})).await?;
        network.is_ready(seconds(120)).await?;
        let status = network.cluster().await?.status.context("a status")?;
        assert_eq!((status.pairs.healthy, status.spares), (3, 0));
        Ok(())
    })
    .await
}

/// A DefsPair as a person writes it.
pub(crate) fn pinned(cluster: &str, members: [&str; 2]) -> Value {
    let members: Vec<_> = members.iter().map(|it| json!({"nodeRef": {"name": it}})).collect();
    json!({"spec": {"clusterRef": {"name": cluster}, "members": members}})
}

#[tokio::test]
async fn a_pair_that_a_person_makes_is_formed_and_left_alone() -> Result<()> {
    with_namespace("pinned", async |ns| {
        let network = Network::ready(ns, "demo", json!({"replicas": 6, "minSpares": 2})).await?;
        let spares = network.spares().await?;
        let [one, other] = &spares[..] else { anyhow::bail!("{spares:?}") };
        let pair = ns.apply::<DefsPair>("mine", &pinned("demo", [one, other])).await?;
        assert_eq!(pair.spec.origin, Origin::Pinned);
        let pairing = network.is_healthy("mine", seconds(90)).await?;
        let mut wanted = [one.as_str(), other.as_str()];
        wanted.sort_unstable();
        assert_eq!(pairing.members(), wanted);
        ns.told("mine", Reason::Pinned.name(), seconds(30)).await?;
        let owner = Owner::of(&network).await?;
        eventually("clients see three pairs", seconds(30), async || {
            let seen = owner.pairs_seen().await?;
            ensure!(seen == 3, "they see {seen}");
            Ok(())
        })
        .await?;
        network.is_ready(seconds(60)).await.map(drop)
    })
    .await
}

#[tokio::test]
async fn pairs_that_cannot_be_are_refused_in_words_and_harm_nobody() -> Result<()> {
    with_namespace("misfits", async |ns| {
        let network = Network::ready(ns, "demo", json!({"replicas": 5})).await?;
        let before = network.membership().await?;
        let taken = before.values().next().context("a pair")?[0].clone();
        let spare = network.spares().await?.pop().context("a spare")?;
        let small = json!({
            "replicas": 2, "profile": "Dev", "durability": {"tolerate": {"pairs": 0}},
        });
        let other = Network::make(ns, "other", small).await?;
        eventually("the other cluster has nodes", seconds(30), async || {
            ensure!(other.nodes().await?.len() == 2, "not yet");
            Ok(())
        })
        .await?;
        for (name, member, words) in [
            ("taken", taken.as_str(), "already"),
            ("foreign", "other-0", "other-0 is a node of other"),
            ("nobody", "demo-99", "no DefsNode demo-99"),
        ] {
            ns.apply::<DefsPair>(name, &pinned("demo", [&spare, member])).await?;
            let invalid = [Reason::InvalidSpec];
            let said =
                network.pair_says(name, (ConditionType::Ready, "False"), &invalid, seconds(30));
            let said = said.await?;
            ensure!(said.contains(words), "{name}: {said}");
            ns.delete::<DefsPair>(name).await?;
        }
        let twice = ns.apply::<DefsPair>("itself", &pinned("demo", [&spare, &spare])).await;
        let error = format!("{:#}", twice.map(|pair| pair.name_any()).unwrap_err());
        ensure!(error.contains("the two members of a pair must be two nodes"), "{error}");
        assert_eq!(network.membership().await?, before);
        Ok(())
    })
    .await
}
