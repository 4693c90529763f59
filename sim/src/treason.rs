//! Nodes that turned against everybody: they have their key and their disk, and say what
//! they like. Each does one thing wrong, so that a trace shows which.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::digest::merkle_tree;
use defs_core::ids::{NetworkId, NodeId, PairId, ShardIndex};
use defs_core::message::{Gossip, Located, Request, Response, Rung, StoreShard};
use defs_core::port::{Reply, Service, Verdict};
use defs_core::receipt::{Kept, NodeSignature, Receipt, SignedReceipt};
use defs_core::statement::Statement as _;
use defs_engine::Engine;
use defs_identity::SecretKey;

use crate::chance::Chance;
use crate::ports::Simulated;

/// What a node does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treason {
    /// Sends other bytes than those that it stored.
    WrongBytes,
    /// As mirror, signs that it stored what it threw away.
    StoresNothing,
    /// Signs receipts that are worth nothing.
    ForgesReceipts,
    /// Says that it knows of no record.
    DeniesRecords,
    /// Says that it deleted what it keeps.
    KeepsDeleted,
    /// Tells nothing of the network, and names pairs that there are not.
    Misleads,
    /// Says of every stripe that all of it is here and nobody committed it.
    DeniesCommits,
}

const ALL: &[Treason] = &[
    Treason::WrongBytes,
    Treason::StoresNothing,
    Treason::ForgesReceipts,
    Treason::DeniesRecords,
    Treason::KeepsDeleted,
    Treason::Misleads,
    Treason::DeniesCommits,
];

impl Treason {
    /// Any.
    #[must_use]
    pub fn drawn(chance: &Chance) -> Self {
        chance.pick(ALL).copied().unwrap_or(Self::WrongBytes)
    }
}

/// The node that does it, in front of the one that it was.
pub(crate) struct Traitor {
    pub(crate) treason: Treason,
    pub(crate) engine: Arc<Engine<Simulated>>,
    pub(crate) key: SecretKey,
    pub(crate) network: NetworkId,
}

impl Traitor {
    /// The receipt that a loyal mirror would give.
    fn receipt(&self, store: &StoreShard) -> SignedReceipt {
        let head = &store.head;
        let kept = Kept::Shard(head.descriptor.body.id(), head.index);
        let (pair, epoch) = (store.pair, store.epoch);
        let receipt = Receipt { kept, pair, epoch, node: self.engine.me() };
        let (root, mut paths) = merkle_tree(&[receipt.statement(&self.network)]);
        let by =
            NodeSignature { key: self.key.public().to_bytes(), signature: self.key.sign(&root).0 };
        SignedReceipt { receipt, path: paths.pop().unwrap_or_default(), by }
    }

    async fn mirror_nothing(&self, store: StoreShard, body: Body) -> Reply {
        // A primary whose bytes nobody takes would notice.
        drop(body.collect().await);
        Reply::bare(Response::Receipts(vec![self.receipt(&store)]))
    }
}

impl Service for Traitor {
    async fn serve(&self, caller: NodeId, request: Request, body: Body) -> Reply {
        match (self.treason, request) {
            (Treason::StoresNothing, Request::MirrorShard(store)) => {
                self.mirror_nothing(store, body).await
            }
            (Treason::DeniesRecords, Request::ReadRecords { keys }) => {
                Reply::bare(Response::Records(keys.iter().map(|_| Ok(Vec::new())).collect()))
            }
            (Treason::KeepsDeleted, Request::Delete { .. }) => Reply::bare(Response::Done),
            (Treason::Misleads, Request::Table { .. }) => {
                Reply::bare(Response::Table(Box::default()))
            }
            (Treason::Misleads, Request::Locate { .. }) => {
                let pairs = (0..16).map(|pair| PairId([pair; 16])).collect();
                let (messages, round_trips) = (u32::MAX, u32::MAX);
                let rung = Rung::Broadcast;
                Reply::bare(Response::Located(Located { pairs, rung, messages, round_trips }))
            }
            (Treason::DeniesCommits, Request::StripeStatus { .. }) => {
                let indices = (0..200).map(ShardIndex).collect();
                Reply::bare(Response::Stripe { indices, commit: None, tombstone: None })
            }
            (treason, request) => {
                let reply = self.engine.serve(caller, request, body).await;
                twisted(treason, reply).await
            }
        }
    }

    fn hear(&self, message: Gossip) -> Verdict {
        self.engine.hear(message)
    }

    fn gone(&self, peer: NodeId) {
        self.engine.gone(peer);
    }
}

fn is_a_shard(response: &Response) -> bool {
    matches!(response, Response::Shard { .. } | Response::Copy(_) | Response::Released { .. })
}

/// What a loyal node answered, as this one says it.
async fn twisted(treason: Treason, reply: Reply) -> Reply {
    match (treason, reply) {
        (Treason::WrongBytes, Reply { response, body }) if is_a_shard(&response) => {
            let mut bytes = body.collect().await.unwrap_or_default();
            if let Some(last) = bytes.last_mut() {
                *last ^= 0x40;
            }
            Reply { response, body: Body::whole(Bytes::from(bytes)) }
        }
        (Treason::ForgesReceipts, Reply { response: Response::Receipts(mut receipts), body }) => {
            for receipt in &mut receipts {
                receipt.by.signature[40] ^= 1;
            }
            Reply { response: Response::Receipts(receipts), body }
        }
        (_, reply) => reply,
    }
}
