//! A DefsCluster under test: made as a user makes one, and looked at as a user looks at it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use defs_crds::names::label;
use defs_crds::pair::status::{PairPhase, SyncState};
use defs_crds::reason::{ConditionType, Reason};
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::choice::{self, Victim};
use crate::wait::{eventually, seconds};
use crate::{Namespace, merged};

/// A new network may take so long: pods, admission, pairs.
const READY_WITHIN: Duration = seconds(150);

/// A pod that was killed is back within this time.
const BACK_WITHIN: Duration = seconds(90);

/// A network of storage nodes in a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    namespace: &'a Namespace,
    name: &'a str,
}

/// The members of a pair, by their DefsNodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// The DefsPair.
    pub name: String,
    /// Who takes writes.
    pub primary: String,
    /// Who holds the same.
    pub mirror: String,
    /// The version of this membership.
    pub epoch: u64,
}

impl Pairing {
    fn of(pair: &DefsPair) -> Option<Self> {
        let status = pair.status.as_ref()?;
        let (primary, mirror) = (status.primary.clone()?, status.mirror.clone()?);
        Some(Self { name: pair.name_any(), primary, mirror, epoch: status.epoch? })
    }

    /// Both, in no order.
    #[must_use]
    pub fn members(&self) -> [&str; 2] {
        let mut members = [self.primary.as_str(), self.mirror.as_str()];
        members.sort_unstable();
        members
    }

    /// The other member.
    #[must_use]
    pub fn partner_of(&self, member: &str) -> &str {
        if self.primary == member { &self.mirror } else { &self.primary }
    }
}

impl<'a> Network<'a> {
    /// Makes a network; `over` says in what it differs from six nodes of a gibibyte.
    pub async fn make(namespace: &'a Namespace, name: &'a str, over: Value) -> Result<Self> {
        let spec = Self::spec(namespace, over);
        let network = Self { namespace, name };
        namespace.apply::<DefsCluster>(name, &json!({"spec": spec})).await?;
        Ok(network)
    }

    /// Makes a network, and waits until it is Ready.
    pub async fn ready(namespace: &'a Namespace, name: &'a str, over: Value) -> Result<Self> {
        let network = Self::make(namespace, name, over).await?;
        network.is_ready(READY_WITHIN).await?;
        Ok(network)
    }

    /// The spec of [`Network::make`].
    #[must_use]
    pub fn spec(namespace: &Namespace, over: Value) -> Value {
        let base = json!({
            "image": namespace.world().args().image(),
            "replicas": 6,
            "storage": {"size": "1Gi"},
        });
        merged(base, over)
    }

