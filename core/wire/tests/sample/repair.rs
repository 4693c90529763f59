//! What heals.

use defs_core::ids::{Digest, Epoch, FileId, Locator, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    Item, ItemKind, Request, Response, SUMMARY_PARTS, SUMMARY_PREFIX_MAX, ShardCopy, Summary,
};
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::record::RecordKey;
use defs_core::stripe::Watched;
use defs_core::wish::{SignedWish, Want, Wish};
use proptest::prelude::*;

use super::{commit, head, pair_record, receipt, record, shard_key, tombstone};

fn item_kind() -> impl Strategy<Value = ItemKind> {
    prop::sample::select(&ItemKind::ALL[..])
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    let prefix = prop::collection::vec(any::<u8>(), 0..=SUMMARY_PREFIX_MAX);
    (0..14_u8, any::<u8>(), 0..5_usize, any::<u64>(), any::<bool>(), item_kind(), prefix).prop_map(
        |(number, byte, count, epoch, both, kind, prefix)| {
            let (pair, lost, epoch) = (PairId([byte; 16]), PairId([1; 16]), Epoch(epoch));
            let key = shard_key(byte, 2);
            let keys = vec![RecordKey::manifest(FileId([byte; 32]), 3); count];
            match number {
                0 => Request::Ping,
                1 => Request::Probe { node: NodeId([byte; 32]) },
                2 => Request::Confirm { pair, epoch },
                3 => Request::History { pair, after: epoch },
                4 => Request::Summary { pair, epoch, kind, prefix },
                5 => Request::CopyShard { pair, epoch, key },
                6 => Request::CopyRecords { pair, epoch, keys },
                7 => {
                    let stripes = vec![StripeId([byte; 32]); count];
                    Request::CopyTombstones { pair, epoch, stripes }
                }
                8 => {
                    let lost = vec![Watched { index: ShardIndex(byte), pair }; count];
                    Request::Release { key, lost }
                }
                9 => Request::StandIn { keys, lost, by: pair, both },
                10 => {
                    let records = vec![record(byte, 100); count];
                    Request::TakeRecords { pair, epoch, lost, records, forward: both }
                }
                11 => Request::Moved(Box::new(moved(byte))),
                _ => Request::Challenge { key, nonce: [byte; 32], range: 5..5 + epoch.0 / 2 },
            }
        },
    )
}

fn summary(byte: u8, count: usize, whole: bool) -> Summary {
    if whole {
        Summary::Items(vec![Item { name: vec![byte; 33], digest: [byte; 16] }; count])
    } else {
        Summary::Parts(vec![[byte; 16]; SUMMARY_PARTS])
    }
}

pub(super) fn response() -> impl Strategy<Value = Response> {
    (0..7_u8, any::<u8>(), 0..3_usize, any::<u64>(), any::<bool>()).prop_map(
        |(number, byte, count, lease_ms, flag)| match number {
            0 => Response::Reached(flag),
            1 => Response::History(vec![pair_record(byte); count]),
            2 => Response::Summary(summary(byte, count, flag)),
            3 => Response::Copy(Box::new(ShardCopy {
                head: head(byte),
                lease_ms,
                commit: flag.then(|| commit(byte)),
            })),
            4 => Response::Tombstones(vec![tombstone(byte); count]),
            5 => Response::Released { share: [byte; 32] },
            _ => Response::Proof(Digest([byte; 32])),
        },
    )
}

pub(super) fn moved(byte: u8) -> MovedNotes {
    let note = MovedNote {
        locator: Locator([byte; 32]),
        receipts: [receipt(byte), receipt(byte.wrapping_add(1))],
    };
    MovedNotes(vec![note; usize::from(byte % 4)])
}

pub(super) fn wish(byte: u8, sequence: u64) -> SignedWish {
    let want = [Want::Stay, Want::Drain, Want::Lost][usize::from(byte % 3)];
    let wish = Wish { node: NodeId([byte; 32]), want, sequence };
    SignedWish { wish, signature: [byte; 64] }
}
