//! What all controllers share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::{Lookup, Store};

use crate::agents::{Agents, Credentials};
use crate::error::Error;
use crate::stores::Stores;
use defs_core::ids::NodeId;
use defs_core::wish::Want;
use defs_crds::reason::Reason;
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use k8s_openapi::api::core::v1::{
    ConfigMap, Node as Machine, ObjectReference, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tokio::time::Instant;

/// What is looked at again when nothing else causes it: the watches tell of all that changes.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_mins(5);

/// What waits for something that no watch tells of.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// The first pause after a failure; each further one is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_millis(500);

/// The longest pause after failures.
const BACK_OFF_MAX: Duration = Duration::from_mins(2);

/// Stores of all kinds, for reading.
pub(crate) struct World {
    pub(crate) clusters: Store<DefsCluster>,
    pub(crate) nodes: Store<DefsNode>,
    pub(crate) pairs: Store<DefsPair>,
    pub(crate) pods: Store<Pod>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) secrets: Store<Secret>,
    pub(crate) config_maps: Store<ConfigMap>,
    pub(crate) services: Store<Service>,
    pub(crate) budgets: Store<PodDisruptionBudget>,
    pub(crate) policies: Store<NetworkPolicy>,
    pub(crate) machines: Store<Machine>,
}

impl World {
    pub(crate) fn of(stores: &Stores) -> Self {
        Self {
            clusters: stores.clusters.store.clone(),
            nodes: stores.nodes.store.clone(),
            pairs: stores.pairs.store.clone(),
            pods: stores.pods.store.clone(),
            claims: stores.claims.store.clone(),
            secrets: stores.secrets.store.clone(),
            config_maps: stores.config_maps.store.clone(),
            services: stores.services.store.clone(),
            budgets: stores.budgets.store.clone(),
            policies: stores.policies.store.clone(),
            machines: stores.machines.store.clone(),
        }
    }
}

/// A namespace and a cluster's name.
type Place = (String, String);

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(namespace: &str, cluster: &str) -> Place {
    (namespace.to_owned(), cluster.to_owned())
}

/// By what the operator is known, by cluster: read once, and never printed.
#[derive(Default)]
pub(crate) struct Credentialed(Mutex<BTreeMap<Place, Arc<Credentials>>>);

impl Credentialed {
    pub(crate) fn get(&self, namespace: &str, cluster: &str) -> Option<Arc<Credentials>> {
        lock(&self.0).get(&place(namespace, cluster)).map(Arc::clone)
    }

    pub(crate) fn keep(&self, namespace: &str, cluster: &str, credentials: &Arc<Credentials>) {
        lock(&self.0).insert(place(namespace, cluster), Arc::clone(credentials));
    }
}

/// Which nodes of each cluster are free, and since when these.
#[derive(Default)]
pub(crate) struct Free(Mutex<BTreeMap<Place, (BTreeSet<String>, Instant)>>);

impl Free {
    /// For how long the free nodes have been just `names`.
    pub(crate) fn settled(
        &self,
        (namespace, cluster): (&str, &str),
        names: BTreeSet<String>,
    ) -> Duration {
        let now = Instant::now();
        let mut all = lock(&self.0);
        let known = all.entry(place(namespace, cluster)).or_insert_with(|| (names.clone(), now));
        if known.0 != names {
            *known = (names, now);
        }
        now.duration_since(known.1)
    }
}

/// The last word about each node, and when it was said.
#[derive(Default)]
pub(crate) struct Said(Mutex<BTreeMap<NodeId, (Want, Instant)>>);

/// Before the same is said again to nodes that haven't done it yet.
const SAY_AGAIN: Duration = Duration::from_secs(10);

impl Said {
    /// Whether `want` should be said of `node` now. Then it counts as said.
    pub(crate) fn is_due(&self, node: NodeId, want: Want) -> bool {
        let now = Instant::now();
        let mut said = lock(&self.0);
        let is_fresh =
            |(known, at): &(Want, Instant)| *known == want && now.duration_since(*at) < SAY_AGAIN;
        if said.get(&node).is_some_and(is_fresh) {
            return false;
        }
        said.insert(node, (want, now));
        true
    }

    /// Nobody has taken it.
    pub(crate) fn forget(&self, node: NodeId) {
        lock(&self.0).remove(&node);
    }
}

/// What all controllers share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) world: World,
    pub(crate) agents: Agents,
    pub(crate) recorder: Recorder,
    /// The repository of the images of `spec.version`.
    pub(crate) repository: String,
    /// By what the operator is known to each cluster's nodes.
    pub(crate) credentials: Credentialed,
    /// Which nodes of each cluster are free.
    pub(crate) free: Free,
    /// What was said to networks lately.
    pub(crate) said: Said,
    /// Failures one after the other, by object.
    pub(crate) failures: crate::run::Failures,
}

impl Context {
    /// Tells people what happened to an object.
    pub(crate) async fn tell(&self, about: &ObjectReference, news: Vec<(Reason, String)>) {
        for (reason, note) in news {
            self.tell_one(about, reason, note).await;
        }
    }

    async fn tell_one(&self, about: &ObjectReference, reason: Reason, note: String) {
        let type_ = if reason.is_warning() { EventType::Warning } else { EventType::Normal };
        let reason = reason.name();
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason, "an event was not told");
        }
    }

    /// What follows from a failed reconciliation.
    pub(crate) fn failed<K>(self: &Arc<Self>, object: &Arc<K>, error: &Error) -> Action
    where
        K: Lookup<DynamicType = ()>,
    {
        let key = format!(
            "{}/{}/{}",
            K::kind(&()),
            object.namespace().unwrap_or_default(),
            object.name().unwrap_or_default()
        );
        let times = self.failures.again(&key);
        let pause = BACK_OFF_FIRST.saturating_mul(1 << times.min(16)).min(BACK_OFF_MAX);
        if error.is_conflict() {
            tracing::debug!(key, "somebody else changed the object meanwhile");
        } else {
            let error = error as &dyn std::error::Error;
            tracing::warn!(key, error, ?pause, "a reconciliation failed");
        }
        Action::requeue(self.failures.jittered(pause))
    }
}
