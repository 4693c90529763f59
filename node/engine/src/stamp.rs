//! Receipts: this node's word that something is on its disk.

use defs_core::digest::merkle_tree;
use defs_core::ids::{Digest, NetworkId};
use defs_core::receipt::{NodeSignature, Receipt, SignedReceipt};
use defs_core::statement::Statement;
use defs_identity::SecretKey;

/// Signs one digest as a node.
pub(crate) fn sign_as_node(key: &SecretKey, digest: &Digest) -> NodeSignature {
    NodeSignature { key: key.public().to_bytes(), signature: key.sign(digest).0 }
}

/// Signs receipts, one signature for each 64 of them.
pub(crate) fn stamp(
    key: &SecretKey,
    network: &NetworkId,
    receipts: &[Receipt],
) -> Vec<SignedReceipt> {
    let mut stamped = Vec::with_capacity(receipts.len());
    for batch in receipts.chunks(defs_core::digest::BATCH_MAX) {
        let leaves: Vec<_> = batch.iter().map(|receipt| receipt.statement(network)).collect();
        let (root, paths) = merkle_tree(&leaves);
        let by = sign_as_node(key, &root);
        let signed = batch.iter().zip(paths).map(|(receipt, path)| SignedReceipt {
            receipt: *receipt,
            path,
            by,
        });
        stamped.extend(signed);
    }
    stamped
}
