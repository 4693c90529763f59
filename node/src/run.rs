//! A node's life in order: take the disk, open the doors, serve, and stop without losing
//! what was acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use defs_core::settings::Settings;
use defs_engine::{Contact, Engine, EngineConfig, MIRROR_STORES_MAX, Timings, World};
use defs_identity::SecretKey;
use defs_launch::logging::Lines;
use defs_launch::{
    CpuPool, Export, Exporting, OsRandom, SystemClock, environment, logging, panic, signals,
};
use defs_pairing::detector;
use defs_store::{Store, StoreConfig, Synced};
use defs_swarm::{Discovery, Limits, Swarm, SwarmConfig, SwarmHandle, Timeouts};
use defs_telemetry::{ExportMetrics, NodeMetrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Node};
use crate::data_folder::DataFolder;
use crate::enrolment;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::place;
use crate::status_port;
use crate::tls::{self, Tls};
use crate::upkeep::{self, Rests};

/// How often the node's card is compared with how others reach the node. A node that finds out
/// that it is hidden has said so before the first pairs are planned.
const CONTACT_EVERY: Duration = Duration::from_millis(500);

/// Threads that rebuild shards: one stripe at a time is rebuilt, and requests go on.
const REBUILDERS: u32 = 1;

/// How long tasks may take to end at shutdown.
const STOP_WITHIN: Duration = Duration::from_secs(10);

// A store whose disk had fewer places would wait for one with another's place in hand.
const _: () = assert!(defs_engine::STORES_MAX <= defs_store::STORES_MAX);

/// The real ports.
#[derive(Debug)]
pub(crate) struct Real;

impl World for Real {
    type Peers = SwarmHandle;
    type Disk = Store;
    type Clock = SystemClock;
    type Random = OsRandom;
    type Compute = CpuPool;
}

/// Runs a node until it is asked to stop.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let export = logging::start_with_traces(&settings, "defs-node", Lines::Kept, environment())?;
    panic::abort_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(&settings))
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::select! {
            never = signals::stop_requested(stop.clone())? => match never {},
            ended = serve(settings, export, stop) => ended,
        }
    })
}

fn workers(settings: &Settings) -> usize {
    let asked = settings.workers.and_then(|workers| usize::try_from(workers).ok());
    asked
        .or_else(|| std::thread::available_parallelism().ok().map(std::num::NonZeroUsize::get))
        .unwrap_or(2)
}

/// Serves until `stop`.
pub(crate) async fn serve(
    settings: Settings,
    export: Option<Export>,
    stop: CancellationToken,
) -> Result<()> {
    let metrics = Metrics::new();
    // Boxed, so that the node's future is small for all the time that it only waits.
    let Some(opened) = Box::pin(open(&settings, &metrics.node, &stop)).await? else {
        return Ok(());
    };
    let Opened { folder, store, swarm, engine } = opened;
    let peers = swarm.handle();
    let tasks = TaskTracker::new();
    let (given_back, counts) = (metrics.node.store_compacted.clone(), metrics.export.clone());
    tasks.spawn(upkeep::compact(store.clone(), given_back, Rests::default(), stop.clone()));
    let watchers = (tasks.clone(), stop.clone());
    let invite = settings.invite_file.clone().unwrap_or_else(|| folder.invite());
    let node = Node::new(Arc::clone(&engine), (peers.clone(), store), metrics, watchers, invite);
    let node = Arc::new(node);
    let exporting = export.map(|export| begin(export, counts, &node));
    open_doors(&node, &folder, &settings, (&tasks, &stop)).await?;
    let running = swarm.serve(Arc::clone(&engine));
    engine.start(&tasks, &stop);
    tasks.spawn(follow_contact(engine, peers, stop.clone()));
    node.is_ready();
    tracing::info!("ready");
    stop.cancelled().await;
    // First no new requests and the running ones to their end, then the tasks.
    running.shutdown().await;
    end(&tasks).await;
    if let Some(exporting) = exporting {
        exporting.end().await;
    }
    Ok(())
}

