//! Messages of every kind with contents drawn at random.
#![expect(clippy::unwrap_used, reason = "these values are valid")]

mod repair;

use std::sync::Arc;

use defs_core::digest::{MerklePath, file_id};
use defs_core::geometry::Geometry;
use defs_core::ids::{
    Digest, Epoch, FileId, Locator, NetworkId, NodeId, PairId, ShardId, ShardIndex, StripeId,
    StripeTag,
};
use defs_core::message::{
    Gossip, Hello, KeepStripe, Located, PairView, ReadShard, Reason, Refusal, Request, Response,
    Rung, ShardKey, StoreShard, Table,
};
use defs_core::network::{
    ADDRESS_MAX, ADDRESSES_MAX, Activity, Genesis, Labels, NodeCard, PairRecord, Reach, SignedCard,
    SignedPairRecord,
};
use defs_core::reading::Reading;
use defs_core::receipt::{Kept, NodeSignature, Receipt, SignedReceipt};
use defs_core::record::{Content, Record, RecordKey, RecordSet, SignedRecord};
use defs_core::statement::{Commit, Lock, Operations, Session, Signed, Tombstone, Unlock};
use defs_core::stripe::{CodecId, ShardHead, StripeDescriptor, Watched};
use defs_core::trace::{SpanId, TraceContext, TraceId};
use proptest::prelude::*;

pub(crate) fn shard_key(stripe: u8, index: u8) -> ShardKey {
    ShardKey { stripe: StripeId([stripe; 32]), index: ShardIndex(index) }
}

fn unlock(byte: u8) -> Unlock {
    Unlock {
        script: vec![byte; 70],
        path: MerklePath { siblings: vec![(true, Digest([byte; 32]))] },
    }
}

fn lock() -> Lock {
    Lock::new(vec![1, 2, 3]).unwrap()
}

fn commit(byte: u8) -> Signed<Commit> {
    Signed { body: Commit { stripe: StripeId([byte; 32]) }, unlock: unlock(byte) }
}

fn head(byte: u8) -> Arc<ShardHead> {
    let geometry = Geometry::new(2, 1).unwrap();
    let descriptor = StripeDescriptor {
        codec: CodecId::ReedSolomon16,
        geometry,
        generation: 3,
        per_pair: 1,
        coded_length: 1000,
        tag: StripeTag([byte; 16]),
        shards: vec![ShardId([byte; 32]); 3],
        shares: vec![Digest([byte; 32]); 3],
        lock: lock(),
    };
    Arc::new(ShardHead {
        descriptor: Signed { body: descriptor, unlock: unlock(byte) },
        index: ShardIndex(byte % 3),
        share: [byte; 32],
        watched: vec![Watched { index: ShardIndex((byte % 3 + 1) % 3), pair: PairId([byte; 16]) }],
    })
}

fn record(byte: u8, length: usize) -> Arc<SignedRecord> {
    let body = Record {
        key: RecordKey::manifest(file_id(lock().script(), &[byte; 32]), byte.into()),
        counter: 2,
        parents: vec![Digest([byte; 32])],
        set: RecordSet { pairs: vec![PairId([byte; 16])], version: 1 },
        lock: lock(),
        file_random: [byte; 32],
        salt: [byte; 32],
        content: if length == 0 { Content::Deleted } else { Content::Sealed(vec![byte; length]) },
    };
    Arc::new(Signed { body, unlock: unlock(byte) })
}

fn pair_record(byte: u8) -> SignedPairRecord {
    let by = NodeSignature { key: [byte; 33], signature: [byte; 64] };
    let record = PairRecord {
        pair: PairId([byte; 16]),
        epoch: Epoch(2),
        members: [NodeId([1; 32]), NodeId([2; 32])],
        witnesses: vec![NodeId([3; 32])],
        previous: Some(Digest([byte; 32])),
    };
    SignedPairRecord { record, signatures: vec![by; 3] }
}

/// A table of nodes with as long a card as there can be, and as many pairs.
pub(crate) fn large_table(nodes: usize) -> Table {
    let mut card = card(1);
    card.card.addresses = vec!["a".repeat(ADDRESS_MAX); ADDRESSES_MAX];
    let pair = PairView { record: pair_record(1), alive: [true, false] };
    Table { cards: vec![card; nodes], pairs: vec![pair; nodes], next: None }
}

fn card(byte: u8) -> SignedCard {
    let card = NodeCard {
        key: [byte; 33],
        sequence: byte.into(),
        addresses: vec!["/ip4/127.0.0.1/tcp/4100".into()],
        labels: Labels { host: "a".into(), zone: "b".into(), region: String::new() },
        capacity: 10,
        used: 3,
        activity: Activity::default(),
        reach: Reach::default(),
        admission: [byte; 64],
    };
    SignedCard { card, signature: [byte; 64] }
}

fn reading(byte: u8) -> Reading {
    Reading { answers: byte.into(), p95_us: byte.into(), ..Reading::nothing(NodeId([byte; 32])) }
}

fn receipt(byte: u8) -> SignedReceipt {
    let receipt = Receipt {
        kept: Kept::Shard(StripeId([byte; 32]), ShardIndex(byte)),
        pair: PairId([byte; 16]),
        epoch: Epoch(byte.into()),
        node: NodeId([byte; 32]),
    };
    let by = NodeSignature { key: [byte; 33], signature: [byte; 64] };
    SignedReceipt { receipt, path: MerklePath::default(), by }
}

fn tombstone(byte: u8) -> Signed<Tombstone> {
    Signed { body: Tombstone { stripe: StripeId([byte; 32]) }, unlock: unlock(byte) }
}

