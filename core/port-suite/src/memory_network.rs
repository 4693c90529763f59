//! Peers in one process: services call each other through memory, under the same rules as
//! over real connections, and tests cut off whom they like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::body::Body;
use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::message::{Gossip, Request, Response};
use defs_core::port::{CallError, Peers, Publish, Reply, Service, Verdict};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::any_service::{AnyService, Whole};

/// Pairs that the hash table keeps for a locator.
const PROVIDERS_MAX: usize = 4;

/// A network that lives in memory. Clones are the same network.
///
/// A request that has been sent is served to its end even if its caller goes away or is
/// cut off, as a real node would.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    world: Arc<Mutex<World>>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct World {
    services: BTreeMap<NodeId, Arc<dyn AnyService>>,
    /// Each as (lower, higher).
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who has exchanged something, each as (lower, higher).
    connected: BTreeSet<(NodeId, NodeId)>,
    provided: BTreeMap<Locator, Vec<PairId>>,
    /// Told whenever somebody is cut off.
    changed: watch::Sender<()>,
    counts: Counts,
}

/// Messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that reached a service.
    pub requests: u64,
    /// Gossiped messages that reached a service.
    pub gossip: u64,
}

impl std::fmt::Debug for MemoryNetwork {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let world = self.lock();
        write!(out, "MemoryNetwork({} nodes, {:?})", world.services.len(), world.counts)
    }
}

