//! Places that relays keep for a node which nobody can dial. A node that listens nowhere
//! can't be dialled; of one that listens AutoNAT finds out, by asking others to try.
//!
//! Only bootstrap peers are asked for a place: whoever runs the node named them, while
//! anybody may say that it relays.

use std::collections::HashMap;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Relays that keep a place at a time, so that one of them may go.
const PLACES: usize = 2;

/// Bootstrap peers that are remembered: one an address, and a name may stand for several.
const PEERS_MAX: usize = 64;

/// What a node knows of relays and of its need for them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Without the peers' ids.
    bootstrap: Vec<Multiaddr>,
    /// Whether nobody can dial this node.
    is_hidden: bool,
    /// Where bootstrap peers were dialled.
    dialled: HashMap<PeerId, Multiaddr>,
    /// Those of them that relay; who failed last comes last.
    relays: Vec<PeerId>,
    kept: Vec<(ListenerId, PeerId)>,
}

impl Places {
    pub(crate) fn new(bootstrap: &[Multiaddr], is_hidden: bool) -> Self {
        let bootstrap = bootstrap.iter().cloned().map(without_peer).collect();
        Self { bootstrap, is_hidden, ..Self::default() }
    }

    /// Whether the node can't be dialled; answers whether that is news.
    pub(crate) fn set_hidden(&mut self, is_hidden: bool) -> bool {
        std::mem::replace(&mut self.is_hidden, is_hidden) != is_hidden
    }

    /// `peer` was dialled at `address`.
    pub(crate) fn dialled(&mut self, peer: PeerId, address: &Multiaddr) {
        let address = without_peer(address.clone());
        if self.bootstrap.contains(&address) && self.dialled.len() < PEERS_MAX {
            self.dialled.insert(peer, address);
        }
    }

    /// Whom a bootstrap address was found to lead to so far.
    pub(crate) fn dialled_at(&self, address: &Multiaddr) -> impl Iterator<Item = &PeerId> {
        let address = without_peer(address.clone());
        self.dialled.iter().filter(move |(_, at)| **at == address).map(|(peer, _)| peer)
    }

    /// `peer` says that it relays.
    pub(crate) fn relays(&mut self, peer: PeerId) {
        if self.dialled.contains_key(&peer) && !self.relays.contains(&peer) {
            self.relays.push(peer);
        }
    }

    /// The relay to ask for a place now, and the address to listen at.
    pub(crate) fn wanted(&self) -> Option<(PeerId, Multiaddr)> {
        if !self.is_hidden || self.kept.len() >= PLACES {
            return None;
        }
        let is_free = |relay: &&PeerId| self.kept.iter().all(|(_, kept)| kept != *relay);
        let relay = *self.relays.iter().find(is_free)?;
        let address = self.dialled.get(&relay)?.clone();
        Some((relay, address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)))
    }

    /// `relay` was asked for a place.
    pub(crate) fn asked(&mut self, listener: ListenerId, relay: PeerId) {
        self.kept.push((listener, relay));
    }

    /// A listener closed: whether that was a place, which was refused or is lost. Then it
    /// is another relay's turn.
    pub(crate) fn closed(&mut self, listener: ListenerId) -> bool {
        let Some(place) = self.kept.iter().position(|(kept, _)| *kept == listener) else {
            return false;
        };
        let (_, relay) = self.kept.remove(place);
        self.relays.retain(|other| *other != relay);
        self.relays.push(relay);
        true
    }

    /// Gives up the places that are not needed any more.
    pub(crate) fn leave_unneeded(&mut self) -> Vec<ListenerId> {
        if self.is_hidden {
            return Vec::new();
        }
        self.kept.drain(..).map(|(listener, _)| listener).collect()
    }
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> Multiaddr {
        format!("/ip4/192.0.2.{number}/tcp/4001").parse().unwrap()
    }

    /// A hidden node with three bootstrap peers that relay.
    fn hidden() -> (Places, [PeerId; 3]) {
        let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
        let addresses = [1, 2, 3].map(address);
        let mut places = Places::new(&addresses, true);
        for (peer, address) in peers.iter().zip(addresses) {
            places.dialled(*peer, &address.with(Protocol::P2p(*peer)));
            places.relays(*peer);
        }
        (places, peers)
    }

    fn ask(places: &mut Places) -> (ListenerId, PeerId) {
        let (relay, _) = places.wanted().unwrap();
        let listener = ListenerId::next();
        places.asked(listener, relay);
        (listener, relay)
    }

    #[test]
    fn a_hidden_node_has_two_places_and_a_lost_one_is_made_up_for_elsewhere() {
        let (mut places, [first, second, third]) = hidden();
        let listen_at = address(1).with(Protocol::P2p(first)).with(Protocol::P2pCircuit);
        assert_eq!(places.wanted(), Some((first, listen_at)));
        let (lost, _) = ask(&mut places);
        assert_eq!(ask(&mut places).1, second);
        assert_eq!(places.wanted(), None);
        assert!(places.closed(lost) && !places.closed(lost));
        assert_eq!(ask(&mut places).1, third);
        assert_eq!(places.wanted(), None);
    }

    #[test]
    fn a_node_that_can_be_dialled_leaves_its_places_and_asks_for_none() {
        let (mut places, _) = hidden();
        let (listener, _) = ask(&mut places);
        assert_eq!(places.leave_unneeded(), vec![]);
        assert!(places.set_hidden(false));
        assert_eq!(places.leave_unneeded(), vec![listener]);
        assert_eq!(places.wanted(), None);
        assert!(!places.set_hidden(false));
        // It moves behind a router.
        assert!(places.set_hidden(true));
        assert!(places.wanted().is_some());
    }

    #[test]
    fn only_who_was_named_and_relays_is_asked_for_a_place() {
        let (named, stranger) = (PeerId::random(), PeerId::random());
        let mut places = Places::new(&[address(1).with(Protocol::P2p(named))], true);
        places.dialled(stranger, &address(2));
        places.relays(stranger);
        places.dialled(named, &address(1));
        assert_eq!(places.wanted(), None);
        places.relays(named);
        assert_eq!(places.wanted().unwrap().0, named);
    }
}
