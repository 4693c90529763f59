//! Who waits for a connection to whom. One dial serves all that wait for a peer, and a
//! failed one answers for a while, so that a dead peer costs no storm of dials.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use crate::addresses::is_relayed;
use crate::channel::Channel;
use crate::opening::{Answer, NotOpened};

/// How long a failed dial answers for its peer.
const REMEMBERED: Duration = Duration::from_secs(1);

/// A machine where nothing listens over TCP says so sooner, and then nothing listens over
/// QUIC either, which would take its whole time to find out. Silence is a firewall's. A
/// relay is another machine: it is tried in both cases.
const SILENCE: Duration = Duration::from_millis(500);

/// Peers whose failure is remembered, and peers waited for.
const PEERS_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct Dialling {
    waiting: HashMap<PeerId, Waiting>,
    failed: HashMap<PeerId, (Instant, String)>,
}

/// Those who wait for one peer.
#[derive(Default)]
pub(crate) struct Waiting {
    streams: Vec<(Channel, Answer)>,
    /// Our dial; `None` while another part of libp2p is dialling the peer.
    dial: Option<ConnectionId>,
    /// Addresses to dial if nobody answers this dial.
    next: Vec<Multiaddr>,
    /// When our dial began.
    since: Option<Instant>,
}

/// What is to be done for somebody who wants a stream to a peer without connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Dial it.
    Dial,
    /// A dial is under way, or has just failed.
    Nothing,
}

impl Dialling {
    /// Notes that somebody wants a stream to `peer`, or refuses at once.
    pub(crate) fn want(&mut self, peer: PeerId, channel: Channel, answer: Answer) -> Wanted {
        if let Some((when, why)) = self.failed.get(&peer)
            && when.elapsed() < REMEMBERED
        {
            drop(answer.send(Err(NotOpened::Unreachable(why.clone()))));
            return Wanted::Nothing;
        }
        let is_first = !self.waiting.contains_key(&peer);
        if is_first && self.waiting.len() >= PEERS_MAX {
            let why = "too many peers are being dialled".to_owned();
            drop(answer.send(Err(NotOpened::Unreachable(why))));
            return Wanted::Nothing;
        }
        self.waiting.entry(peer).or_default().streams.push((channel, answer));
        if is_first { Wanted::Dial } else { Wanted::Nothing }
    }

    /// Our dial to `peer` has begun; `next` is what to dial if it fails.
    pub(crate) fn began(&mut self, peer: &PeerId, dial: ConnectionId, next: Vec<Multiaddr>) {
        if let Some(waiting) = self.waiting.get_mut(peer) {
            waiting.dial = Some(dial);
            waiting.next = next;
            waiting.since = Some(Instant::now());
        }
    }

    /// A connection stands: these wanted a stream on it.
    pub(crate) fn connected(&mut self, peer: &PeerId) -> Vec<(Channel, Answer)> {
        self.failed.remove(peer);
        self.waiting.remove(peer).unwrap_or_default().streams
    }

    /// A dial has failed: what to try next, if anything.
    pub(crate) fn retry(&mut self, peer: &PeerId, dial: ConnectionId) -> Retry {
        match self.waiting.get_mut(peer) {
            None => Retry::No,
            Some(Waiting { dial: None, .. }) => Retry::Ours,
            Some(waiting) if waiting.dial == Some(dial) => {
                let mut next = std::mem::take(&mut waiting.next);
                if waiting.since.is_none_or(|since| since.elapsed() < SILENCE) {
                    next.retain(is_relayed);
                }
                if next.is_empty() { Retry::No } else { Retry::At(next) }
            }
            Some(_) => Retry::Running,
        }
    }

    /// Nobody could connect to `peer`: tells all who wait.
    pub(crate) fn failed(&mut self, peer: PeerId, why: &str) {
        let Some(waiting) = self.waiting.remove(&peer) else { return };
        for (_, answer) in waiting.streams {
            drop(answer.send(Err(NotOpened::Unreachable(why.to_owned()))));
        }
        if self.failed.len() >= PEERS_MAX {
            self.failed.retain(|_, (when, _)| when.elapsed() < REMEMBERED);
        }
        if self.failed.len() < PEERS_MAX {
            self.failed.insert(peer, (Instant::now(), why.to_owned()));
        }
    }
}

/// What follows a failed dial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Nobody waits, or nothing is left to try.
    No,
    /// It was not ours: dial with what we know.
    Ours,
    /// Dial these.
    At(Vec<Multiaddr>),
    /// Our dial still runs.
    Running,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use tokio::sync::oneshot;

    const RELAYED: &str =
        "/ip4/198.51.100.1/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC/p2p-circuit";

    #[test]
    fn where_nothing_listens_only_relays_are_left_to_try() {
        let (peer, dial) = (PeerId::random(), ConnectionId::new_unchecked(7));
        let [quic, relayed]: [Multiaddr; 2] =
            ["/ip4/192.0.2.1/udp/1/quic-v1", RELAYED].map(|a| a.parse().unwrap());
        let mut dialling = Dialling::default();
        let (answer, _opened) = oneshot::channel();
        assert_eq!(dialling.want(peer, Channel::Lane(Family::Pair), answer), Wanted::Dial);
        dialling.began(&peer, dial, vec![quic, relayed.clone()]);
        assert_eq!(dialling.retry(&peer, dial), Retry::At(vec![relayed]));
        dialling.began(&peer, dial, Vec::new());
        assert_eq!(dialling.retry(&peer, dial), Retry::No);
    }
}
