//! Lets peers' lanes in: a task a lane, bounded by peer and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::ids::NodeId;
use defs_core::port::Service;
use libp2p::{PeerId, Stream};

use crate::family::Family;
use crate::identity::node_id;
use crate::lane::Lane;
use crate::opening::Accept;
use crate::served::{Server, serve_lane};
use crate::stats::Counters;

/// Accepts lanes as long as there are fewer than allowed.
pub(crate) struct Entrance<S> {
    server: Arc<Server<S>>,
    open: Arc<Mutex<OpenLanes>>,
}

#[derive(Default)]
struct OpenLanes {
    all: usize,
    of_peer: HashMap<NodeId, usize>,
}

/// A lane's place among those allowed.
struct Place {
    peer: NodeId,
    open: Arc<Mutex<OpenLanes>>,
    counters: Arc<Counters>,
}

impl<S: Service> Entrance<S> {
    pub(crate) fn new(server: Server<S>) -> Self {
        Self { server: Arc::new(server), open: Arc::default() }
    }

    fn enter(&self, peer: NodeId) -> Option<Place> {
        let limits = &self.server.limits;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = open.of_peer.get(&peer).copied().unwrap_or(0);
        if open.all >= limits.lanes || of_peer >= limits.lanes_of_peer {
            return None;
        }
        open.all += 1;
        open.of_peer.insert(peer, of_peer + 1);
        let counters = Arc::clone(&self.server.counters);
        counters.lanes_served.add(1);
        Some(Place { peer, open: Arc::clone(&self.open), counters })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.lanes_served.less_one();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(count) = open.of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.of_peer.remove(&self.peer);
            }
        }
    }
}

impl<S: Service> Accept for Entrance<S> {
    fn accept(&self, peer: PeerId, family: Family, stream: Stream) {
        let Some(caller) = node_id(&peer) else { return };
        // Above the limits a lane closes without a greeting, and the opener knows.
        let Some(place) = self.enter(caller) else {
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
