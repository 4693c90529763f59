//! Where nodes can be dialled, as their cards say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use defs_core::ids::NodeId;
use defs_core::network::ADDRESSES_MAX;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Nodes whose addresses are remembered: a large network's, at about 1 KiB each.
const NODES_MAX: usize = 10_000;

/// A bounded map; the node learned of first makes room for the newest.
#[derive(Debug, Default)]
pub(crate) struct AddressBook(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: HashMap<NodeId, Vec<Multiaddr>>,
    order: VecDeque<NodeId>,
}

impl AddressBook {
    /// Replaces what is known of `node`. Texts that are no multiaddresses are passed over.
    pub(crate) fn learn(&self, node: NodeId, addresses: &[String]) -> Vec<Multiaddr> {
        let addresses: Vec<Multiaddr> =
            addresses.iter().take(ADDRESSES_MAX).filter_map(|text| text.parse().ok()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.addresses.insert(node, addresses.clone()).is_none() {
            known.order.push_back(node);
        }
        if known.order.len() > NODES_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.addresses.remove(&oldest);
        }
        addresses
    }

    /// Where `node` can be dialled.
    pub(crate) fn of(&self, node: &NodeId) -> Vec<Multiaddr> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.addresses.get(node).cloned().unwrap_or_default()
    }
}

/// Whether a relay stands between.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Those over TCP, and the rest. TCP carries nearly twice as many bytes a core as QUIC
/// does here, so QUIC is for where TCP doesn't get through.
pub(crate) fn tcp_first(addresses: Vec<Multiaddr>) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
    addresses.into_iter().partition(|address| {
        address.iter().any(|part| matches!(part, Protocol::Tcp(_))) && !is_relayed(address)
    })
}

/// Those that the routing table dials at once: over one transport, and through relays.
pub(crate) fn for_routing(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let (mut tcp, other) = tcp_first(addresses);
    if tcp.is_empty() {
        return other;
    }
    tcp.extend(other.into_iter().filter(is_relayed));
    tcp
}

/// Those that mean something on another machine, or all where there are none.
pub(crate) fn beyond_this_machine(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let beyond: Vec<_> = addresses.iter().filter(|address| !is_local(address)).cloned().collect();
    if beyond.is_empty() { addresses.to_vec() } else { beyond }
}

/// Whether a peer that listens at `listening` and is seen at `seen_at` stands behind a router:
/// it is seen at an address of the internet that is none of its own. One whose own addresses
/// are of another kind is no matter of routers.
pub(crate) fn is_behind_router(seen_at: &Multiaddr, listening: &[Multiaddr]) -> bool {
    let ip4 = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) if !is_relayed(address) => Some(ip),
        _ => None,
    };
    let Some(seen) = ip4(seen_at) else { return false };
    let own: Vec<_> = listening.iter().filter_map(ip4).collect();
    let [first, second, ..] = seen.octets();
    let is_carriers = first == 100 && second & 0xc0 == 64;
    let is_inner = seen.is_private()
        || seen.is_loopback()
        || seen.is_link_local()
        || seen.is_unspecified()
        || is_carriers;
    !is_inner && !own.is_empty() && !own.contains(&seen)
}

