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
use crate::metrics::Metrics;
use crate::stores::Stores;
use defs_core::ids::NodeId;
use defs_core::wish::Want;
use defs_crds::reason::Reason;
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use defs_pairing::planner::Fit;
use defs_pairing::score::Score;
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

/// Objects whose people were told something once.
#[derive(Debug, Default)]
pub(crate) struct Warned(Mutex<BTreeSet<Place>>);

impl Warned {
    /// Whether nobody was told yet. Then it counts as told.
    pub(crate) fn is_first(&self, namespace: &str, cluster: &str) -> bool {
        lock(&self.0).insert(place(namespace, cluster))
    }
}

/// What was done lately, so that it isn't done again while the stores don't show it yet.
#[derive(Debug)]
pub(crate) struct Lately<K>(Mutex<BTreeMap<K, Instant>>);

/// By then a store shows what was done, or it failed.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

impl<K> Default for Lately<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Lately<K> {
    /// Whether `key` was not done lately. Then it counts as done.
    pub(crate) fn is_due(&self, key: K) -> bool {
        let now = Instant::now();
        let mut done = lock(&self.0);
        done.retain(|_, at| now.duration_since(*at) < SHOWN_WITHIN);
        if done.contains_key(&key) {
            return false;
        }
        done.insert(key, now);
        true
    }
}

/// Scores of all nodes, and how well the members of each pair fit, by cluster: what its controller
/// found out, for those of nodes and pairs.
#[derive(Default)]
pub(crate) struct Rankings(Mutex<BTreeMap<Place, Arc<Ranking>>>);

/// Of one cluster.
#[derive(Default)]
pub(crate) struct Ranking {
    /// By DefsNode.
    pub(crate) nodes: BTreeMap<String, Score>,
    /// By DefsPair.
    pub(crate) pairs: BTreeMap<String, Fit>,
    /// How many points more the plan would give a pair.
    pub(crate) gaps: BTreeMap<String, u16>,
}

impl Rankings {
    pub(crate) fn get(&self, namespace: &str, cluster: &str) -> Arc<Ranking> {
        lock(&self.0).get(&place(namespace, cluster)).map(Arc::clone).unwrap_or_default()
    }

    pub(crate) fn keep(&self, namespace: &str, cluster: &str, ranking: Ranking) {
        lock(&self.0).insert(place(namespace, cluster), Arc::new(ranking));
    }
}

/// How fast each change of members goes, by its id.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<BTreeMap<String, Course>>);

/// Of one change.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// Where it stood when this process first looked.
    from: (Instant, u64),
    /// When it last moved, and to where.
    moved: (Instant, u64),
}

impl Progress {
    /// Notes that `done` bytes are copied now. Bytes a second since this process first looked, and
    /// for how long nothing has moved.
    pub(crate) fn note(&self, id: &str, done: u64) -> (u64, Duration) {
        let now = Instant::now();
        let mut all = lock(&self.0);
        let fresh = Course { from: (now, done), moved: (now, done) };
        let course = all.entry(id.to_owned()).or_insert(fresh);
        if course.moved.1 != done {
            course.moved = (now, done);
        }
        let (began, first) = course.from;
        let millis = u64::try_from(now.duration_since(began).as_millis()).unwrap_or(u64::MAX);
        let rate = done.saturating_sub(first).saturating_mul(1000) / millis.max(1);
        (rate, now.duration_since(course.moved.0))
    }

    /// It is over.
    pub(crate) fn forget(&self, id: &str) {
        lock(&self.0).remove(id);
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
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) world: World,
    pub(crate) agents: Agents,
    pub(crate) recorder: Recorder,
    /// The repository of the images of `spec.version`.
    pub(crate) repository: String,
    /// Kinds of which other CRDs are installed than this operator's.
    pub(crate) other_crds: Vec<String>,
    /// Clusters whose people were warned of that.
    pub(crate) warned: Warned,
    /// By what the operator is known to each cluster's nodes.
    pub(crate) credentials: Credentialed,
    /// Which nodes of each cluster are free.
    pub(crate) free: Free,
    /// Pairs that were made lately, by namespace and members.
    pub(crate) formed: Lately<(String, [String; 2])>,
    /// Nodes that were called to a pair lately, by namespace.
    pub(crate) called: Lately<(String, String)>,
    /// What the last look at each cluster gave.
    pub(crate) rankings: Rankings,
    /// How fast members are replaced.
    pub(crate) progress: Progress,
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