fn link(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl World {
    fn is_linked(&self, one: NodeId, other: NodeId) -> bool {
        one != other && !self.cut.contains(&link(one, other))
    }

    /// Whoever was connected over one of `links` learns that the other is gone: these.
    fn disconnect(
        &mut self,
        links: impl IntoIterator<Item = (NodeId, NodeId)>,
    ) -> Vec<(Arc<dyn AnyService>, NodeId)> {
        let mut told = Vec::new();
        for (one, other) in links {
            if self.connected.remove(&link(one, other)) {
                for (whom, of) in [(one, other), (other, one)] {
                    told.extend(self.services.get(&whom).map(|service| (Arc::clone(service), of)));
                }
            }
        }
        self.changed.send_replace(());
        told
    }

    fn links_of(&self, node: NodeId) -> Vec<(NodeId, NodeId)> {
        let all = self.services.keys().filter(|other| **other != node);
        all.map(|other| link(node, *other)).collect()
    }
}

impl MemoryNetwork {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The way from `node` to others. It calls and publishes; it serves only after
    /// [`MemoryNetwork::serve`].
    #[must_use]
    pub fn peers(&self, node: NodeId) -> MemoryPeers {
        MemoryPeers { me: node, network: self.clone() }
    }

    /// From now on `service` answers for `node`.
    pub fn serve<S: Service>(&self, node: NodeId, service: Arc<S>) {
        self.lock().services.insert(node, Arc::new(Whole(service)));
    }

    /// `node` is switched off: it answers nobody until it serves again.
    pub fn stop(&self, node: NodeId) {
        let mut world = self.lock();
        world.services.remove(&node);
        let links = world.links_of(node);
        let told = world.disconnect(links);
        drop(world);
        tell(told);
    }

    /// Nothing passes between the two any more.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        let mut world = self.lock();
        world.cut.insert(link(one, other));
        let told = world.disconnect([link(one, other)]);
        drop(world);
        tell(told);
    }

    /// Nothing passes between `node` and anybody any more, but it runs on.
    pub fn isolate(&self, node: NodeId) {
        let mut world = self.lock();
        let links = world.links_of(node);
        world.cut.extend(&links);
        let told = world.disconnect(links);
        drop(world);
        tell(told);
    }

    /// The two reach each other again.
    pub fn heal(&self, one: NodeId, other: NodeId) {
        self.lock().cut.remove(&link(one, other));
    }

    /// All reach each other again.
    pub fn heal_all(&self) {
        self.lock().cut.clear();
    }

    /// Messages so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Waits until every request has been served and every message heard.
    pub async fn settle(&self) {
        while !self.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// No code panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who answers for `to`, if `from` reaches it.
    fn reach(
        &self,
        from: NodeId,
        to: NodeId,
    ) -> Result<(Arc<dyn AnyService>, watch::Receiver<()>), CallError> {
        let mut world = self.lock();
        let unreachable = |why: &str| CallError::Unreachable { to, why: why.to_owned() };
        if !world.is_linked(from, to) {
            return Err(unreachable("the link is cut"));
        }
        let Some(service) = world.services.get(&to).map(Arc::clone) else {
            return Err(unreachable("it is switched off"));
        };
        world.connected.insert(link(from, to));
        world.counts.requests += 1;
        Ok((service, world.changed.subscribe()))
    }

    /// Returns once `from` and `to` are not connected any more.
    async fn parted(&self, from: NodeId, to: NodeId, mut changed: watch::Receiver<()>) {
        while self.lock().connected.contains(&link(from, to)) {
            // The world lives as long as this network, and owns the sender.
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Hands `message` from node to node as long as they pass it on.
    fn spread(&self, from: NodeId, message: &Gossip) {
        let mut heard = BTreeSet::from([from]);
        let mut tellers = vec![from];
        while let Some(teller) = tellers.pop() {
            for (node, service) in self.neighbours(teller) {
                if heard.insert(node) {
                    self.lock().counts.gossip += 1;
                    if service.hear(message.clone()) == Verdict::PassOn {
                        tellers.push(node);
                    }
                }
            }
        }
    }

    fn neighbours(&self, node: NodeId) -> Vec<(NodeId, Arc<dyn AnyService>)> {
        let world = self.lock();
        let linked = world.services.iter().filter(|(other, _)| world.is_linked(node, **other));
        linked.map(|(other, service)| (*other, Arc::clone(service))).collect()
    }
}

fn tell(told: Vec<(Arc<dyn AnyService>, NodeId)>) {
    for (service, gone) in told {
        service.gone(gone);
    }
}

/// One node's way to the others.
#[derive(Debug, Clone)]
pub struct MemoryPeers {
    me: NodeId,
    network: MemoryNetwork,
}

impl Peers for MemoryPeers {
    fn me(&self) -> NodeId {
        self.me
    }

    async fn call(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        let (service, changed) = self.network.reach(self.me, to)?;
        let (answer, answered) = oneshot::channel();
        let caller = self.me;
        self.network.tasks.spawn(async move {
            // Nobody hears the answer if the caller gave up.
            drop(answer.send(service.serve(caller, request, body).await));
        });
        let unreachable = |why: &str| CallError::Unreachable { to, why: why.to_owned() };
        let reply = tokio::select! {
            biased;
            () = self.network.parted(self.me, to, changed) => {
                return Err(unreachable("the connection broke"));
            }
            reply = answered => reply,
        };
        match reply {
            Ok(Reply { response: Response::Refused(refusal), .. }) => {
                Err(CallError::Refused { to, refusal })
            }
            Ok(reply) => Ok(reply),
            Err(_) => Err(unreachable("its service panicked")),
        }
    }

    fn learn(&self, _: NodeId, _: &[String]) {}
}

impl Publish for MemoryPeers {
    fn publish(&self, message: Gossip) {
        let (network, me) = (self.network.clone(), self.me);
        self.network.tasks.spawn(async move { network.spread(me, &message) });
    }

    async fn look_up(&self, locator: Locator) -> Vec<PairId> {
        self.network.lock().provided.get(&locator).cloned().unwrap_or_default()
    }

    fn provide(&self, locator: Locator, pair: PairId) {
        let mut world = self.network.lock();
        let pairs = world.provided.entry(locator).or_default();
        pairs.retain(|known| *known != pair);
        pairs.insert(0, pair);
        pairs.truncate(PROVIDERS_MAX);
    }
}