/// Begins to export what the node records and counts.
fn begin(export: Export, counts: ExportMetrics, node: &Arc<Node>) -> Exporting {
    let node = Arc::clone(node);
    export.start(counts, SystemClock::new(), move || node.measured())
}

/// What a node has taken before it serves.
struct Opened {
    folder: DataFolder,
    store: Store,
    swarm: Swarm,
    engine: Arc<Engine<Real>>,
}

/// Takes the disk, then the ports, and reads back what the node knew. `None` if it is to stop
/// before it was admitted.
async fn open(
    settings: &Settings,
    metrics: &NodeMetrics,
    stop: &CancellationToken,
) -> Result<Option<Opened>> {
    let folder = DataFolder::open(&settings.data_dir)?;
    let secret = folder.key()?;
    let key = SecretKey::from_bytes(&secret)?;
    enrolment::until_admitted(&folder, settings, &key, stop).await?;
    if stop.is_cancelled() {
        return Ok(None);
    }
    let membership = Membership::find(&folder, settings, &key)?;
    let capacity = folder.capacity(settings.capacity)?;
    let network = membership.genesis.network();
    let mut config = StoreConfig::new(folder.store(), capacity, network);
    let fsync = metrics.store_fsync.clone();
    config.synced = Synced::hook(move |time| fsync.took(time));
    let store = Store::open(config)?;
    let swarm = Swarm::start(swarm_config(settings, secret)).await?;
    let config = EngineConfig {
        genesis: membership.genesis,
        admission: membership.admission,
        labels: place::labels(settings, &folder.place())?,
        timings: timings(settings)?,
        pairing: settings.pairing,
        repair_rate: settings.repair_rate.0,
    };
    let ports = (swarm.handle(), store.clone());
    let compute = CpuPool::new(Some(REBUILDERS))?;
    let chance = (SystemClock::new(), OsRandom, compute);
    let engine = Engine::open_measured(config, key, ports, chance, metrics.clone()).await?;
    engine.set_contact(contact(&swarm.handle()));
    tracing::info!(node = %engine.me(), %network, capacity, "open");
    Ok(Some(Opened { folder, store, swarm, engine }))
}

/// The rhythms that follow from how soon silence is to count.
fn timings(settings: &Settings) -> Result<Timings> {
    let Settings { suspect_after, fail_after, replace_after, balance_every, .. } = *settings;
    let heartbeat = settings.heartbeat.unwrap_or(suspect_after / 3);
    let watch = detector::Timings::new(heartbeat, suspect_after, fail_after, replace_after)
        .context("heartbeat, suspectAfter, failAfter and replaceAfter must rise in this order")?;
    Ok(Timings {
        watch,
        probe: Timings::default().probe.min(suspect_after),
        // Everybody is heard a few times before anybody counts as away.
        card: suspect_after * 5 / 6,
        card_stale: suspect_after * 8 / 3,
        balance: balance_every,
        ..Timings::default()
    })
}

