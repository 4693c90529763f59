//! Loses the pod of a member of the pair that holds the object, and reads the object back until
//! the pod is back and the pair whole.

use anyhow::{Context as _, Result};
use defs_crds::condition::holds;
use defs_crds::pair::status::PairPhase;
use defs_crds::reason::ConditionType;
use defs_crds::{DefsNode, DefsPair};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::super::pair::phase;
use super::Bench;
use super::owner::Owner;
use super::steps::Looked;
use crate::seen::see_objects;

/// The pair that holds the object, with its members as they were before one was lost.
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) primary: String,
    pub(super) mirror: String,
}

/// The DefsPair that holds most of the object.
pub(super) async fn find(bench: &Bench<'_>, owner: &Owner) -> Result<Holder> {
    let id = owner.fullest_pair().await?;
    let seen = see_objects(&bench.access).await?;
    let cluster = seen.one_cluster(Some(&bench.cluster))?;
    let pairs = seen.pairs_of(cluster);
    holder(&pairs, &id).with_context(|| format!("no DefsPair has the id {id} and two members"))
}

fn holder(pairs: &[&DefsPair], id: &str) -> Option<Holder> {
    let has_id = |pair: &&&DefsPair| {
        pair.status.as_ref().is_some_and(|status| status.pair_id.as_deref() == Some(id))
    };
    let pair = pairs.iter().find(has_id)?;
    let status = pair.status.clone()?;
    Some(Holder { name: pair.name_any(), primary: status.primary?, mirror: status.mirror? })
}

/// Deletes the pod of a member; the object must be readable all the while.
pub(super) async fn lose(
    bench: &Bench<'_>,
    owner: &Owner,
    pair: &str,
    (role, node): (&str, &str),
) -> Result<()> {
    let steps = &bench.steps;
    let deleted = format!("pod {node}, {role} of {pair}, deleted");
    let lost = steps.step(deleted, delete_pod(bench, node)).await?;
    steps.step("get at once, equal".to_owned(), owner.read_back()).await?;
    let back = format!("get until {node} is back and {pair} Healthy, always equal");
    let look = async || {
        owner.read_back().await?;
        look(bench, pair, node, &lost).await
    };
    steps.step(back, steps.until(bench.limit, look)).await
}

/// Deletes the pod of a node. Which one it was.
async fn delete_pod(bench: &Bench<'_>, node: &str) -> Result<String> {
    let pod = bench.access.get::<Pod>(&bench.namespace, node).await?;
    let pod = pod.with_context(|| format!("there is no pod {node}"))?;
    let uid = pod.uid().with_context(|| format!("pod {node} has no UID"))?;
    bench.access.delete(&pod).await?;
    Ok(uid)
}

async fn look(bench: &Bench<'_>, pair: &str, node: &str, lost: &str) -> Result<Looked<()>> {
    let pod = bench.access.get::<Pod>(&bench.namespace, node).await?;
    let object = bench.access.get::<DefsNode>(&bench.namespace, node).await?;
    let object = object.with_context(|| format!("there is no DefsNode {node} any more"))?;
    let pair_object = bench.access.get::<DefsPair>(&bench.namespace, pair).await?;
    let pair = pair_object.with_context(|| format!("there is no DefsPair {pair} any more"))?;
    Ok(whole_again(pod.as_ref(), lost, &object, &pair))
}

/// Whether another pod has come in the place of the `lost` one, and all know it. The operator
/// must have seen the new pod: what it wrote before says nothing.
fn whole_again(pod: Option<&Pod>, lost: &str, node: &DefsNode, pair: &DefsPair) -> Looked<()> {
    let name = node.name_any();
    let Some(pod) = pod else { return Looked::Waits(format!("pod {name} is not there yet")) };
    let Some(uid) = pod.uid().filter(|uid| uid != lost) else {
        return Looked::Waits(format!("the old pod {name} ends"));
    };
    if !is_ready(pod) {
        return Looked::Waits(format!("the new pod {name} is not ready yet"));
    }
    let status = node.status.clone().unwrap_or_default();
    if status.pod_uid.as_deref() != Some(uid.as_str()) {
        return Looked::Waits(format!("the operator has not seen the new pod {name} yet"));
    }
    if !holds(&status.conditions, ConditionType::Ready) {
        return Looked::Waits(format!("DefsNode {name} is not Ready yet"));
    }
    if pair.status.as_ref().and_then(|status| status.phase) != Some(PairPhase::Healthy) {
        return Looked::Waits(format!("{} is {}", pair.name_any(), phase(pair)));
    }
    Looked::Done(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    fn pod(uid: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "demo-1", "uid": uid },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    #[test]
    fn it_is_whole_again_when_pod_operator_and_pair_say_so() {
        let node = example::node(1, &json!({}), &json!({ "podUid": "new" }));
        let pair = |phase: &str| example::pair(0, &json!({}), &json!({ "phase": phase }));
        let (healthy, degraded) = (pair("Healthy"), pair("Degraded"));
        let waits = |pod: Option<&Pod>, node: &DefsNode, pair: &DefsPair| match whole_again(
            pod, "old", node, pair,
        ) {
            Looked::Done(()) => String::new(),
            Looked::Waits(waits) => waits,
        };
        let (old, unready, new) = (pod("old", "True"), pod("new", "False"), pod("new", "True"));
        assert_eq!(waits(None, &node, &healthy), "pod demo-1 is not there yet");
        assert_eq!(waits(Some(&old), &node, &healthy), "the old pod demo-1 ends");
        assert_eq!(waits(Some(&unready), &node, &healthy), "the new pod demo-1 is not ready yet");
        let unaware = example::node(1, &json!({}), &json!({ "podUid": "old" }));
        let told = waits(Some(&new), &unaware, &healthy);
        assert_eq!(told, "the operator has not seen the new pod demo-1 yet");
        assert_eq!(waits(Some(&new), &node, &degraded), "demo-pair-0 is Degraded");
        assert_eq!(waits(Some(&new), &node, &healthy), "");
        let unheard = json!({ "podUid": "new", "conditions": [] });
        let unheard = example::node(1, &json!({}), &unheard);
        assert_eq!(waits(Some(&new), &unheard, &healthy), "DefsNode demo-1 is not Ready yet");
    }

    #[test]
    fn the_pair_is_found_by_its_id() {
        let seen = example::healthy();
        let pairs = seen.pairs_of(&seen.clusters[0]);
        let found = holder(&pairs, &"1".repeat(32)).unwrap();
        assert_eq!((found.name.as_str(), found.primary.as_str()), ("demo-pair-1", "demo-2"));
        assert!(holder(&pairs, "7").is_none());
    }
}
