//! How a swarm starts, serves and ends.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::{Gossip, Reason, Refusal, Request, Response};
use defs_core::network::Reach;
use defs_core::port::{Reply, Service, Verdict};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, SwarmBuilder, noise, tcp};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::behaviour::{Behaviour, BehaviourEvent, NEGOTIATING_MAX};
use crate::call::Caller;
use crate::config::{StartError, SwarmConfig};
use crate::dialling::Dialling;
use crate::entrance::Entrance;
use crate::event_loop::{Command, EARLY_REFRESHES, EventLoop, ReachedAt, View};
use crate::frame::Frames;
use crate::gossip;
use crate::handle::{Shared, SwarmHandle};
use crate::identity::{keypair, node_id};
use crate::kad::LookUps;
use crate::muxer;
use crate::opening::Acceptor;
use crate::places::Places;
use crate::pool::Pool;
use crate::served::Server;
use crate::via::{Detours, Sealing};

/// Commands that may wait for the event loop. It answers each in microseconds, so only a
/// burst of look-ups or gossip fills this.
const COMMANDS: usize = 1024;

/// How long a connection without streams stays.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// What a peer is to the network.
pub(crate) enum Role {
    /// Serves others, gossips, and keeps a part of the hash table.
    Node(Acceptor),
    /// Only asks.
    Client,
}

/// A swarm that listens, but does not serve yet: whatever serves needs its handle first.
pub struct Swarm {
    pub(crate) swarm: libp2p::Swarm<Behaviour>,
    pub(crate) early: Vec<SwarmEvent<BehaviourEvent>>,
    commands: mpsc::Receiver<Command>,
    pub(crate) view: watch::Sender<View>,
    handle: SwarmHandle,
    acceptor: Acceptor,
    sealing: Sealing,
    bootstrap: Vec<Multiaddr>,
    places: Places,
    pub(crate) config: SwarmConfig,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Swarm({})", self.handle.me)
    }
}

impl Swarm {
    /// A node's swarm, listening where `config` says.
    pub async fn start(config: SwarmConfig) -> Result<Self, StartError> {
        let acceptor = Acceptor::default();
        let mut started = Self::build(config, &Role::Node(Arc::clone(&acceptor)))?;
        started.acceptor = acceptor;
        started.listen().await?;
        Ok(started)
    }

    /// A client's swarm: it asks, and serves, gossips and listens to nothing.
    pub fn start_client(config: SwarmConfig) -> Result<(SwarmHandle, Running), StartError> {
        let started = Self::build(config, &Role::Client)?;
        let handle = started.handle();
        Ok((handle, started.run(Arc::new(NoService))))
    }

    /// The way to other peers; it works once the swarm serves.
    #[must_use]
    pub fn handle(&self) -> SwarmHandle {
        self.handle.clone()
    }

    /// Serves requests and gossip with `service` from now on.
    #[must_use]
    pub fn serve<S: Service>(self, service: Arc<S>) -> Running {
        let server = Server {
            service: Arc::clone(&service),
            tasks: self.handle.caller.tasks.clone(),
            shutdown: self.handle.caller.shutdown.clone(),
            limits: self.config.limits,
            timeouts: self.config.timeouts,
            counters: Arc::clone(&self.handle.caller.counters),
            frames: self.handle.caller.frames.clone(),
        };
        let (me, commands) = (self.handle.me, self.handle.commands.clone());
        let entrance = Entrance::new(me, server, commands, self.sealing.clone());
        // Set once: `self` is consumed here.
        drop(self.acceptor.set(Box::new(entrance)));
        self.run(service)
    }

    fn run<S: Service>(self, service: Arc<S>) -> Running {
        let stop = CancellationToken::new();
        let running = Running {
            stop: stop.clone(),
            event_loop: TaskTracker::new(),
            handle: self.handle.clone(),
            bound: self.config.timeouts.shutdown,
        };
        let event_loop = EventLoop {
            places: self.places,
            reached_at: ReachedAt::of(&self.config),
            is_judged: false,
            swarm: self.swarm,
            commands: self.commands,
            service,
            caller: Arc::clone(&self.handle.caller),
            shared: Arc::clone(&self.handle.shared),
            view: self.view,
            bootstrap: self.bootstrap,
            dialling: Dialling::default(),
            look_ups: LookUps::default(),
            early_refreshes: EARLY_REFRESHES,
        };
        running.event_loop.spawn(event_loop.run(self.early, stop));
        running.event_loop.close();
        running
    }

