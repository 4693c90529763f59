//! The machines that pods run on, and what can be done to them.

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, Taint};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::network::says;
use crate::provider::Provider;
use crate::wait::{eventually, seconds};

/// The taint by which somebody declares a machine to be off for good.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The label of machines that run no pods of ours.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The rules that a case has put into a machine's network.
const TABLE: &str = "defs_e2e";

/// What happens to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It loses its power. Its volumes stay.
    PowerCut,
    /// Its kubelet hangs, its pods go on.
    FrozenKubelet,
    /// Its network cable is cut.
    CutCable,
}

impl Fault {
    /// How the providers call its beginning and its end.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::PowerCut => ["crash", "boot"],
            Self::FrozenKubelet => ["freeze", "thaw"],
            Self::CutCable => ["cut", "mend"],
        }
    }
}

/// The machines of the cluster.
#[derive(Clone, Copy)]
pub struct Machines<'a> {
    provider: &'a Provider,
    client: &'a Client,
}

impl std::fmt::Debug for Machines<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Machines")
    }
}

impl<'a> Machines<'a> {
    pub(crate) fn new(provider: &'a Provider, client: &'a Client) -> Self {
        Self { provider, client }
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// All that run pods of ours.
    pub(crate) async fn all(&self) -> Result<Vec<Node>> {
        let mut nodes = self.api().list(&ListParams::default()).await?.items;
        nodes.retain(|node| !node.labels().contains_key(CONTROL_PLANE));
        Ok(nodes)
    }

    /// Their names, in order.
    pub async fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<_> = self.all().await?.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }

    /// Does it to `machine`.
    pub async fn begin(&self, fault: Fault, machine: &str) -> Result<()> {
        crate::results::say(&format!("{fault:?} of {machine}"));
        let [begin, _] = fault.words();
        self.provider.call(&["fault", begin, machine]).await.map(drop)
    }

    /// Takes it back. Nothing happens where it wasn't done.
    pub async fn end(&self, fault: Fault, machine: &str) -> Result<()> {
        let [_, end] = fault.words();
        self.provider.call(&["fault", end, machine]).await.map(drop)
    }

    /// What a command that runs on `machine` as root prints.
    pub async fn run(&self, machine: &str, command: &[&str]) -> Result<String> {
        let call: Vec<_> = ["node", "run", machine].iter().chain(command).copied().collect();
        self.provider.call(&call).await
    }

    /// Drops what the pod at `address` on `machine` sends to TCP `port`, also on connections
    /// that stand.
    pub async fn drop_packets(&self, machine: &str, address: &str, port: u16) -> Result<()> {
        let rules = format!(
            "add table inet {TABLE}; \
             add chain inet {TABLE} forward {{ type filter hook forward priority -10; }}; \
             add rule inet {TABLE} forward ip saddr {address} tcp dport {port} drop"
        );
        self.run(machine, &["nft", &rules]).await.map(drop)
    }

    /// Takes back what [`Machines::drop_packets`] did on `machine`.
    pub async fn drop_no_packets(&self, machine: &str) -> Result<()> {
        self.run(machine, &["nft", "delete", "table", "inet", TABLE]).await.map(drop)
    }

    /// Removes all that is on a volume, as if its disk were another one.
    pub async fn wipe(&self, volume: &PersistentVolume) -> Result<()> {
        let spec = volume.spec.as_ref().context("a volume without a spec")?;
        let local = spec.local.as_ref().map(|it| &it.path);
        let path = local.or(spec.host_path.as_ref().map(|it| &it.path));
        let path = path.context("the volume is no folder of a machine")?;
        let machine = machine_of(volume).context("the volume is of no machine")?;
        self.run(&machine, &["find", path, "-mindepth", "1", "-delete"]).await.map(drop)
    }

    /// Waits until Kubernetes says whether `machine` is Ready.
    pub async fn is_said_ready(&self, machine: &str, ready: bool) -> Result<()> {
        let what = format!("{machine} is {}", if ready { "Ready" } else { "not Ready" });
        eventually(&what, seconds(90), async || {
            let node = self.api().get(machine).await?;
            ensure!(is_ready(&node) == ready, "it is not yet");
            Ok(())
        })
        .await
    }

    /// Declares that `machine` is off, and that its pods are gone.
    pub async fn declare_out_of_service(&self, machine: &str) -> Result<()> {
        let taint =
            json!([{"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}]);
        let mut taints = self.taints(machine).await?;
        taints.extend(serde_json::from_value::<Vec<Taint>>(taint)?);
        self.set_taints(machine, &taints).await
    }

    /// Takes that back.
    pub async fn declare_in_service(&self, machine: &str) -> Result<()> {
        let mut taints = self.taints(machine).await?;
        taints.retain(|taint| taint.key != OUT_OF_SERVICE);
        self.set_taints(machine, &taints).await
    }

    async fn taints(&self, machine: &str) -> Result<Vec<Taint>> {
        Ok(self.api().get(machine).await?.spec.and_then(|spec| spec.taints).unwrap_or_default())
    }

    async fn set_taints(&self, machine: &str, taints: &[Taint]) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"taints": taints}}));
        self.api().patch(machine, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Mends all that any case has broken, and waits until every machine is Ready.
    pub async fn mend(&self) -> Result<()> {
        let nodes = self.all().await?;
        let names: Vec<_> = nodes.iter().map(ResourceExt::name_any).collect();
        // Machines without power refuse these, and lose all of it at their boot.
        join_all(names.iter().map(|machine| async move {
            drop(self.end(Fault::FrozenKubelet, machine).await);
            drop(self.end(Fault::CutCable, machine).await);
            drop(self.drop_no_packets(machine).await);
        }))
        .await;
        self.provider.call(&["up", &names.len().to_string()]).await?;
        let marked = nodes.iter().filter(|node| is_marked(node)).map(ResourceExt::name_any);
        let marked: Vec<_> = marked.collect();
        try_join_all(marked.iter().map(|machine| self.declare_in_service(machine))).await?;
        eventually("all machines are Ready", seconds(90), async || {
            match self.all().await?.iter().find(|node| !is_ready(node)) {
                Some(node) => bail!("{} is not", node.name_any()),
                None => Ok(()),
            }
        })
        .await
    }
}

fn is_marked(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| taints.iter().any(|taint| taint.key == OUT_OF_SERVICE))
}

pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    says(conditions.into_iter().flatten().map(|it| (&it.type_, &it.status)), "Ready")
}

/// The machine that a volume lies on.
fn machine_of(volume: &PersistentVolume) -> Option<String> {
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    let expressions =
        affinity.node_selector_terms.iter().filter_map(|it| it.match_expressions.as_ref());
    let mut machines = expressions.flatten().filter(|it| it.key == "kubernetes.io/hostname");
    machines.find_map(|it| it.values.as_ref()?.first().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_names_its_machine() {
        let volume: PersistentVolume = serde_json::from_value(json!({"spec": {"nodeAffinity": {
            "required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node3"]}]}]}}}}))
        .unwrap();
        assert_eq!(machine_of(&volume).as_deref(), Some("node3"));
        assert_eq!(machine_of(&PersistentVolume::default()), None);
    }
}