fn session(byte: u8) -> Signed<Session> {
    let session = Session {
        operations: Operations::READ.and(Operations::RENEW),
        lock: lock(),
        client: NodeId([byte; 32]),
        node: NodeId([1; 32]),
        challenge: [byte; 32],
        not_after_ms: 99,
    };
    Signed { body: session, unlock: unlock(byte) }
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (prop::sample::select(Reason::ALL), ".{0,600}")
        .prop_map(|(reason, detail)| Refusal::new(reason, detail))
}

fn store(byte: u8, epoch: u64) -> StoreShard {
    StoreShard { head: head(byte), pair: PairId([byte; 16]), epoch: Epoch(epoch), lease_ms: epoch }
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![owners(), repair::request()]
}

fn owners() -> impl Strategy<Value = Request> {
    (0..16_u8, any::<u8>(), 0..5_usize, any::<u64>(), any::<bool>()).prop_map(
        |(kind, byte, count, number, flag)| {
            let (pair, epoch) = (PairId([byte; 16]), Epoch(number));
            let locator = Locator([byte; 32]);
            match kind {
                0 => Request::Hello(Hello { network: NetworkId([byte; 32]), version: byte.into() }),
                1 => Request::OpenSession(Box::new(session(byte))),
                2 => Request::StoreShard(store(byte, number)),
                3 => Request::MirrorShard(store(byte, number)),
                4 => Request::ReadShard(ReadShard {
                    key: shard_key(byte, byte),
                    range: flag.then(|| 1..number.max(1)),
                }),
                5 => Request::Renew {
                    shards: vec![shard_key(byte, byte); count],
                    lease_ms: number,
                    both: flag,
                },
                6 => Request::Commit {
                    stripes: vec![
                        KeepStripe {
                            commit: commit(byte),
                            indices: vec![ShardIndex(byte); count],
                        };
                        count
                    ],
                    both: flag,
                },
                7 => Request::Delete { tombstones: vec![tombstone(byte); count], both: flag },
                8 => Request::WriteRecords {
                    pair,
                    epoch,
                    records: vec![record(byte, count * 1000); count],
                    forward: flag,
                },
                9 => Request::ReadRecords {
                    keys: vec![RecordKey::manifest(FileId([byte; 32]), 3); count],
                },
                10 => Request::StripeStatus { stripe: StripeId([byte; 32]) },
                11 => Request::Table { from: byte.into() },
                12 => Request::Propose(Box::new(pair_record(byte))),
                13 => Request::Heartbeat { pair, epoch },
                14 => Request::Locate { locator },
                15 => Request::Readings { after: flag.then_some(NodeId([byte; 32])) },
                _ => Request::Found { locator, query: number, pair },
            }
        },
    )
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    prop_oneof![to_owners(), repair::response()]
}

fn to_owners() -> impl Strategy<Value = Response> {
    (0..14_u8, any::<u8>(), 0..3_usize, any::<u64>(), refusal(), any::<bool>()).prop_map(
        |(kind, byte, count, number, refusal, flag)| match kind {
            0 => Response::Hello {
                genesis: Genesis { random: [byte; 32], invite_key: [byte; 33] },
                version: byte.into(),
                challenge: [byte; 32],
            },
            1 => Response::Done,
            2 => Response::Receipts(vec![receipt(byte); count]),
            3 => Response::Shard { length: number },
            4 => Response::Held(vec![flag; usize::from(byte)]),
            5 => Response::Written(vec![Ok(vec![receipt(byte); count]), Err(refusal)]),
            6 => Response::Records(vec![Err(refusal), Ok(vec![record(byte, 100); count])]),
            7 => Response::Stripe {
                indices: vec![ShardIndex(byte); count],
                commit: flag.then(|| commit(byte)),
                tombstone: flag.then(|| tombstone(byte)),
            },
            8 => Response::Table(Box::new(Table {
                cards: vec![card(byte); count],
                pairs: vec![PairView { record: pair_record(byte), alive: [flag, !flag] }; count],
                next: flag.then_some(byte.into()),
            })),
            9 => Response::Pair(Box::new(pair_record(byte))),
            10 => Response::Alive,
            12 => Response::Readings(vec![reading(byte); count]),
            11 => Response::Located(Located {
                pairs: vec![PairId([byte; 16]); count],
                rung: [Rung::Local, Rung::Broadcast, Rung::Kademlia, Rung::Nowhere]
                    [usize::from(byte % 4)],
                messages: 3,
                round_trips: byte.into(),
            }),
            _ => Response::Refused(refusal),
        },
    )
}

pub(crate) fn gossip() -> impl Strategy<Value = Gossip> {
    (0..5_u8, any::<u8>(), any::<u64>()).prop_map(|(kind, byte, query)| match kind {
        0 => Gossip::Card(Box::new(card(byte))),
        1 => Gossip::Pair(Box::new(pair_record(byte))),
        2 => Gossip::Moved(Box::new(repair::moved(byte))),
        3 => Gossip::Wish {
            wish: Box::new(repair::wish(byte, query)),
            trace: (byte % 2 == 0).then(|| trace(byte)),
        },
        _ => Gossip::Query { locator: Locator([byte; 32]), asker: NodeId([byte; 32]), query },
    })
}

pub(crate) fn trace(byte: u8) -> TraceContext {
    TraceContext {
        trace: TraceId::new([byte | 1; 16]).unwrap(),
        span: SpanId::new([byte | 2; 8]).unwrap(),
        sampled: byte < 128,
    }
}