    fn build(config: SwarmConfig, role: &Role) -> Result<Self, StartError> {
        let bootstrap = parse_all(&config.discovery.bootstrap)?;
        let has_bootstrap = !bootstrap.is_empty();
        let external = parse_all(&config.external)?;
        let mut swarm = build_swarm(&config, role)?;
        for address in &external {
            swarm.add_external_address(address.clone());
        }
        let me = node_id(swarm.local_peer_id())
            .ok_or_else(|| set_up("the peer id")("its key is not hashed"))?;
        let (commands, queue) = mpsc::channel(COMMANDS);
        let listens = !config.listen.is_empty() || ReachedAt::of(&config) == ReachedAt::Told;
        let is_hidden = matches!(role, Role::Node(_)) && !listens;
        let reach = if is_hidden { Reach::Hidden } else { Reach::Open };
        let (view, reader) = watch::channel(View { external, reach, ..View::default() });
        let counters = Arc::default();
        let frames = Frames::new(config.limits.frames_kept);
        let (limits, timeouts) = (config.limits, config.timeouts);
        let sealing = Sealing::new(&keypair(&config.secret)?).map_err(set_up("noise"))?;
        let mut pool =
            Pool::new(commands.clone(), limits, timeouts, Arc::clone(&counters), frames.clone());
        if matches!(role, Role::Client) {
            let ways = (commands.clone(), reader.clone());
            pool = pool.with_detours(Detours::new(me, sealing.clone(), ways, has_bootstrap));
        }
        let caller = Caller {
            pool,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            timeouts,
            counters,
            frames,
        };
        let handle = SwarmHandle {
            me,
            caller: Arc::new(caller),
            shared: Arc::new(Shared::default()),
            commands,
            view: reader,
        };
        Ok(Self {
            swarm,
            early: Vec::new(),
            commands: queue,
            view,
            handle,
            acceptor: Acceptor::default(),
            sealing,
            places: Places::new(&bootstrap, is_hidden),
            bootstrap,
            config,
        })
    }
}

/// A swarm at work. Dropping it stops it at once.
pub struct Running {
    stop: CancellationToken,
    event_loop: TaskTracker,
    handle: SwarmHandle,
    bound: Duration,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Running({})", self.handle.me)
    }
}

impl Running {
    /// Takes no further request, lets running exchanges end within the configured bound,
    /// and closes all connections.
    pub async fn shutdown(self) {
        let caller = &self.handle.caller;
        caller.shutdown.cancel();
        caller.tasks.close();
        if timeout(self.bound, caller.tasks.wait()).await.is_err() {
            tracing::warn!(bound = ?self.bound, "exchanges were cut off at shutdown");
        }
        self.stop.cancel();
        self.event_loop.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.caller.shutdown.cancel();
        self.stop.cancel();
    }
}

fn build_swarm(config: &SwarmConfig, role: &Role) -> Result<libp2p::Swarm<Behaviour>, StartError> {
    let key = keypair(&config.secret)?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer::Upgrade::default)
        .map_err(set_up("noise"))?
        .with_quic()
        .with_dns()
        .map_err(set_up("DNS"))?
        .with_relay_client(noise::Config::new, muxer::Upgrade::default)
        .map_err(set_up("relayed connections"))?
        .with_behaviour(|key, relayed| Behaviour::new(key, relayed, config, role))
        .map_err(set_up("the protocols"))?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(IDLE_CONNECTION)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        // So that two attempts fit, over TCP and QUIC.
        .with_connection_timeout(config.timeouts.dial / 2);
    let mut swarm = swarm.build();
    if let Some(gossip) = swarm.behaviour_mut().gossip.as_mut() {
        gossip::subscribe(gossip).map_err(set_up("gossip"))?;
    }
    Ok(swarm)
}

fn set_up<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    part: &'static str,
) -> impl FnOnce(E) -> StartError {
    move |error| StartError::SetUp { part, source: error.into() }
}

fn parse_all(texts: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|source| StartError::Address { text: text.clone(), source })
        })
        .collect()
}

/// What a client serves.
struct NoService;

impl Service for NoService {
    async fn serve(&self, _: NodeId, _: Request, _: Body) -> Reply {
        let refusal = Refusal::new(Reason::NotAllowed, "a client serves nothing");
        Reply::bare(Response::Refused(refusal))
    }

    fn hear(&self, _: Gossip) -> Verdict {
        Verdict::Ignore
    }

    fn gone(&self, _: NodeId) {}
}