    /// The network of this name, which somebody made.
    #[must_use]
    pub fn named(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name }
    }

    /// The name of its DefsCluster.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Where it is.
    #[must_use]
    pub fn namespace(&self) -> &'a Namespace {
        self.namespace
    }

    /// Changes fields of its spec.
    pub async fn change(&self, spec: &Value) -> Result<()> {
        let patched = self.namespace.patch::<DefsCluster>(self.name, &json!({"spec": spec})).await;
        patched.map(drop)
    }

    /// Its DefsCluster.
    pub async fn cluster(&self) -> Result<DefsCluster> {
        Ok(self.namespace.api().get(self.name).await?)
    }

    fn of_it(&self) -> ListParams {
        ListParams::default().labels(&format!("{}={}", label::CLUSTER, self.name))
    }

    /// Its DefsPairs, those too that people have made.
    pub async fn pairs(&self) -> Result<Vec<DefsPair>> {
        let mut pairs = self.namespace.api::<DefsPair>().list(&ListParams::default()).await?.items;
        pairs.retain(|pair| pair.spec.cluster_ref.name == self.name);
        pairs.sort_by_key(ResourceExt::name_any);
        Ok(pairs)
    }

    /// One of its DefsPairs.
    pub async fn pair(&self, name: &str) -> Result<DefsPair> {
        Ok(self.namespace.api().get(name).await?)
    }

    /// The members of all its pairs.
    pub async fn pairings(&self) -> Result<Vec<Pairing>> {
        Ok(self.pairs().await?.iter().filter_map(Pairing::of).collect())
    }

    /// The members of one pair.
    pub async fn pairing(&self, name: &str) -> Result<Pairing> {
        let pair = self.pair(name).await?;
        Pairing::of(&pair).with_context(|| format!("{name} has no members yet"))
    }

    /// Its DefsNodes, in their order.
    pub async fn nodes(&self) -> Result<Vec<DefsNode>> {
        let mut nodes = self.namespace.api::<DefsNode>().list(&self.of_it()).await?.items;
        nodes.sort_by_key(|node| node.spec.index);
        Ok(nodes)
    }

    /// One of its DefsNodes.
    pub async fn node(&self, name: &str) -> Result<DefsNode> {
        Ok(self.namespace.api().get(name).await?)
    }

    /// Its nodes that are in no pair.
    pub async fn spares(&self) -> Result<Vec<String>> {
        let pairings = self.pairings().await?;
        let is_paired =
            |name: &String| pairings.iter().any(|it| it.members().contains(&name.as_str()));
        let names = self.nodes().await?.into_iter().map(|node| node.name_any());
        Ok(names.filter(|name| !is_paired(name)).collect())
    }

    /// The pods of its nodes, those too that are on their way out.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.namespace.api::<Pod>().list(&self.of_it()).await?.items)
    }

    /// The pod of a node.
    pub async fn pod(&self, node: &str) -> Result<Pod> {
        Ok(self.namespace.api().get(node).await?)
    }

    /// The machine that a node's pod runs on.
    pub async fn machine(&self, node: &str) -> Result<String> {
        let machine = self.pod(node).await?.spec.and_then(|spec| spec.node_name);
        machine.with_context(|| format!("{node} runs nowhere"))
    }

    /// The file that names the network, and the settings of its clients.
    pub(crate) async fn public(&self) -> Result<[String; 2]> {
        let name = format!("{}-network", self.name);
        let map: ConfigMap = self.namespace.api().get(&name).await?;
        let mut data = map.data.unwrap_or_default();
        let mut text = |key: &str| data.remove(key).with_context(|| format!("{name} has no {key}"));
        Ok([text("network")?, text("client.yaml")?])
    }

    /// The volume that holds what a node stores.
    pub async fn volume(&self, node: &str) -> Result<PersistentVolume> {
        let claim: PersistentVolumeClaim =
            self.namespace.api().get(&format!("data-{node}")).await?;
        let volume = claim.spec.and_then(|spec| spec.volume_name);
        let volume = volume.with_context(|| format!("data-{node} has no volume yet"))?;
        Ok(Api::<PersistentVolume>::all(self.namespace.client()).get(&volume).await?)
    }

    /// Waits until it is Ready as its spec is now. What it is instead is in the error.
    pub async fn is_ready(&self, within: Duration) -> Result<DefsCluster> {
        eventually(&format!("{} is Ready", self.name), within, async || {
            let cluster = self.cluster().await?;
            let status = cluster.status.as_ref().context("it has no status")?;
            ensure!(
                status.observed_generation == cluster.metadata.generation,
                "its spec was not looked at yet"
            );
            ensure_true(&status.conditions, ConditionType::Ready)?;
            Ok(cluster)
        })
        .await
    }

    /// Waits until it says a condition with this verdict and reason, and answers its message.
    pub async fn says(
        &self,
        kind: ConditionType,
        verdict: &str,
        reasons: &[Reason],
        within: Duration,
    ) -> Result<String> {
        eventually(&format!("{}: {kind} is {verdict}", self.name), within, async || {
            let status = self.cluster().await?.status.context("it has no status")?;
            said(&status.conditions, kind, verdict, reasons)
        })
        .await
    }

    /// The same of one of its nodes.
    pub async fn node_says(
        &self,
        node: &str,
        (kind, verdict): (ConditionType, &str),
        reasons: &[Reason],
        within: Duration,
    ) -> Result<String> {
        eventually(&format!("{node}: {kind} is {verdict}"), within, async || {
            let status = self.node(node).await?.status.context("it has no status")?;
            said(&status.conditions, kind, verdict, reasons)
        })
        .await
    }

    /// The same of one of its pairs.
    pub async fn pair_says(
        &self,
        pair: &str,
        (kind, verdict): (ConditionType, &str),
        reasons: &[Reason],
        within: Duration,
    ) -> Result<String> {
        eventually(&format!("{pair}: {kind} is {verdict}"), within, async || {
            let status = self.pair(pair).await?.status.context("it has no status")?;
            said(&status.conditions, kind, verdict, reasons)
        })
        .await
    }

    /// Waits until a pair has two members that hold the same, each known by the pod that runs
    /// now, and nothing is under way.
    pub async fn is_healthy(&self, pair: &str, within: Duration) -> Result<Pairing> {
        eventually(&format!("{pair} is Healthy"), within, async || {
            let object = self.pair(pair).await?;
            let status = object.status.as_ref().context("it has no status")?;
            ensure!(status.migration.is_none(), "it changes: {:?}", status.migration);
            let sync = status.sync.map(|sync| sync.state);
            ensure!(
                status.phase == Some(PairPhase::Healthy) && sync == Some(SyncState::InSync),
                "it is {:?}, {sync:?}: {:?}",
                status.phase,
                status.conditions.iter().map(|it| &it.message).collect::<Vec<_>>()
            );
            let pairing = Pairing::of(&object).context("it has no members")?;
            for member in pairing.members() {
                self.is_up_to_date(member).await?;
            }
            Ok(pairing)
        })
        .await
    }

    /// Whether a node's object speaks of the pod that runs now.
    async fn is_up_to_date(&self, node: &str) -> Result<()> {
        let pod = self.pod(node).await?;
        ensure!(pod_ready(&pod), "the pod of {node} is not ready");
        let status = self.node(node).await?.status.context("a node without a status")?;
        ensure!(status.pod_uid == pod.uid(), "{node} speaks of an earlier pod");
        ensure_true(&status.conditions, ConditionType::Ready).with_context(|| node.to_owned())
    }

    /// Kills the pod of a node as a crash does, and answers the pod that it was.
    pub async fn kill_pod(&self, node: &str) -> Result<Pod> {
        let pod = self.pod(node).await?;
        self.namespace.world().machines().kill(&pod).await?;
        let now = DeleteParams::default().grace_period(0);
        self.namespace.api::<Pod>().delete(node, &now).await?;
        Ok(pod)
    }

    /// Deletes the pod of a node as a user does: it may end what it is doing.
    pub async fn delete_pod(&self, node: &str) -> Result<Pod> {
        let pod = self.pod(node).await?;
        self.namespace.api::<Pod>().delete(node, &DeleteParams::default()).await?;
        Ok(pod)
    }

    /// Asks for a node's pod to go, as a drain does. None if its budget doesn't let it.
    pub async fn evict(&self, node: &str) -> Result<Option<Pod>> {
        let pod = self.pod(node).await?;
        let evicted = self.namespace.api::<Pod>().evict(node, &EvictParams::default()).await;
        match evicted {
            Ok(_) => Ok(Some(pod)),
            Err(kube::Error::Api(status)) if status.code == 429 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until a node has another pod than `before`, which is ready.
    pub async fn is_back(&self, before: &Pod) -> Result<Pod> {
        let node = before.name_any();
        eventually(&format!("the pod of {node} is back"), BACK_WITHIN, async || {
            let pod = self.pod(&node).await?;
            ensure!(pod.uid() != before.uid(), "the earlier one is still there");
            ensure!(pod_ready(&pod), "{:?}", pod.status.and_then(|status| status.conditions));
            Ok(pod)
        })
        .await
    }

    /// The machines of all its nodes.
    async fn places(&self) -> Result<BTreeMap<String, String>> {
        let place = |pod: Pod| Some((pod.name_any(), pod.spec?.node_name?));
        Ok(self.pods().await?.into_iter().filter_map(place).collect())
    }

    /// A machine whose loss hits pairs of this network and not the operator; with spares
    /// elsewhere for all whom it hits.
    pub async fn replaceable(&self) -> Result<Victim> {
        self.victim(&self.spares().await?).await
    }

    /// The same, whether there are spares or not.
    pub async fn victim_of_any_kind(&self) -> Result<Victim> {
        let places = self.places().await?;
        // Made up, of a machine that there isn't: as many as could ever be needed.
        let made_up: Vec<_> = (0..places.len()).map(|it| format!("spare {it}")).collect();
        self.victim(&made_up).await
    }

    async fn victim(&self, spares: &[String]) -> Result<Victim> {
        let (places, pairings) = (self.places().await?, self.pairings().await?);
        let avoid = self.namespace.world().operator().machines().await?;
        let victim = choice::victim(&places, &pairings, spares, &avoid);
        victim.with_context(|| {
            format!(
                "no machine to break: {places:?}, {pairings:?}, spares {spares:?}, operator on \
                 {avoid:?}"
            )
        })
    }

    /// The members of each pair, by its name.
    pub async fn membership(&self) -> Result<BTreeMap<String, [String; 2]>> {
        let pairings = self.pairings().await?;
        let members = |it: &Pairing| it.members().map(str::to_owned);
        Ok(pairings.iter().map(|it| (it.name.clone(), members(it))).collect())
    }

    /// That the two nodes of no pair run on one machine.
    pub async fn is_paired_across_machines(&self) -> Result<()> {
        for pairing in self.pairings().await? {
            let [one, other] = pairing.members();
            let (a, b) = (self.machine(one).await?, self.machine(other).await?);
            ensure!(a != b, "{one} and {other} of {} both run on {a}", pairing.name);
        }
        Ok(())
    }
}

/// Whether the condition of this name is true.
pub(crate) fn says<'a>(
    conditions: impl IntoIterator<Item = (&'a String, &'a String)>,
    name: &str,
) -> bool {
    conditions.into_iter().any(|(kind, status)| kind == name && status == "True")
}

