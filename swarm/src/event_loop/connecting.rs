//! Whom to dial, and what a failed dial means.

use std::collections::HashSet;

use defs_core::port::Service;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};

use super::EventLoop;
use crate::addresses::{for_routing, tcp_first};
use crate::channel::Channel;
use crate::dial_errors;
use crate::dialling::{Retry, Wanted};
use crate::identity::node_id;
use crate::opening::Answer;

/// With fewer peers than this, or than it has bootstrap addresses, a peer is lonely.
const COMPANY: usize = 3;

impl<S: Service> EventLoop<S> {
    pub(super) fn on_dial_failed(
        &mut self,
        peer: Option<PeerId>,
        dial: ConnectionId,
        error: &DialError,
    ) {
        self.caller.counters.dial_failures.add(1);
        let Some(peer) = peer else { return };
        match self.dialling.retry(&peer, dial) {
            Retry::Running => {}
            Retry::Ours => self.dial(peer),
            Retry::At(addresses) => self.dial_at(peer, addresses, Vec::new()),
            Retry::No => self.give_up(peer, error),
        }
    }

    pub(super) fn open(&mut self, peer: PeerId, channel: Channel, answer: Answer) {
        if self.swarm.is_connected(&peer) {
            self.swarm.behaviour_mut().lanes.open(peer, channel, answer);
        } else if self.dialling.want(peer, channel, answer) == Wanted::Dial {
            self.dial(peer);
        }
    }

    pub(super) fn dial(&mut self, peer: PeerId) {
        let known = node_id(&peer).map(|node| self.shared.book.of(&node)).unwrap_or_default();
        let (tcp, other) = tcp_first(known);
        if tcp.is_empty() {
            self.dial_at(peer, other, tcp);
        } else {
            self.dial_at(peer, tcp, other);
        }
    }

    fn dial_at(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, next: Vec<Multiaddr>) {
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            // A port used anew after a connection closed may still belong to that one.
            .allocate_new_port()
            .build();
        let id = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => self.dialling.began(&peer, id, next),
            // Another part of libp2p dials already: its success or failure comes here too.
            Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => self.give_up(peer, &error),
        }
    }

    fn give_up(&mut self, peer: PeerId, error: &DialError) {
        self.dialling.failed(peer, &dial_errors::words(error));
        // Another part of libp2p may have dialled one more address of it in vain.
        if self.swarm.is_connected(&peer) {
            return;
        }
        if let Some(node) = node_id(&peer) {
            self.caller.pool.forget(&node);
        }
        // Left in the table, a peer that is gone would be dialled at every look-up. One
        // that was cut off for a while comes back when either dials the other.
        if matches!(error, DialError::Transport(_) | DialError::WrongPeerId { .. }) {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
    }

    pub(super) fn add_to_kad(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        for address in for_routing(addresses) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
    }

    pub(super) fn seek_company(&mut self) {
        let company = self.swarm.connected_peers().collect::<HashSet<_>>().len();
        if company >= COMPANY.min(self.bootstrap.len()) {
            return;
        }
        for address in self.bootstrap.clone() {
            // Whoever answers there is company already.
            if self.places.dialled_at(&address).any(|peer| self.swarm.is_connected(peer)) {
                continue;
            }
            if let Err(error) = self.swarm.dial(address.clone()) {
                tracing::debug!(%address, %error, "a bootstrap address could not be dialled");
            }
        }
    }

    pub(super) fn refresh_early(&mut self) {
        // Without anyone in the table there is nobody to ask: that tick doesn't count.
        if self.early_refreshes > 0 && self.swarm.behaviour_mut().kad.bootstrap().is_ok() {
            self.early_refreshes -= 1;
        }
    }
}
