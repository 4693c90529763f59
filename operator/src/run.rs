//! The process: one leader at a time runs the controllers until it is asked to stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use defs_core::port::Randomness;
use defs_core::settings::Settings;
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use defs_launch::logging::{self, Lines};
use defs_launch::{Export, OsRandom, SystemClock, environment, panic, signals};
use defs_telemetry::Level;
use defs_telemetry::label;
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::{Client, ResourceExt};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agents::{AgentKey, Agents, News};
use crate::context::{
    Context, Credentialed, Free, Lately, Progress, Rankings, Said, Warned, World,
};
use crate::error::Error;
use crate::health::{self, Health};
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::{cluster, node, pair};

/// Runs DeFS networks on Kubernetes.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Options {
    /// The namespace whose clusters are looked after; without it, all.
    #[arg(long, env = "DEFS_OPERATOR_NAMESPACE")]
    namespace: Option<String>,
    /// The namespace of the lease that makes one operator the leader.
    #[arg(long, env = "DEFS_OPERATOR_LEASE_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// The name of this process among several, such as its pod's.
    #[arg(long, env = "POD_NAME", default_value = "defs-operator")]
    identity: String,
    /// Where health and metrics are served.
    #[arg(long, env = "DEFS_OPERATOR_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The repository of the nodes' images, for clusters that name a version.
    #[arg(long, env = "DEFS_OPERATOR_REPOSITORY", default_value = "ghcr.io/bpfs/defs")]
    repository: String,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, env = "DEFS_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// How a line of the log is written: text or json.
    #[arg(long, env = "DEFS_LOG_FORMAT", default_value = "text")]
    log_format: String,
}

/// How long a leader is one without saying so again, in seconds; another takes over then.
const LEASE_SECONDS: u64 = 15;

/// The leader says so again when so many seconds are left.
const LEASE_GRACE_SECONDS: u64 = 5;

/// Objects of a kind that are looked at at one time.
const CONCURRENCY: u16 = 8;

/// Changes of one object that come within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How long tasks may take to end at shutdown.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs the operator until it is asked to stop.
pub fn run(options: Options) -> Result<()> {
    let mut settings = Settings::default();
    settings.set("logLevel", &options.log_level)?;
    settings.set("logFormat", &options.log_format)?;
    let export =
        logging::start_with_traces(&settings, "defs-operator", Lines::Kept, environment())?;
    panic::abort_on_panic();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("another TLS provider is installed already");
    }
    // One is enough to wait for nodes and for the API; of two, each word of a node woke both.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::select! {
            never = signals::stop_requested(stop.clone())? => match never {},
            ended = serve(options, export, stop) => ended,
        }
    })
}

