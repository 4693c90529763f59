//! The operator's pods: which leads, and what can be done to them.

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::World;
use crate::installation::NAMESPACE;
use crate::network::pod_ready;
use crate::wait::{eventually, seconds};

/// The lease of the leader.
const LEASE: &str = "defs-operator";

/// The operator's pods, and what the chart calls them by.
const PODS: &str = "app.kubernetes.io/name=defs,app.kubernetes.io/component=operator";

/// The port at which nodes answer the operator.
const ADMIN_PORT: u16 = 8443;

/// The operator.
#[derive(Debug, Clone, Copy)]
pub struct Operator<'a> {
    world: &'a World,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self { world }
    }

    fn pods_api(&self) -> Api<Pod> {
        Api::namespaced(self.world.client(), NAMESPACE)
    }

    /// Its pods that aren't on their way out.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.pods_api().list(&ListParams::default().labels(PODS)).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// The pod that leads.
    pub async fn leader(&self) -> Result<Pod> {
        let lease = Api::<Lease>::namespaced(self.world.client(), NAMESPACE).get(LEASE).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let pods = self.pods().await?;
        let leader = pods.into_iter().find(|pod| pod.name_any() == holder && pod_ready(pod));
        leader.with_context(|| format!("the lease is `{holder}`'s, which is no pod that is ready"))
    }

    /// Waits until a pod leads, and not `other_than` that.
    pub async fn led(&self, other_than: Option<&Pod>) -> Result<Pod> {
        eventually("an operator leads", seconds(60), async || {
            let leader = self.leader().await?;
            ensure!(other_than.is_none_or(|it| it.uid() != leader.uid()), "it is still the same");
            Ok(leader)
        })
        .await
    }

    /// Kills the pod that leads, so that it can't give its lease back.
    pub async fn kill_leader(&self) -> Result<Pod> {
        let leader = self.leader().await?;
        let now = DeleteParams::default().grace_period(0);
        self.pods_api().delete(&leader.name_any(), &now).await?;
        Ok(leader)
    }

    /// Runs so many pods of it, and waits for them.
    pub async fn scale(&self, replicas: i32) -> Result<()> {
        let deployments = Api::<Deployment>::namespaced(self.world.client(), NAMESPACE);
        let found = deployments.list(&ListParams::default().labels(PODS)).await?.items;
        let [deployment] = &found[..] else { bail!("{} deployments of the operator", found.len()) };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments.patch_scale(&deployment.name_any(), &PatchParams::default(), &patch).await?;
        eventually("as many operators as asked for", seconds(60), async || {
            let all = self.pods_api().list(&ListParams::default().labels(PODS)).await?.items;
            let ready = all.iter().filter(|pod| pod_ready(pod)).count();
            let wanted = usize::try_from(replicas)?;
            ensure!((all.len(), ready) == (wanted, wanted), "{ready} of {} are ready", all.len());
            Ok(())
        })
        .await
    }

    /// The machines on which it runs.
    pub async fn machines(&self) -> Result<Vec<String>> {
        let pods = self.pods().await?;
        Ok(pods.into_iter().filter_map(|pod| pod.spec?.node_name).collect())
    }

    /// Cuts all of its pods off from every node, and from nothing else.
    pub async fn cut_off(&self) -> Result<()> {
        let pods = self.pods().await?;
        ensure!(!pods.is_empty(), "there is no operator");
        try_join_all(pods.iter().map(|pod| async {
            let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
            let (machine, address) = machine.zip(address).context("an operator without a place")?;
            self.world.machines().drop_packets(machine, address, ADMIN_PORT).await
        }))
        .await
        .map(drop)
    }

    /// Takes that back.
    pub async fn reconnect(&self) -> Result<()> {
        for machine in self.machines().await? {
            self.world.machines().drop_no_packets(&machine).await?;
        }
        Ok(())
    }

    /// The last lines of each pod.
    pub(crate) async fn logs(&self, lines: i64) -> Vec<(String, String)> {
        let pods = self.pods_api().list(&ListParams::default().labels(PODS)).await;
        let names: Vec<_> = pods.iter().flatten().map(ResourceExt::name_any).collect();
        crate::namespace::logs(
            &self.pods_api(),
            &names,
            &LogParams { tail_lines: Some(lines), ..LogParams::default() },
        )
        .await
    }
}
