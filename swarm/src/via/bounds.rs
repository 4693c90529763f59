//! How much a node forwards: streams in all, of one client, to one node, and of one client to
//! one node.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::ids::NodeId;

/// Streams in all, for each connection that the node may have: so `maxConnections` bounds them.
const STREAMS_A_CONNECTION: usize = 2;

/// Streams of one client: it opens [`super::detours::LANES_MAX`] at most. Together with its own
/// lanes they are fewer than a connection carries.
const OF_CLIENT: usize = 256;

/// Streams to one node: a connection carries 512, and both may forward to each other beside
/// their own lanes.
const TO_NODE: usize = 96;

/// Of these, streams of one client: half, so that nobody keeps the others from a node.
const OF_CLIENT_TO_NODE: usize = TO_NODE / 2;

/// The places of one node.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    all: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    clients: Tally<NodeId>,
    nodes: Tally<NodeId>,
    ways: Tally<(NodeId, NodeId)>,
}

/// How many there are of each; what has none takes no room.
#[derive(Debug)]
struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Tally<K> {
    fn of(&self, key: K) -> usize {
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn more(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn less(&mut self, key: K) {
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }
}

/// A stream's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    client: NodeId,
    to: Option<NodeId>,
    taken: Arc<Mutex<Taken>>,
}

impl Bounds {
    /// The places of a node that may have so many connections.
    pub(crate) fn new(connections: u32) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Self { all: connections.saturating_mul(STREAMS_A_CONNECTION), taken: Arc::default() }
    }

    /// A place for a stream of `client`, wherever it goes.
    pub(crate) fn enter(&self, client: NodeId) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.all || taken.clients.of(client) >= OF_CLIENT.min(self.all / 2) {
            return None;
        }
        taken.all += 1;
        taken.clients.more(client);
        Some(Place { client, to: None, taken: Arc::clone(&self.taken) })
    }
}

impl Place {
    /// The stream goes to `node`; answers whether it may.
    pub(crate) fn leads_to(&mut self, node: NodeId) -> bool {
        let mut taken = lock(&self.taken);
        let way = (self.client, node);
        if taken.nodes.of(node) >= TO_NODE || taken.ways.of(way) >= OF_CLIENT_TO_NODE {
            return false;
        }
        taken.nodes.more(node);
        taken.ways.more(way);
        self.to = Some(node);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        taken.clients.less(self.client);
        if let Some(node) = self.to {
            taken.nodes.less(node);
            taken.ways.less((self.client, node));
        }
    }
}

/// No code panics while it holds this lock.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn entered(bounds: &Bounds, client: NodeId) -> Vec<Place> {
        std::iter::from_fn(|| bounds.enter(client)).collect()
    }

    #[test]
    fn a_client_has_its_share_of_all_streams_and_gets_back_what_it_gives() {
        let bounds = Bounds::new(512);
        let of_first = entered(&bounds, node(1));
        assert_eq!(of_first.len(), OF_CLIENT);
        let others: Vec<_> = (2..=4).map(|number| entered(&bounds, node(number))).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), 3 * OF_CLIENT);
        assert!(bounds.enter(node(5)).is_none());
        drop(of_first);
        assert_eq!(entered(&bounds, node(5)).len(), OF_CLIENT);
        // A small node keeps half for others.
        assert_eq!(entered(&Bounds::new(8), node(1)).len(), 8);
    }

    #[test]
    fn no_client_takes_all_streams_to_a_node_and_all_together_no_more_than_it_bears() {
        let bounds = Bounds::new(512);
        let leading = |client: u8, to: u8| {
            let place = || bounds.enter(node(client));
            let leads = |mut place: Place| place.leads_to(node(to)).then_some(place);
            std::iter::from_fn(|| place().and_then(leads)).collect::<Vec<_>>()
        };
        let first = leading(1, 9);
        assert_eq!(first.len(), OF_CLIENT_TO_NODE);
        let second = leading(2, 9);
        assert_eq!(second.len(), TO_NODE - OF_CLIENT_TO_NODE);
        assert_eq!(leading(3, 9).len(), 0);
        assert_eq!(leading(1, 8).len(), OF_CLIENT_TO_NODE);
        drop(first);
        assert_eq!(leading(3, 9).len(), OF_CLIENT_TO_NODE);
        drop(second);
        let taken = lock(&bounds.taken);
        assert_eq!((taken.all, taken.clients.0.len(), taken.ways.0.len()), (0, 0, 0));
    }
}