async fn serve(options: Options, export: Option<Export>, stop: CancellationToken) -> Result<()> {
    let metrics = Arc::new(Metrics::new());
    let exporting = export.map(|export| {
        let read = Arc::clone(&metrics);
        export.start(metrics.export.clone(), SystemClock::new(), move || read.read())
    });
    let client = Client::try_default().await.context("no Kubernetes cluster to talk to")?;
    let health = Arc::new(Health::default());
    let tasks = TaskTracker::new();
    let listener = health::listen(options.listen).await?;
    tasks.spawn(health::serve(listener, (Arc::clone(&health), Arc::clone(&metrics)), stop.clone()));
    let (mut leads, leading) = candidate(&client, &options).await?.watch().await;
    health.is_ready();
    if is_elected(&mut leads, &stop).await? {
        metrics.leads();
        lead((&client, &metrics), &options, leads, (&tasks, &stop)).await?;
    }
    end(&tasks, &stop).await;
    // The lease goes back with its task: the next leader need not wait for it to run out.
    drop(tokio::time::timeout(STOP_WITHIN, leading).await);
    if let Some(exporting) = exporting {
        exporting.end().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits until this process leads; not so if it is to stop before.
async fn is_elected(leads: &mut watch::Receiver<bool>, stop: &CancellationToken) -> Result<bool> {
    tracing::info!("waits to lead");
    let won = async { leads.wait_for(|leads| *leads).await.map(drop) };
    match stop.run_until_cancelled(won).await {
        None => Ok(false),
        Some(won) => won.map(|()| true).context("the lease of the leader can't be had"),
    }
}

/// Looks after clusters as long as this process leads.
async fn lead(
    world: (&Client, &Arc<Metrics>),
    options: &Options,
    leads: watch::Receiver<bool>,
    owner: (&TaskTracker, &CancellationToken),
) -> Result<()> {
    tracing::info!("leads");
    tokio::select! {
        ended = control(world, options, owner) => ended,
        () = lost(leads) => Ok(()),
    }
}

async fn candidate(client: &Client, options: &Options) -> Result<LeaseManager> {
    LeaseManagerBuilder::new(client.clone(), "defs-operator")
        .with_namespace(&options.lease_namespace)
        .with_identity(&options.identity)
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS)
        .build()
        .await
        .context("failed to prepare the lease of the leader")
}

/// Ends when this process leads no more: it must not act any longer, and begins anew.
async fn lost(mut leads: watch::Receiver<bool>) {
    while leads.changed().await.is_ok() && *leads.borrow() {}
}

async fn end(tasks: &TaskTracker, stop: &CancellationToken) {
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(STOP_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("tasks were cut off at shutdown");
    }
}

/// What the controllers share.
fn shared(
    (client, metrics): (&Client, &Arc<Metrics>),
    options: &Options,
    stores: &Stores,
    agents: Agents,
    other_crds: Vec<String>,
) -> Arc<Context> {
    let reporter = Reporter {
        controller: "defs-operator".to_owned(),
        instance: Some(options.identity.clone()),
    };
    Arc::new(Context {
        client: client.clone(),
        metrics: Arc::clone(metrics),
        world: World::of(stores),
        agents,
        recorder: Recorder::new(client.clone(), reporter),
        repository: options.repository.clone(),
        other_crds,
        warned: Warned::default(),
        credentials: Credentialed::default(),
        free: Free::default(),
        formed: Lately::default(),
        called: Lately::default(),
        rankings: Rankings::default(),
        progress: Progress::default(),
        said: Said::default(),
        failures: Failures::default(),
    })
}

/// The three controllers, until `stop`.
pub(crate) async fn control(
    (client, metrics): (&Client, &Arc<Metrics>),
    options: &Options,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<()> {
    let other_crds = crate::installed::differing(client).await?;
    let mut stores = Stores::start(client, options.namespace.as_deref(), (tasks, stop))?;
    stores.filled().await?;
    let (agents, news) = Agents::new(&metrics.operator, tasks, stop);
    let News { nodes: node_news, clusters: cluster_news, members: member_news } = news;
    let context = shared((client, metrics), options, &stores, agents, other_crds);
    let config = Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let waiting = |controller| metrics.operator.queued.of(controller);
    let clusters =
        Controller::for_shared_stream(stores.clusters.changes()?, stores.clusters.store.clone())
            .with_config(config.clone())
            .owns_shared_stream(stores.config_maps.changes()?)
            .owns_shared_stream(stores.services.changes()?)
            .owns_shared_stream(stores.budgets.changes()?)
            .owns_shared_stream(stores.policies.changes()?)
            .watches_shared_stream(stores.secrets.changes()?, |secret| of_its_own(&secret))
            .watches_shared_stream(stores.nodes.changes()?, |node: Arc<DefsNode>| {
                of_cluster(node.metadata.namespace.clone(), &node.spec.cluster_ref.name)
            })
            .watches_shared_stream(stores.pairs.changes()?, |pair: Arc<DefsPair>| {
                of_cluster(pair.metadata.namespace.clone(), &pair.spec.cluster_ref.name)
            })
            .reconcile_on(taken(cluster_news, waiting(label::Controller::Cluster)))
            .graceful_shutdown_on(stop.clone().cancelled_owned())
            .run(
                counted(cluster::reconcile, label::Controller::Cluster),
                failed::<DefsCluster>,
                Arc::clone(&context),
            );
    let nodes = Controller::for_shared_stream(stores.nodes.changes()?, stores.nodes.store.clone())
        .with_config(config.clone())
        .owns_shared_stream(stores.pods.changes()?)
        .owns_shared_stream(stores.secrets.changes()?)
        .owns_shared_stream(stores.services.changes()?)
        .watches_shared_stream(stores.claims.changes()?, |claim: Arc<PersistentVolumeClaim>| {
            let node = claim.labels().get(defs_crds::names::label::NODE).cloned()?;
            Some(ObjectRef::<DefsNode>::new(&node).within(&ResourceExt::namespace(&*claim)?))
        })
        .reconcile_on(taken(node_news, waiting(label::Controller::Node)))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            counted(node::reconcile, label::Controller::Node),
            failed::<DefsNode>,
            Arc::clone(&context),
        );
    let pairs = Controller::for_shared_stream(stores.pairs.changes()?, stores.pairs.store.clone())
        .with_config(config)
        .reconcile_on(of_members(
            taken(member_news, waiting(label::Controller::Pair)),
            stores.pairs.store.clone(),
        ))
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            counted(pair::reconcile, label::Controller::Pair),
            failed::<DefsPair>,
            Arc::clone(&context),
        );
    // What went wrong was told by `failed`.
    tokio::join!(
        clusters.for_each(|_done| async {}),
        nodes.for_each(|_done| async {}),
        pairs.for_each(|_done| async {}),
    );
    Ok(())
}

