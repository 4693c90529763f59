//! A node's signed word that something is durable on its disk.

use crate::digest::MerklePath;
use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, Epoch, NetworkId, NodeId, PairId, ShardIndex, StripeId};
use crate::statement::{Statement, stated};

/// A node's signature: its compressed public key, of which its id is a hash, and ECDSA
/// over a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSignature {
    /// Compressed P-256 point.
    pub key: [u8; 33],
    /// `r ‖ s`, low-S.
    pub signature: [u8; 64],
}

impl Format for NodeSignature {
    const NAME: &'static str = "a node's signature";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.key);
        out.raw(&self.signature);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { key: input.array("key")?, signature: input.array("signature")? })
    }
}

/// What is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// A shard of a stripe.
    Shard(StripeId, ShardIndex),
    /// A version of a record.
    Record(Digest),
}

/// "`kept` is durable here": binds thing, pair, epoch and node. Two receipts count as
/// acknowledgement only if they are of one epoch and of both members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// What is durable.
    pub kept: Kept,
    /// For which pair it is kept.
    pub pair: PairId,
    /// In which epoch of that pair.
    pub epoch: Epoch,
    /// On whose disk.
    pub node: NodeId,
}

impl Statement for Receipt {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 receipt", network, &self.encode())
    }
}

impl Format for Receipt {
    const NAME: &'static str = "a receipt";
    fn write(&self, out: &mut Writer) {
        match &self.kept {
            Kept::Shard(stripe, index) => {
                out.u8(1);
                out.raw(&stripe.0);
                out.u8(index.0);
            }
            Kept::Record(hash) => {
                out.u8(2);
                out.raw(&hash.0);
            }
        }
        out.raw(&self.pair.0);
        out.u64(self.epoch.0);
        out.raw(&self.node.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let kept = match input.u8("kept")? {
            1 => Kept::Shard(StripeId(input.array("stripe")?), ShardIndex(input.u8("index")?)),
            2 => Kept::Record(Digest(input.array("record")?)),
            _ => return Err(FormatError::Invalid("kept")),
        };
        Ok(Self {
            kept,
            pair: PairId(input.array("pair")?),
            epoch: Epoch(input.u64("epoch")?),
            node: NodeId(input.array("node")?),
        })
    }
}

/// A receipt under a node's signature over the root of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What is said.
    pub receipt: Receipt,
    /// From the receipt's digest to the signed root.
    pub path: MerklePath,
    /// Over the root.
    pub by: NodeSignature,
}

impl Format for SignedReceipt {
    const NAME: &'static str = "a signed receipt";
    fn write(&self, out: &mut Writer) {
        self.receipt.write(out);
        self.path.write(out);
        self.by.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            receipt: Receipt::read(input)?,
            path: MerklePath::read(input)?,
            by: NodeSignature::read(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_receipt_reads_back_and_its_statement_binds_every_field() {
        let network = NetworkId([1; 32]);
        let receipt = Receipt {
            kept: Kept::Shard(StripeId([1; 32]), ShardIndex(3)),
            pair: PairId([2; 16]),
            epoch: Epoch(4),
            node: NodeId([5; 32]),
        };
        let by = NodeSignature { key: [6; 33], signature: [7; 64] };
        let signed = SignedReceipt { receipt, path: MerklePath::default(), by };
        assert_eq!(SignedReceipt::decode(&signed.encode()), Ok(signed));
        let others = [
            Receipt { kept: Kept::Shard(StripeId([1; 32]), ShardIndex(4)), ..receipt },
            Receipt { pair: PairId([3; 16]), ..receipt },
            Receipt { epoch: Epoch(5), ..receipt },
            Receipt { node: NodeId([6; 32]), ..receipt },
        ];
        for other in others {
            assert_ne!(other.statement(&network), receipt.statement(&network));
        }
        assert_ne!(receipt.statement(&NetworkId([2; 32])), receipt.statement(&network));
    }
}
