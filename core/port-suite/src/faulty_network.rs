//! A network in one process whose messages take their time, get lost, come twice and
//! overtake each other, and whose machines may be cut off, in one direction or both.
//!
//! A request is served by a task of its own, which ends with the machine that serves it.
//! An exchange of which a message is lost ends for its caller after
//! [`Weather::patience`], as a transport's own bound would end it.

mod call;
mod flow;
mod gossip;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::port::Service;
use tokio_util::task::TaskTracker;

use crate::any_service::{AnyService, Whole};
use crate::host::{Host, Nature};
use gossip::Grapevine;

pub use call::FaultyPeers;

/// Pairs that the hash table keeps for a locator.
const PROVIDERS_MAX: usize = 4;

/// What messages are up against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// The shortest time that a message takes.
    pub delay_min: Duration,
    /// The longest.
    pub delay_max: Duration,
    /// Of a thousand messages, so many are lost.
    pub lost: u64,
    /// Of a thousand requests, so many are served twice.
    pub doubled: u64,
    /// When an exchange without an answer ends for its caller.
    pub patience: Duration,
}

impl Weather {
    /// Messages arrive at once.
    pub const STILL: Self = Self {
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
        lost: 0,
        doubled: 0,
        patience: Duration::from_secs(30),
    };
}

/// Messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that reached a service.
    pub requests: u64,
    /// Gossiped messages that reached a service.
    pub gossip: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// The most requests that one machine served at once.
    pub served_at_once: usize,
    /// The most gossiped messages that were on their way at once.
    pub gossip_at_once: usize,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct FaultyNetwork {
    world: Arc<Mutex<World>>,
    grapevine: Arc<Grapevine>,
    nature: Arc<dyn Nature>,
    tasks: TaskTracker,
}

struct World {
    weather: Weather,
    places: BTreeMap<NodeId, Place>,
    /// Directions in which nothing passes: from, to.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Machines whose messages take longer.
    slow: BTreeMap<NodeId, Duration>,
    /// Who has exchanged something, each as (lower, higher).
    connected: BTreeSet<(NodeId, NodeId)>,
    provided: BTreeMap<Locator, Vec<PairId>>,
    traffic: Traffic,
    /// Requests that were sent, by what they ask.
    asked: BTreeMap<&'static str, u64>,
}

/// Where a node is served.
#[derive(Clone)]
struct Place {
    host: Arc<Host>,
    service: Arc<dyn AnyService>,
    serving: usize,
}

fn link(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl std::fmt::Debug for FaultyNetwork {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let world = self.world();
        write!(out, "FaultyNetwork({} nodes, {:?})", world.places.len(), world.traffic)
    }
}

impl FaultyNetwork {
    /// A network without nodes, in still weather.
    #[must_use]
    pub fn new(nature: Arc<dyn Nature>) -> Self {
        let world = World {
            weather: Weather::STILL,
            places: BTreeMap::new(),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            connected: BTreeSet::new(),
            provided: BTreeMap::new(),
            traffic: Traffic::default(),
            asked: BTreeMap::new(),
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            grapevine: Arc::default(),
            nature,
            tasks: TaskTracker::new(),
        }
    }

    /// The way from `node`, on `host`, to others. It calls and publishes; it serves only
    /// after [`FaultyNetwork::serve`].
    #[must_use]
    pub fn peers(&self, node: NodeId, host: Arc<Host>) -> FaultyPeers {
        let (network, life) = (self.clone(), Arc::clone(&host));
        self.tasks.spawn(async move {
            life.life().cancelled().await;
            network.ended(node, &life);
        });
        FaultyPeers::new(node, host, self.clone())
    }

    /// From now on `service` answers for `node`, as long as `host` is on.
    pub fn serve<S: Service>(&self, node: NodeId, host: &Arc<Host>, service: Arc<S>) {
        let service = Arc::new(Whole(service));
        let place = Place { host: Arc::clone(host), service, serving: 0 };
        self.world().places.insert(node, place);
        self.begin_gossip();
    }

    /// From now on messages are up against this.
    pub fn set_weather(&self, weather: Weather) {
        self.world().weather = weather;
    }

    /// What messages are up against.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.world().weather
    }

    /// Nothing passes from `from` to `to` any more. Their connections break.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        let mut world = self.world();
        world.cut.insert((from, to));
        let told = world.disconnect(from, to);
        drop(world);
        tell(told);
    }

    /// Messages pass from `from` to `to` again.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.world().cut.remove(&(from, to));
    }

    /// All reach each other again, at their usual pace.
    pub fn heal_all(&self) {
        let mut world = self.world();
        world.cut.clear();
        world.slow.clear();
    }

    /// Messages from and to `node` take so much longer.
    pub fn slow_down(&self, node: NodeId, by: Duration) {
        self.world().slow.insert(node, by);
    }

    /// Messages from and to `node` take their usual time.
    pub fn speed_up(&self, node: NodeId) {
        self.world().slow.remove(&node);
    }

    /// Nobody is served any more. A network and those that it serves hold each other in
    /// memory until then.
    pub fn end(&self) {
        let places = std::mem::take(&mut self.world().places);
        drop(places);
    }

    /// Messages so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.world().traffic
    }

    /// How many requests of this kind were sent so far, as traces name it.
    #[must_use]
    pub fn asked(&self, kind: &str) -> u64 {
        self.world().asked.get(kind).copied().unwrap_or(0)
    }

    /// The requests that `node` serves now.
    #[must_use]
    pub fn serving(&self, node: NodeId) -> usize {
        self.world().places.get(&node).map_or(0, |place| place.serving)
    }

    fn ended(&self, node: NodeId, host: &Arc<Host>) {
        let mut world = self.world();
        // Another life may have begun meanwhile.
        if world.places.get(&node).is_some_and(|place| Arc::ptr_eq(&place.host, host)) {
            world.places.remove(&node);
        }
        let others: BTreeSet<_> = world
            .connected
            .iter()
            .filter(|(one, other)| *one == node || *other == node)
            .map(|(one, other)| if *one == node { *other } else { *one })
            .collect();
        let told: Vec<_> =
            others.into_iter().flat_map(|other| world.disconnect(node, other)).collect();
        drop(world);
        tell(told);
    }

    /// No code panics while it holds this lock.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Told = (Arc<dyn AnyService>, NodeId);

fn tell(told: Vec<Told>) {
    for (service, gone) in told {
        service.gone(gone);
    }
}

impl World {
    fn passes(&self, from: NodeId, to: NodeId) -> bool {
        from != to && !self.cut.contains(&(from, to))
    }

    /// Both learn that the other is gone, if they were connected.
    fn disconnect(&mut self, one: NodeId, other: NodeId) -> Vec<Told> {
        let mut told = Vec::new();
        if self.connected.remove(&link(one, other)) {
            for (whom, of) in [(one, other), (other, one)] {
                let place = self.places.get(&whom).filter(|place| place.host.is_on());
                told.extend(place.map(|place| (Arc::clone(&place.service), of)));
            }
        }
        told
    }

    /// How long a message takes.
    fn delay(&self, nature: &dyn Nature, (from, to): (NodeId, NodeId)) -> Duration {
        let Weather { delay_min, delay_max, .. } = self.weather;
        let spread = delay_max.saturating_sub(delay_min).as_micros();
        let drawn = nature.draw(u64::try_from(spread).unwrap_or(u64::MAX));
        let slow = |node| self.slow.get(node).copied().unwrap_or_default();
        delay_min + Duration::from_micros(drawn) + slow(&from) + slow(&to)
    }
}
