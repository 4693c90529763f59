//! Signatures that nodes make, in receipts and notes. They name the key itself; the
//! reader learns which node it belongs to.

use defs_core::ids::{Digest, NodeId};

use crate::checker::SignatureChecker;
use crate::keys::{BadSignature, Signature};

/// Checks a node's signature over `digest` and names the node. Whether that node is the
/// one expected is the caller's question.
pub fn verify_node(
    key: &[u8; 33],
    digest: &Digest,
    signature: &[u8; 64],
    checker: &(impl SignatureChecker + ?Sized),
) -> Result<NodeId, BadSignature> {
    checker.check(key, digest, &Signature(*signature))?;
    checker.node(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{CachedChecker, Direct};
    use crate::keys::SecretKey;

    #[test]
    fn a_nodes_signature_names_the_node_that_made_it() {
        let node = SecretKey::from_seed(&[1; 32]);
        let digest = Digest([2; 32]);
        let (key, signature) = (node.public().to_bytes(), node.sign(&digest).0);
        let cached = CachedChecker::new();
        for _ in 0..2 {
            assert_eq!(
                verify_node(&key, &digest, &signature, &cached),
                Ok(node.public().node_id())
            );
        }
    }

    #[test]
    fn a_signature_over_another_digest_or_by_another_node_is_refused() {
        let (node, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[3; 32]));
        let signature = node.sign(&Digest([2; 32])).0;
        for (key, digest, why) in [
            (node.public().to_bytes(), Digest([4; 32]), BadSignature::Mismatch),
            (other.public().to_bytes(), Digest([2; 32]), BadSignature::Mismatch),
            ([0; 33], Digest([2; 32]), BadSignature::Key),
        ] {
            assert_eq!(verify_node(&key, &digest, &signature, &Direct), Err(why));
        }
    }
}