/// The admin socket, and the admin port and the status port if they are wanted.
async fn open_doors(
    node: &Arc<Node>,
    folder: &DataFolder,
    settings: &Settings,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<()> {
    let admin = admin::listen(&folder.admin_socket())?;
    tasks.spawn(admin::serve(Arc::clone(node), admin, stop.clone()));
    if let Some(folder) = settings.tls_dir.as_deref().filter(|_| settings.admin_port != 0) {
        let tls = Tls::open(folder)?;
        let address = SocketAddr::new(settings.listen_address, settings.admin_port);
        let listener = tls::listen(address).await?;
        let owners = (tasks.clone(), stop.clone());
        tasks.spawn(admin::serve_tls(Arc::clone(node), listener, tls, owners));
    }
    if settings.status_port != 0 {
        let address = SocketAddr::new(settings.listen_address, settings.status_port);
        let listener = status_port::listen(address).await?;
        tasks.spawn(status_port::serve(Arc::clone(node), listener, stop.clone()));
    }
    Ok(())
}

async fn end(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(STOP_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("tasks were cut off at shutdown");
    }
    tracing::info!("stopped");
}

fn swarm_config(settings: &Settings, secret: zeroize::Zeroizing<[u8; 32]>) -> SwarmConfig {
    SwarmConfig {
        secret,
        listen: vec![SocketAddr::new(settings.listen_address, settings.port)],
        external: settings.announce.clone(),
        discovery: Discovery {
            bootstrap: settings.bootstrap_peers.clone(),
            mdns: settings.mdns,
            relay: settings.bootstrap,
        },
        limits: Limits {
            connections: settings.max_connections,
            shard_lanes_to_peer: MIRROR_STORES_MAX,
            ..Limits::default()
        },
        timeouts: Timeouts { dial: settings.dial_timeout, ..Timeouts::default() },
    }
}

/// How others reach the node now.
fn contact(peers: &SwarmHandle) -> Contact {
    Contact { addresses: peers.announced_addresses(), reach: peers.reach() }
}

/// Keeps the node's card true to how others reach the node.
async fn follow_contact(engine: Arc<Engine<Real>>, peers: SwarmHandle, stop: CancellationToken) {
    let mut every = tokio::time::interval(CONTACT_EVERY);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        engine.set_contact(contact(&peers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_is_set_to_reaches_its_connections() {
        let of = |set: &[(&str, &str)]| {
            let mut settings = Settings::default();
            for (name, value) in set {
                settings.set(name, value).unwrap();
            }
            swarm_config(&settings, zeroize::Zeroizing::new([1; 32]))
        };
        let Discovery { bootstrap, mdns, relay } = of(&[]).discovery;
        assert_eq!((bootstrap, mdns, relay), (vec![], false, false));
        let peer = "/ip4/192.0.2.1/tcp/4001";
        let set = [("bootstrap", "on"), ("mdns", "on"), ("bootstrapPeers", peer)];
        let Discovery { bootstrap, mdns, relay } = of(&set).discovery;
        assert_eq!((bootstrap, mdns, relay), (vec![peer.to_owned()], true, true));
        let listening = of(&[("listenAddress", "127.0.0.2"), ("port", "4002")]).listen;
        assert_eq!(listening, ["127.0.0.2:4002".parse().unwrap()]);
        let limited = of(&[("maxConnections", "8"), ("dialTimeout", "2s")]);
        assert_eq!(limited.limits.connections, 8);
        assert_eq!(limited.timeouts.dial, Duration::from_secs(2));
    }

    #[test]
    fn what_counts_as_silence_sets_the_rhythms() {
        let of = |set: &[(&str, &str)]| {
            let mut settings = Settings::default();
            for (name, value) in set {
                settings.set(name, value).unwrap();
            }
            timings(&settings)
        };
        assert_eq!(of(&[]).unwrap(), Timings::default());
        let set = [("suspectAfter", "3s"), ("failAfter", "4s"), ("replaceAfter", "9s")];
        let quick = of(&[&set[..], &[("balanceEvery", "2s")]].concat()).unwrap();
        assert_eq!(quick.balance, Duration::from_secs(2));
        let [beat, suspect, fail, replace] = [1, 3, 4, 9].map(Duration::from_secs);
        assert_eq!(quick.watch, detector::Timings::new(beat, suspect, fail, replace).unwrap());
        assert_eq!(
            (quick.card_stale, quick.probe),
            (Duration::from_secs(8), Duration::from_secs(2))
        );
        let eager = of(&[("heartbeat", "500ms")]).unwrap();
        assert_eq!(eager.watch.heartbeat(), Duration::from_millis(500));
        for wrong in [("failAfter", "5s"), ("heartbeat", "6s")] {
            let error = of(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("must rise"), "{error}");
        }
    }
}