/// A controller's function, each call counted and in a trace of its own.
fn counted<K, F>(
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
    controller: label::Controller,
) -> impl FnMut(Arc<K>, Arc<Context>) -> BoxFuture<'static, Result<Action, Error>>
where
    K: Lookup<DynamicType = ()> + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    move |object, context| {
        let (seen, metrics) = (Arc::clone(&object), Arc::clone(&context.metrics));
        let work = reconcile(object, context);
        async move { metrics.reconcile(controller, &*seen, work).await }.boxed()
    }
}

fn of_cluster(namespace: Option<String>, cluster: &str) -> Option<ObjectRef<DefsCluster>> {
    namespace.map(|namespace| ObjectRef::new(cluster).within(&namespace))
}

/// The cluster of a secret that is not one of its nodes'. Some outlive it, so it doesn't own
/// them.
fn of_its_own(secret: &Secret) -> Option<ObjectRef<DefsCluster>> {
    let labels = secret.labels();
    let is_a_nodes = labels.contains_key(defs_crds::names::label::NODE);
    let cluster = labels.get(defs_crds::names::label::CLUSTER).filter(|_| !is_a_nodes)?;
    of_cluster(secret.metadata.namespace.clone(), cluster)
}

/// News as it is taken to be looked at.
fn taken<T>(news: mpsc::Receiver<T>, waiting: Level) -> impl Stream<Item = T> {
    ReceiverStream::new(news).inspect(move |_taken| waiting.fall())
}

/// The pairs of nodes of which there is news.
fn of_members(
    news: impl Stream<Item = AgentKey> + Send,
    pairs: Store<DefsPair>,
) -> impl Stream<Item = ObjectRef<DefsPair>> + Send {
    news.flat_map(move |AgentKey { namespace, node, .. }| {
        let is_its = |pair: &Arc<DefsPair>| {
            pair.metadata.namespace.as_deref() == Some(namespace.as_str())
                && pair.spec.members.iter().any(|member| member.node_ref.name == node)
        };
        let its: Vec<_> = pairs.state().into_iter().filter(is_its).collect();
        futures::stream::iter(its.into_iter().map(|pair| ObjectRef::from_obj(&*pair)))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn failed<K>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action
where
    K: Lookup<DynamicType = ()>,
{
    context.failed(&object, error)
}

/// How often in a row each object could not be looked after.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<BTreeMap<String, u32>>);

impl Failures {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more. How many came before it.
    pub(crate) fn again(&self, key: &str) -> u32 {
        let mut failures = self.lock();
        let times = failures.entry(key.to_owned()).or_default();
        let before = *times;
        *times = times.saturating_add(1);
        before
    }

    /// It went well.
    pub(crate) fn over<K: ResourceExt>(&self, kind: &str, object: &K) {
        let namespace = object.namespace().unwrap_or_default();
        self.lock().remove(&format!("{kind}/{namespace}/{}", object.name_any()));
    }

    /// Up to a quarter longer, so that what failed together doesn't come back together.
    pub(crate) fn jittered(&self, pause: Duration) -> Duration {
        let part = u32::from(OsRandom.array::<1>()[0]);
        pause + pause / 4 * part / 255
    }
}
