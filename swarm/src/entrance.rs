//! Lets peers' streams in: a task a lane, bounded by peer and in all, and what is forwarded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::ids::NodeId;
use defs_core::port::Service;
use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;

use crate::channel::Channel;
use crate::config::Limits;
use crate::event_loop::Command;
use crate::family::Family;
use crate::identity::node_id;
use crate::lane::Lane;
use crate::opening::Accept;
use crate::served::{Server, serve_lane};
use crate::stats::Counters;
use crate::via::{Forwarding, Guests, Sealing};

/// Accepts lanes as long as there are fewer than allowed.
pub(crate) struct Entrance<S> {
    server: Arc<Server<S>>,
    seats: Seats,
    forwarding: Arc<Forwarding<S>>,
    guests: Arc<Guests<S>>,
}

/// The lanes that are open here, whichever way they came.
#[derive(Clone)]
pub(crate) struct Seats {
    limits: Limits,
    open: Arc<Mutex<OpenLanes>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct OpenLanes {
    all: usize,
    of_peer: HashMap<NodeId, usize>,
}

/// A lane's place among those allowed.
pub(crate) struct Place {
    peer: NodeId,
    seats: Seats,
}

impl Seats {
    fn new(limits: Limits, counters: &Arc<Counters>) -> Self {
        Self { limits, open: Arc::default(), counters: Arc::clone(counters) }
    }

    /// A place for a lane of `peer`.
    pub(crate) fn enter(&self, peer: NodeId) -> Option<Place> {
        let mut open = self.lock();
        let of_peer = open.of_peer.get(&peer).copied().unwrap_or(0);
        if open.all >= self.limits.lanes || of_peer >= self.limits.lanes_of_peer {
            return None;
        }
        open.all += 1;
        open.of_peer.insert(peer, of_peer + 1);
        self.counters.lanes_served.add(1);
        Some(Place { peer, seats: self.clone() })
    }

    /// Whether `peer` has a lane open here.
    pub(crate) fn has(&self, peer: &NodeId) -> bool {
        self.lock().of_peer.contains_key(peer)
    }

    fn lock(&self) -> MutexGuard<'_, OpenLanes> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.counters.lanes_served.less_one();
        let mut open = self.seats.lock();
        open.all -= 1;
        if let Some(count) = open.of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.of_peer.remove(&self.peer);
            }
        }
    }
}

impl<S: Service> Entrance<S> {
    /// The entrance of `me`, which opens streams to others by `commands`.
    pub(crate) fn new(
        me: NodeId,
        server: Server<S>,
        commands: mpsc::Sender<Command>,
        sealing: Sealing,
    ) -> Self {
        let server = Arc::new(server);
        let seats = Seats::new(server.limits, &server.counters);
        let guests = Guests::new(&server, sealing, seats.clone());
        let forwarding = Forwarding::new(me, Arc::clone(&server), commands);
        Self { server, seats, forwarding, guests }
    }

    fn serve(&self, caller: NodeId, family: Family, stream: Stream) {
        // Above the limits a lane closes without a greeting, and the opener knows.
        let Some(place) = self.seats.enter(caller) else {
            return self.server.counters.lanes_refused.add(1);
        };
        let server = Arc::clone(&self.server);
        let lane = Lane::new(stream, server.timeouts.progress, server.frames.clone());
        self.server.tasks.spawn(async move {
            serve_lane(&server, caller, family, lane).await;
            drop(place);
        });
    }
}

impl<S: Service> Accept for Entrance<S> {
    fn accept(&self, peer: PeerId, channel: Channel, stream: Stream) {
        let Some(caller) = node_id(&peer) else { return };
        match channel {
            Channel::Lane(family) => self.serve(caller, family, stream),
            Channel::Via => self.forwarding.accept(caller, stream),
            Channel::Forwarded => self.guests.accept(caller, stream),
        }
    }
}