/// Whether the kubelet says that a pod is ready.
#[must_use]
pub fn pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    says(conditions.into_iter().flatten().map(|it| (&it.type_, &it.status)), "Ready")
}

/// Whether a condition is true.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    says(conditions.iter().map(|it| (&it.type_, &it.status)), kind.name())
}

fn ensure_true(conditions: &[Condition], kind: ConditionType) -> Result<()> {
    said(conditions, kind, "True", &[]).map(drop)
}

/// The message of a condition, if it says this. No reasons: any.
fn said(
    conditions: &[Condition],
    kind: ConditionType,
    verdict: &str,
    reasons: &[Reason],
) -> Result<String> {
    let Some(condition) = conditions.iter().find(|it| it.type_ == kind.name()) else {
        bail!("it says nothing of {kind}");
    };
    let is_reason = reasons.is_empty() || reasons.iter().any(|it| it.name() == condition.reason);
    ensure!(
        condition.status == verdict && is_reason,
        "{kind} is {}, {}: {}",
        condition.status,
        condition.reason,
        condition.message
    );
    Ok(condition.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions() -> Vec<Condition> {
        serde_json::from_value(json!([{
            "type": "Ready", "status": "False", "reason": "MemberAway", "message": "One is away.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]))
        .unwrap()
    }

    #[test]
    fn a_condition_counts_with_its_verdict_and_one_of_its_reasons() {
        let of = |verdict, reasons: &[Reason]| {
            said(&conditions(), ConditionType::Ready, verdict, reasons).map_err(|it| it.to_string())
        };
        let otherwise = "Ready is False, MemberAway: One is away.".to_owned();
        assert_eq!(of("False", &[]), Ok("One is away.".to_owned()));
        assert_eq!(of("False", &[Reason::Forming, Reason::MemberAway]), Ok("One is away.".into()));
        assert_eq!(of("False", &[Reason::Forming]), Err(otherwise.clone()));
        assert_eq!(of("True", &[]), Err(otherwise));
        assert!(!is_true(&conditions(), ConditionType::Ready));
        let absent = said(&[], ConditionType::Paused, "True", &[]).unwrap_err().to_string();
        assert_eq!(absent, "it says nothing of Paused");
    }
}
