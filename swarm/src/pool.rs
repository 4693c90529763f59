//! Lanes to other peers, kept open between calls. A lane comes back only after a clean
//! exchange; anything else drops it, which the other side sees as its end.

mod ways;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::ids::NodeId;
use defs_core::port::CallError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::channel::Channel;
use crate::config::{Limits, Timeouts};
use crate::event_loop::Command;
use crate::family::Family;
use crate::frame::Frames;
use crate::lane::{Lane, LaneError};
use crate::opening::NotOpened;
use crate::stats::Counters;
use crate::via::{Carrier, Detours};

/// Times that a lane is asked for if the peer closes it unused.
const ATTEMPTS: usize = 2;

pub(crate) struct Pool {
    peers: Mutex<HashMap<NodeId, Arc<PeerLanes>>>,
    commands: mpsc::Sender<Command>,
    limits: Limits,
    timeouts: Timeouts,
    counters: Arc<Counters>,
    frames: Frames,
    /// Of clients: nodes reach each other themselves.
    detours: Option<Detours>,
}

type PeerLanes = [FamilyLanes; Family::COUNT];

struct FamilyLanes {
    /// As many as lanes may be in use.
    permits: Arc<Semaphore>,
    /// The last one back is the first one out, so that what isn't needed grows old.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    lane: OpenLane,
    since: Instant,
}

/// A lane that counts itself.
struct OpenLane {
    lane: Lane<Carrier>,
    counters: Arc<Counters>,
    /// Its place among those that go by way of other nodes, if it does.
    detour: Option<OwnedSemaphorePermit>,
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.counters.lanes_opened.less_one();
    }
}

/// A lane in use. Dropped without [`Leased::give_back`], it closes.
pub(crate) struct Leased {
    lane: OpenLane,
    home: Arc<PeerLanes>,
    family: Family,
    _permit: OwnedSemaphorePermit,
}

impl Leased {
    pub(crate) fn lane(&mut self) -> &mut Lane<Carrier> {
        &mut self.lane.lane
    }

    /// Keeps the lane for the next call.
    pub(crate) fn give_back(self) {
        let idle = Idle { lane: self.lane, since: Instant::now() };
        lock(&self.home[self.family.index()].idle).push(idle);
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        limits: Limits,
        timeouts: Timeouts,
        counters: Arc<Counters>,
        frames: Frames,
    ) -> Self {
        let (peers, detours) = (Mutex::default(), None);
        Self { peers, commands, limits, timeouts, counters, frames, detours }
    }

    /// The same pool, which goes by way of other nodes where it has to.
    pub(crate) fn with_detours(self, detours: Detours) -> Self {
        Self { detours: Some(detours), ..self }
    }

    /// A lane to `to` that somebody serves.
    pub(crate) async fn lease(&self, to: NodeId, family: Family) -> Result<Leased, CallError> {
        let home = self.lanes_to(to);
        let lanes = &home[family.index()];
        let waiting = timeout(self.timeouts.response, Arc::clone(&lanes.permits).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else { return Err(CallError::TimedOut { to }) };
        let lane = match self.reuse(to, lanes) {
            Some(lane) => lane,
            None => self.open(to, family).await?,
        };
        Ok(Leased { lane, home, family, _permit: permit })
    }

    /// Closes what is kept for `peer`: nobody is connected to it any more. What goes by way of
    /// others stays.
    pub(crate) fn forget(&self, peer: &NodeId) {
        let mut peers = lock(&self.peers);
        let Some(lanes) = peers.get(peer).map(Arc::clone) else { return };
        if self.detours.is_none() {
            peers.remove(peer);
            return;
        }
        drop(peers);
        for lanes in lanes.iter() {
            lock(&lanes.idle).retain(|idle| idle.lane.detour.is_some());
        }
    }

    fn lanes_to(&self, peer: NodeId) -> Arc<PeerLanes> {
        let lanes = |family: &Family| {
            let most = match family {
                Family::Shard => self.limits.shard_lanes_to_peer,
                Family::Record | Family::Pair | Family::Locate | Family::Repair => {
                    self.limits.lanes_to_peer
                }
            };
            FamilyLanes { permits: Arc::new(Semaphore::new(most)), idle: Mutex::default() }
        };
        let mut peers = lock(&self.peers);
        Arc::clone(peers.entry(peer).or_insert_with(|| Arc::new(Family::ALL.each_ref().map(lanes))))
    }

    /// An idle lane that its other end still serves. The server closes lanes that were
    /// idle for long; half of that time keeps us from using one just as it closes.
    fn reuse(&self, to: NodeId, lanes: &FamilyLanes) -> Option<OpenLane> {
        loop {
            let Idle { mut lane, since } = lock(&lanes.idle).pop()?;
            let is_young = since.elapsed() < self.timeouts.lane_idle / 2;
            if is_young && !self.is_outdated(to, &lane) && lane.lane.is_quiet() {
                return Some(lane);
            }
        }
    }

    /// A new lane on a connection to `to`, or why there is none.
    async fn open_directly(&self, to: NodeId, family: Family) -> Result<OpenLane, String> {
        for _ in 0..ATTEMPTS {
            match timeout(self.timeouts.dial, self.open_once(to, family)).await {
                Ok(Ok(Ok(lane))) => return Ok(lane),
                Ok(Ok(Err(_closed_unused))) => {}
                Ok(Err(not_opened)) => return Err(not_opened.to_string()),
                Err(_) => {
                    let limit = self.timeouts.dial;
                    return Err(format!("no connection within {limit:?}"));
                }
            }
        }
        Err("it closes every lane at once; it may be too busy".to_owned())
    }

    async fn open_once(
        &self,
        to: NodeId,
        family: Family,
    ) -> Result<Result<OpenLane, LaneError>, NotOpened> {
        let (answer, opened) = oneshot::channel();
        let gone = |what: &str| NotOpened::Unreachable(what.to_owned());
        let command = Command::Open { to, channel: Channel::Lane(family), answer };
        let asked = self.commands.send(command).await;
        asked.map_err(|_stopped| gone("this swarm has stopped"))?;
        let stream = opened.await.map_err(|_dropped| gone("the connection closed"))??;
        let mut lane = self.on(Carrier::Direct(stream), None);
        Ok(lane.lane.await_greeting().await.map(|()| lane))
    }

    /// A lane on `carrier`, counted.
    fn on(&self, carrier: Carrier, detour: Option<OwnedSemaphorePermit>) -> OpenLane {
        self.counters.lanes_opened.add(1);
        let lane = Lane::new(carrier, self.timeouts.progress, self.frames.clone());
        OpenLane { lane, counters: Arc::clone(&self.counters), detour }
    }
}