fn is_local(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

/// What a peer's card says: where it was found to be dialled, else where it listens. With
/// a place at a relay both are said, the relay first: a neighbour behind the same router
/// may dial what nobody else can.
pub(crate) fn to_announce(listening: &[Multiaddr], found: &[Multiaddr]) -> Vec<Multiaddr> {
    let (relayed, direct): (Vec<_>, Vec<_>) = found.iter().cloned().partition(is_relayed);
    if !direct.is_empty() || relayed.is_empty() {
        return beyond_this_machine(if direct.is_empty() { listening } else { &direct });
    }
    let near = listening.iter().filter(|address| !is_local(address)).cloned();
    relayed.into_iter().chain(near).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAYED: &str =
        "/ip4/198.51.100.1/tcp/1/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC/p2p-circuit";

    #[test]
    fn the_book_replaces_what_it_knew_and_forgets_the_oldest_when_full() {
        let book = AddressBook::default();
        let node = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            NodeId(id)
        };
        for number in 0..=NODES_MAX {
            book.learn(node(number), &["/ip4/192.0.2.1/tcp/1".to_owned(), "nonsense".to_owned()]);
        }
        assert!(book.of(&node(0)).is_empty());
        assert_eq!(book.of(&node(1)).len(), 1);
        book.learn(node(1), &["/ip4/192.0.2.1/tcp/2".to_owned()]);
        assert_eq!(book.of(&node(1)), vec!["/ip4/192.0.2.1/tcp/2".parse().unwrap()]);
    }

    #[test]
    fn addresses_over_tcp_are_dialled_before_others() {
        let [tcp, quic]: [Multiaddr; 2] =
            ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1"].map(|a| a.parse().unwrap());
        assert_eq!(tcp_first(vec![quic.clone(), tcp.clone()]), (vec![tcp], vec![quic]));
    }

    #[test]
    fn the_routing_table_dials_one_transport_and_relays() {
        let [tcp, quic, relayed]: [Multiaddr; 3] =
            ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1", RELAYED]
                .map(|a| a.parse().unwrap());
        let all = vec![quic.clone(), relayed.clone(), tcp.clone()];
        assert_eq!(for_routing(all), vec![tcp, relayed.clone()]);
        let without_tcp = vec![quic.clone(), relayed.clone()];
        assert_eq!(for_routing(without_tcp), vec![quic, relayed]);
    }

    #[test]
    fn a_place_at_a_relay_is_announced_before_where_only_neighbours_can_dial() {
        let [here, near, found, relayed]: [Multiaddr; 4] =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.2/tcp/1", "/ip4/192.0.2.1/tcp/1", RELAYED]
                .map(|a| a.parse().unwrap());
        let listening = [here, near.clone()];
        let hidden = to_announce(&listening, std::slice::from_ref(&relayed));
        assert_eq!(hidden, vec![relayed.clone(), near.clone()]);
        assert_eq!(to_announce(&listening, &[relayed, found.clone()]), vec![found.clone()]);
        assert_eq!(to_announce(&listening, std::slice::from_ref(&found)), vec![found]);
        assert_eq!(to_announce(&listening, &[]), vec![near]);
    }

    #[test]
    fn who_is_seen_at_an_address_of_the_internet_that_is_not_its_own_is_behind_a_router() {
        let at = |text: &str| -> Multiaddr { text.parse().unwrap() };
        let own = [at("/ip4/127.0.0.1/tcp/1"), at("/ip4/192.168.0.2/tcp/1")];
        assert!(is_behind_router(&at("/ip4/45.0.0.1/tcp/9"), &own));
        for inner in ["/ip4/10.0.0.1/tcp/9", "/ip4/127.0.0.1/tcp/9", "/ip4/100.64.0.1/tcp/9"] {
            assert!(!is_behind_router(&at(inner), &own), "{inner}");
        }
        assert!(!is_behind_router(&at(RELAYED), &own));
        let public = [at("/ip4/192.168.0.2/tcp/1"), at("/ip4/45.0.0.1/tcp/1")];
        assert!(!is_behind_router(&at("/ip4/45.0.0.1/tcp/9"), &public));
        assert!(!is_behind_router(&at("/ip4/45.0.0.1/tcp/9"), &[]));
    }

    #[test]
    fn loopback_addresses_are_announced_only_where_there_are_no_others() {
        let [here, there]: [Multiaddr; 2] =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1"].map(|a| a.parse().unwrap());
        let both = [here.clone(), there.clone()];
        assert_eq!(beyond_this_machine(&both), vec![there]);
        assert_eq!(beyond_this_machine(std::slice::from_ref(&here)), vec![here]);
    }
}
