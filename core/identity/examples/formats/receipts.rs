//! Receipts: of a shard by both members, and of records that share a signature.

use defs_core::digest::merkle_tree;
use defs_core::format::Format;
use defs_core::ids::{Digest, Epoch, ShardIndex, StripeId, hex};
use defs_core::receipt::{Kept, Receipt, SignedReceipt};
use defs_core::statement::Statement;
use serde_json::{Value, json};

use super::cast::{MIRROR, PRIMARY, by_node, network, node, pair, path};

fn receipt(kept: Kept, number: u8) -> Receipt {
    Receipt { kept, pair: pair(0xa1), epoch: Epoch(1), node: node(number) }
}

/// Receipts that `number` signs together.
fn stamped(number: u8, kept: &[Kept]) -> Vec<SignedReceipt> {
    let receipts: Vec<_> = kept.iter().map(|kept| receipt(*kept, number)).collect();
    let statements: Vec<_> = receipts.iter().map(|receipt| receipt.statement(&network())).collect();
    let (root, paths) = merkle_tree(&statements);
    let by = by_node(number, &root);
    let signed = |(receipt, path)| SignedReceipt { receipt, path, by };
    receipts.into_iter().zip(paths).map(signed).collect()
}

/// The receipts that acknowledge one shard: the primary's, then the mirror's.
pub(crate) fn of_shard(stripe: StripeId, index: ShardIndex) -> Vec<SignedReceipt> {
    [PRIMARY, MIRROR].map(|number| stamped(number, &[Kept::Shard(stripe, index)])).concat()
}

/// The receipts that acknowledge one record.
pub(crate) fn of_record(record: Digest) -> Vec<SignedReceipt> {
    [PRIMARY, MIRROR].map(|number| stamped(number, &[Kept::Record(record)])).concat()
}

pub(crate) fn vectors() -> Value {
    let shard = of_shard(StripeId([0x41; 32]), ShardIndex(2));
    let records: Vec<_> =
        [0x51, 0x52, 0x53].map(|number| Kept::Record(Digest([number; 32]))).to_vec();
    json!({
        "network": network().full(),
        "shard_at_both_members": shard.iter().map(vector).collect::<Vec<_>>(),
        "records_in_one_batch": stamped(MIRROR, &records).iter().map(vector).collect::<Vec<_>>(),
    })
}

fn vector(signed: &SignedReceipt) -> Value {
    let (receipt, statement) = (&signed.receipt, signed.receipt.statement(&network()));
    let kept = match receipt.kept {
        Kept::Shard(stripe, index) => json!({ "stripe": stripe.full(), "index": index.0 }),
        Kept::Record(record) => json!({ "record": record.full() }),
    };
    json!({
        "kept": kept,
        "pair": receipt.pair.full(),
        "epoch": receipt.epoch.0,
        "node": receipt.node.full(),
        "encoded": hex(&receipt.encode()),
        "statement": statement.full(),
        "path": path(&signed.path),
        "signed_digest": signed.path.root(&statement).full(),
        "key": hex(&signed.by.key),
        "signature": hex(&signed.by.signature),
        "signed": hex(&signed.encode()),
    })
}
