//! A node's name as libp2p writes it. A [`NodeId`] is the digest inside a peer id, so the
//! two turn into each other without a table.

use defs_core::ids::NodeId;
use libp2p::PeerId;
use libp2p::identity::{DecodingError, Keypair, ecdsa};
use libp2p::multihash::Multihash;
use zeroize::Zeroizing;

/// The code of SHA-256 in a multihash.
const SHA2_256: u64 = 0x12;

/// The node that `peer` names; `None` if its key is not one of ours: a short key (such
/// as Ed25519) stands in a peer id as it is, without a digest.
#[must_use]
pub fn node_id(peer: &PeerId) -> Option<NodeId> {
    let multihash = peer.as_ref();
    (multihash.code() == SHA2_256).then_some(())?;
    Some(NodeId(multihash.digest().try_into().ok()?))
}

/// The peer id of `node`.
#[expect(clippy::expect_used, reason = "32 bytes fit a multihash, and SHA-256 names a peer")]
#[must_use]
pub fn peer_id(node: &NodeId) -> PeerId {
    let multihash = Multihash::wrap(SHA2_256, &node.0).expect("32 bytes fit 64");
    PeerId::from_multihash(multihash).expect("SHA-256 names a peer")
}

pub(crate) fn keypair(secret: &Zeroizing<[u8; 32]>) -> Result<Keypair, DecodingError> {
    let secret = ecdsa::SecretKey::try_from_bytes(secret.as_slice())?;
    Ok(ecdsa::Keypair::from(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_is_the_digest_inside_its_peer_id() {
        let secret = defs_identity::SecretKey::from_seed(&[7; 32]);
        let peer = keypair(&secret.to_bytes()).unwrap().public().to_peer_id();
        assert_eq!(node_id(&peer), Some(secret.public().node_id()));
        assert_eq!(peer_id(&secret.public().node_id()), peer);
    }

    #[test]
    fn a_peer_with_its_key_inside_its_id_is_no_node() {
        let inlined = PeerId::from_multihash(Multihash::wrap(0, &[8; 36]).unwrap()).unwrap();
        assert_eq!(node_id(&inlined), None);
    }
}
