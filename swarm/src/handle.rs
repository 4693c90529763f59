//! The ports' side of the swarm.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::message::{Gossip, Request};
use defs_core::network::{ADDRESSES_MAX, Reach};
use defs_core::port::{CallError, Peers, Publish, Reply};
use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use crate::addresses::{AddressBook, is_relayed, to_announce};
use crate::call::Caller;
use crate::event_loop::{Command, View};
use crate::stats::SwarmStats;

/// What the event loop and all handles share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) book: AddressBook,
}

/// A way to other peers; cheap to clone.
#[derive(Clone)]
pub struct SwarmHandle {
    pub(crate) me: NodeId,
    pub(crate) caller: Arc<Caller>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) view: watch::Receiver<View>,
}

impl SwarmHandle {
    /// The peers that a connection stands to, in the order of their ids.
    #[must_use]
    pub fn connected_peers(&self) -> Vec<NodeId> {
        self.view.borrow().peers.iter().copied().collect()
    }

    /// Whether a connection to `peer` stands.
    #[must_use]
    pub fn is_connected(&self, peer: &NodeId) -> bool {
        self.view.borrow().peers.contains(peer)
    }

    /// Where this peer listens, as multiaddresses with the ports it got.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<String> {
        self.view.borrow().listening.iter().map(Multiaddr::to_string).collect()
    }

    /// Where others reach this peer, for its card: what it was told or has found out,
    /// else where it listens; the places that relays keep for a peer that can't be dialled.
    #[must_use]
    pub fn announced_addresses(&self) -> Vec<String> {
        let view = self.view.borrow();
        let announced = to_announce(&view.listening, &view.external);
        announced.iter().take(ADDRESSES_MAX).map(Multiaddr::to_string).collect()
    }

    /// Whether others can dial this peer, as far as it has found out.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.view.borrow().reach
    }

    /// What the swarm has done so far.
    #[must_use]
    pub fn stats(&self) -> SwarmStats {
        let view = self.view.borrow();
        let places = view.external.iter().filter(|address| is_relayed(address)).count();
        self.caller.counters.snapshot(places as u64)
    }
}

impl std::fmt::Debug for SwarmHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SwarmHandle({})", self.me)
    }
}

impl Peers for SwarmHandle {
    fn me(&self) -> NodeId {
        self.me
    }

    async fn call(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        self.caller.call(to, &request, body).await
    }

    fn learn(&self, node: NodeId, addresses: &[String]) {
        let addresses = self.shared.book.learn(node, addresses);
        // The routing table learns of the node at the next contact too.
        if let Err(full) = self.commands.try_send(Command::Learned { node, addresses }) {
            tracing::trace!(%full, "the swarm is busy");
        }
    }
}

impl Publish for SwarmHandle {
    fn publish(&self, message: Gossip) {
        if self.commands.try_send(Command::Publish(Box::new(message))).is_err() {
            self.caller.counters.gossip_dropped.add(1);
        }
    }

    async fn look_up(&self, locator: Locator) -> Vec<PairId> {
        let (answer, found) = oneshot::channel();
        if self.commands.send(Command::LookUp { locator, answer }).await.is_err() {
            return Vec::new();
        }
        found.await.unwrap_or_default()
    }

    fn provide(&self, locator: Locator, pair: PairId) {
        if let Err(full) = self.commands.try_send(Command::Provide { locator, pair }) {
            tracing::debug!(%full, "a locator was not provided: the swarm is busy");
        }
    }
}
