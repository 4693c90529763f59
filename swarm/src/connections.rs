//! Which connections stand to each peer. A relayed one is for as long as there is no
//! direct one: then lanes are opened on that, and the relayed one is closed.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::{ConnectionId, NotifyHandler};
use tokio::time::Instant;

/// How long a relayed connection stays after a direct one stands: an exchange that began
/// on it, a shard of 64 MiB at the slowest, may end there.
const GRACE: Duration = Duration::from_secs(60);

/// As many as connections are allowed.
#[derive(Debug, Default)]
pub(crate) struct Connections(HashMap<PeerId, OfPeer>);

#[derive(Debug, Default)]
struct OfPeer {
    direct: Vec<ConnectionId>,
    relayed: Vec<ConnectionId>,
    /// Since when there are both.
    both: Option<Instant>,
}

impl Connections {
    pub(crate) fn opened(&mut self, peer: PeerId, id: ConnectionId, is_relayed: bool) {
        let of_peer = self.0.entry(peer).or_default();
        if is_relayed { &mut of_peer.relayed } else { &mut of_peer.direct }.push(id);
        of_peer.note(Instant::now());
    }

    pub(crate) fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(of_peer) = self.0.get_mut(&peer) else { return };
        of_peer.direct.retain(|other| *other != id);
        of_peer.relayed.retain(|other| *other != id);
        of_peer.note(Instant::now());
        if of_peer.direct.is_empty() && of_peer.relayed.is_empty() {
            self.0.remove(&peer);
        }
    }

    /// Where a lane to `peer` is opened.
    pub(crate) fn to_use(&self, peer: &PeerId) -> NotifyHandler {
        let both = self.0.get(peer).filter(|of_peer| of_peer.both.is_some());
        match both.and_then(|of_peer| of_peer.direct.first()) {
            Some(direct) => NotifyHandler::One(*direct),
            None => NotifyHandler::Any,
        }
    }

    /// Whether a direct connection has taken the place of a relayed one.
    pub(crate) fn has_both(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|of_peer| of_peer.both.is_some())
    }

    /// Whether a direct connection stands that is older than this one.
    pub(crate) fn has_direct_besides(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let first = self.0.get(peer).and_then(|of_peer| of_peer.direct.first());
        first.is_some_and(|first| *first != id)
    }

    /// The relayed connections that are not needed any more at `now`.
    pub(crate) fn outlived(&self, now: Instant) -> Vec<ConnectionId> {
        let is_over = |of_peer: &&OfPeer| {
            of_peer.both.is_some_and(|since| now.saturating_duration_since(since) >= GRACE)
        };
        self.0.values().filter(is_over).flat_map(|of_peer| of_peer.relayed.clone()).collect()
    }
}

impl OfPeer {
    fn note(&mut self, now: Instant) {
        let has_both = !self.direct.is_empty() && !self.relayed.is_empty();
        self.both = has_both.then(|| self.both.unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_connection_takes_over_and_the_relayed_one_goes_after_a_while() {
        let peer = PeerId::random();
        let [relayed, direct, another] = [1, 2, 3].map(ConnectionId::new_unchecked);
        let mut connections = Connections::default();
        connections.opened(peer, relayed, true);
        assert!(!connections.has_direct_besides(&peer, direct));
        assert!(!connections.has_both(&peer));
        assert!(matches!(connections.to_use(&peer), NotifyHandler::Any));
        connections.opened(peer, direct, false);
        assert!(connections.has_both(&peer));
        assert!(!connections.has_direct_besides(&peer, direct));
        assert!(connections.has_direct_besides(&peer, another));
        assert!(matches!(connections.to_use(&peer), NotifyHandler::One(id) if id == direct));
        assert_eq!(connections.outlived(Instant::now()), vec![]);
        assert_eq!(connections.outlived(Instant::now() + GRACE), vec![relayed]);
        connections.closed(peer, relayed);
        assert!(matches!(connections.to_use(&peer), NotifyHandler::Any));
        assert_eq!(connections.outlived(Instant::now() + GRACE), vec![]);
    }

    #[test]
    fn a_relayed_connection_stays_if_the_direct_one_goes_first() {
        let peer = PeerId::random();
        let [relayed, direct] = [1, 2].map(ConnectionId::new_unchecked);
        let mut connections = Connections::default();
        connections.opened(peer, direct, false);
        connections.opened(peer, relayed, true);
        connections.closed(peer, direct);
        assert!(!connections.has_both(&peer));
        assert_eq!(connections.outlived(Instant::now() + GRACE), vec![]);
        connections.closed(peer, relayed);
        assert!(connections.0.is_empty());
    }
}
