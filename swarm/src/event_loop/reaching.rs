//! How others reach this peer, and it them: what it listens at and is told of that, relays
//! where nobody can dial it, direct connections in their place, and neighbours that
//! multicast finds.

use std::collections::BTreeSet;
use std::io;

use defs_core::network::Reach;
use defs_core::port::Service;
use libp2p::autonat::NatStatus;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId, dcutr, identify, relay};
use tokio::time::Instant;

use super::{EventLoop, ReachedAt};
use crate::addresses::{beyond_this_machine, is_behind_router, is_relayed};
use crate::identity::node_id;

impl<S: Service> EventLoop<S> {
    /// A connection to `peer` stands.
    pub(super) fn on_reached(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            self.places.dialled(peer, address);
        }
        // Lanes that are idle on the relayed connection would be used again and again.
        if self.swarm.behaviour().lanes.connections.has_both(&peer)
            && let Some(node) = node_id(&peer)
        {
            self.caller.pool.forget(&node);
        }
    }

    pub(super) fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        let kad = self.swarm.behaviour().kad.protocol_names();
        if info.protocols.iter().any(|spoken| kad.contains(spoken)) {
            self.add_to_kad(peer, beyond_this_machine(&info.listen_addrs));
        }
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            self.places.relays(peer);
            self.keep_places();
        }
        self.presume(&info.observed_addr);
    }

    /// Until AutoNAT has found out, a node that is seen at an address which it does not listen
    /// at is taken to be hidden: it may have a partner by the time that it is sure. Whoever
    /// made a node a relay knows that it can be dialled.
    fn presume(&mut self, seen_at: &Multiaddr) {
        let behaviour = self.swarm.behaviour();
        let may_be_hidden = behaviour.asks_for_reach() && !behaviour.is_relay();
        if may_be_hidden
            && !self.is_judged
            && self.reached_at == ReachedAt::Unknown
            && is_behind_router(seen_at, &self.view.borrow().listening)
        {
            self.set_reach(Reach::Hidden);
        }
    }

    /// Only those whose names are of our form: others speak mDNS too. The routing table
    /// takes them once they have said what they speak.
    pub(super) fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let peers: BTreeSet<_> = found.into_iter().map(|(peer, _)| peer).collect();
        for peer in peers.iter().filter(|peer| node_id(peer).is_some()) {
            if !self.swarm.is_connected(peer) {
                self.dial(*peer);
            }
        }
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        // A place at a relay is known by the address that the relay was dialled at.
        if !is_relayed(&address) {
            self.view.send_modify(|view| view.listening.push(address));
            self.vouch_as_relay();
        }
    }

    pub(super) fn on_not_listening(&self, addresses: &[Multiaddr]) {
        self.view.send_modify(|view| view.listening.retain(|other| !addresses.contains(other)));
    }

    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, why: io::Result<()>) {
        if self.places.closed(listener)
            && let Err(error) = why
        {
            tracing::warn!(%error, "a relay keeps no place for this node");
        }
    }

    /// libp2p doesn't relay before it is sure where it can be dialled, which AutoNAT finds
    /// out on the internet only. Whoever made this peer a relay knows that it can be.
    pub(super) fn vouch_as_relay(&mut self) {
        if self.reached_at == ReachedAt::Unknown && self.swarm.behaviour().is_relay() {
            let listening = beyond_this_machine(&self.view.borrow().listening);
            for address in listening {
                self.swarm.add_external_address(address);
            }
        }
    }

    pub(super) fn on_confirmed(&self, address: Multiaddr) {
        if self.reached_at == ReachedAt::Unknown {
            self.view.send_modify(|view| {
                view.external.retain(|other| *other != address);
                view.external.push(address);
            });
        }
    }

    pub(super) fn on_reachability(&mut self, status: &NatStatus) {
        tracing::info!(?status, "reachability from outside changed");
        if self.reached_at == ReachedAt::Told || *status == NatStatus::Unknown {
            return;
        }
        self.is_judged = true;
        self.set_reach(match status {
            NatStatus::Private => Reach::Hidden,
            NatStatus::Public(_) | NatStatus::Unknown => Reach::Open,
        });
    }

    fn set_reach(&mut self, reach: Reach) {
        if self.places.set_hidden(reach == Reach::Hidden) {
            tracing::info!(%reach, "whether others can dial this node is known");
            self.view.send_modify(|view| view.reach = reach);
            self.keep_places();
        }
    }

    /// Asks relays for as many places as are needed, and leaves those that are not.
    pub(super) fn keep_places(&mut self) {
        for listener in self.places.leave_unneeded() {
            self.swarm.remove_listener(listener);
        }
        while let Some((relay, address)) = self.places.wanted() {
            tracing::info!(%relay, %address, "this node can't be dialled: a relay is asked");
            match self.swarm.listen_on(address) {
                Ok(listener) => self.places.asked(listener, relay),
                Err(error) => {
                    tracing::warn!(%relay, %error, "the relay can't be asked");
                    return;
                }
            }
        }
    }

    pub(super) fn on_relay(&self, event: &relay::Event) {
        match event {
            relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id } => {
                self.caller.counters.relayed.add(1);
                tracing::debug!(from = %src_peer_id, to = %dst_peer_id, "a connection is relayed");
            }
            other => tracing::trace!(?other, "nothing to do"),
        }
    }

    /// The side that can't dial tries three times, whatever the other side has done, and
    /// the other dials as often. One connection is enough.
    pub(super) fn on_punched(&mut self, event: &dcutr::Event) {
        let peer = event.remote_peer_id;
        match &event.result {
            Ok(id) if self.swarm.behaviour().lanes.connections.has_direct_besides(&peer, *id) => {
                self.swarm.close_connection(*id);
            }
            Ok(_) => {
                self.caller.counters.punched.add(1);
                tracing::debug!(%peer, "a direct connection takes the place of a relayed one");
            }
            Err(error) => tracing::debug!(%peer, %error, "the connection stays relayed"),
        }
    }

    pub(super) fn close_outlived(&mut self) {
        for connection in self.swarm.behaviour().lanes.connections.outlived(Instant::now()) {
            self.swarm.close_connection(connection);
        }
    }
}
