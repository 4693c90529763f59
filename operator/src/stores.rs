//! The objects of the cluster that matter to the operator, kept up to date by watches. Every
//! controller reads them here, so that a look costs no request.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use defs_crds::names::{FIELD_MANAGER, label};
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{
    ConfigMap, Node as Machine, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ReflectHandle, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Changes that a controller may lag behind before the watch waits for it.
const LAG_MAX: usize = 1024;

/// The objects of one kind.
pub(crate) struct Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    pub(crate) store: Store<K>,
    changes: Vec<(ReflectHandle<K>, mpsc::Receiver<Arc<K>>)>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Watches what `config` selects for as many `readers` of changes, until `stop`.
    fn start(
        api: Api<DeserializeGuard<K>>,
        config: watcher::Config,
        readers: usize,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Self> {
        let (store, writer) = reflector::store_shared::<K>(LAG_MAX);
        let (mut changes, mut told) = (Vec::new(), Vec::new());
        for _ in 0..readers {
            let handle = writer.subscribe().context("a store that is made to be shared")?;
            let (tell, gone) = mpsc::channel(LAG_MAX);
            changes.push((handle, gone));
            told.push(tell);
        }
        // Who changed which field when is half of an object, and nothing to us.
        let prune = |object: &mut K| object.meta_mut().managed_fields = None;
        let watched = watcher(api, config)
            .default_backoff()
            .filter_map(async |event| event.map(readable).transpose())
            .modify(prune)
            .reflect_shared(writer);
        let watched = async move {
            let mut watched = pin!(watched);
            while let Some(event) = watched.next().await {
                match event {
                    // The shared store tells nobody of what it has forgotten.
                    Ok(watcher::Event::Delete(object)) => tell_all(&told, object).await,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&()), %error,
                            "a watch broke off, it begins anew");
                    }
                }
            }
        };
        let (stop, dies) = (stop.clone(), stop.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(watched).await;
            // A process that no longer hears of one kind would go on by old news.
            dies.cancel();
        });
        Ok(Self { store, changes })
    }

    /// Objects that have changed or are gone, for one reader.
    pub(crate) fn changes(&mut self) -> Result<impl Stream<Item = Arc<K>> + use<K>> {
        let (changes, gone) = self.changes.pop().context("more readers than were announced")?;
        Ok(futures::stream::select(changes, ReceiverStream::new(gone)))
    }
}

/// Tells every reader that `object` is gone; one that has ended needs to hear nothing.
async fn tell_all<K>(readers: &[mpsc::Sender<Arc<K>>], object: K) {
    let object = Arc::new(object);
    for reader in readers {
        reader.send(Arc::clone(&object)).await.ok();
    }
}

/// An event, if its object can be read. One that can't is told and left out, so that it keeps
/// nobody from hearing of all others.
fn readable<K>(event: watcher::Event<DeserializeGuard<K>>) -> Option<watcher::Event<K>>
where
    K: Resource<DynamicType = ()>,
{
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let object = |DeserializeGuard(object): DeserializeGuard<K>| match object {
        Ok(object) => Some(object),
        Err(bad) => {
            let (namespace, name) = (bad.metadata.namespace, bad.metadata.name);
            tracing::warn!(kind = %K::kind(&()), namespace, name, error = %bad.error,
                "an object can't be read, and is left alone");
            None
        }
    };
    Some(match event {
        Apply(it) => Apply(object(it)?),
        Delete(it) => Delete(object(it)?),
        InitApply(it) => InitApply(object(it)?),
        Init => Init,
        InitDone => InitDone,
    })
}

/// All kinds.
pub(crate) struct Stores {
    pub(crate) clusters: Watched<DefsCluster>,
    pub(crate) nodes: Watched<DefsNode>,
    pub(crate) pairs: Watched<DefsPair>,
    pub(crate) pods: Watched<Pod>,
    pub(crate) claims: Watched<PersistentVolumeClaim>,
    pub(crate) secrets: Watched<Secret>,
    pub(crate) config_maps: Watched<ConfigMap>,
    pub(crate) services: Watched<Service>,
    pub(crate) budgets: Watched<PodDisruptionBudget>,
    pub(crate) policies: Watched<NetworkPolicy>,
    pub(crate) machines: Watched<Machine>,
}

impl Stores {
    /// Watches the objects of `namespace`, or of all.
    pub(crate) fn start(
        client: &Client,
        namespace: Option<&str>,
        owner: (&TaskTracker, &CancellationToken),
    ) -> Result<Self> {
        let ours =
            || watcher::Config::default().labels(&format!("{}={FIELD_MANAGER}", label::MANAGED_BY));
        let all = watcher::Config::default;
        Ok(Self {
            clusters: Watched::start(within(client, namespace), all(), 1, owner)?,
            nodes: Watched::start(within(client, namespace), all(), 2, owner)?,
            pairs: Watched::start(within(client, namespace), all(), 2, owner)?,
            pods: Watched::start(within(client, namespace), ours(), 1, owner)?,
            claims: Watched::start(within(client, namespace), ours(), 1, owner)?,
            secrets: Watched::start(within(client, namespace), ours(), 2, owner)?,
            config_maps: Watched::start(within(client, namespace), ours(), 1, owner)?,
            services: Watched::start(within(client, namespace), ours(), 2, owner)?,
            budgets: Watched::start(within(client, namespace), ours(), 1, owner)?,
            policies: Watched::start(within(client, namespace), ours(), 1, owner)?,
            machines: Watched::start(Api::all(client.clone()), all(), 0, owner)?,
        })
    }

    /// Waits until each store has been filled once.
    pub(crate) async fn filled(&self) -> Result<()> {
        async fn all_of<K>(watched: &Watched<K>) -> Result<()>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            watched.store.wait_until_ready().await.context("a watch has ended")
        }
        all_of(&self.clusters).await?;
        all_of(&self.nodes).await?;
        all_of(&self.pairs).await?;
        all_of(&self.pods).await?;
        all_of(&self.claims).await?;
        all_of(&self.secrets).await?;
        all_of(&self.config_maps).await?;
        all_of(&self.services).await?;
        all_of(&self.budgets).await?;
        all_of(&self.policies).await?;
        all_of(&self.machines).await
    }
}

/// The API for the objects of `namespace`, or of all.
fn within<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
