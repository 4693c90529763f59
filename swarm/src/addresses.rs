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

/// Those over TCP, and the rest. TCP carries nearly twice as many bytes a core as QUIC
/// does here, so QUIC is for where TCP doesn't get through.
pub(crate) fn tcp_first(addresses: Vec<Multiaddr>) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
    addresses.into_iter().partition(|address| {
        address.iter().any(|part| matches!(part, Protocol::Tcp(_)))
            && !address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
    })
}

/// Those that mean something on another machine, or all where there are none.
pub(crate) fn beyond_this_machine(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let is_local = |address: &Multiaddr| {
        address.iter().any(|part| match part {
            Protocol::Ip4(ip) => ip.is_loopback(),
            Protocol::Ip6(ip) => ip.is_loopback(),
            _ => false,
        })
    };
    let beyond: Vec<_> = addresses.iter().filter(|address| !is_local(address)).cloned().collect();
    if beyond.is_empty() { addresses.to_vec() } else { beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn loopback_addresses_are_announced_only_where_there_are_no_others() {
        let [here, there]: [Multiaddr; 2] =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1"].map(|a| a.parse().unwrap());
        let both = [here.clone(), there.clone()];
        assert_eq!(beyond_this_machine(&both), vec![there]);
        assert_eq!(beyond_this_machine(std::slice::from_ref(&here)), vec![here]);
    }
}
