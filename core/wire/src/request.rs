//! Requests to bytes and back.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::format::Format;
use defs_core::ids::{Epoch, Locator, NetworkId, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    BATCH_ITEMS_MAX, Hello, ItemKind, KeepStripe, ReadShard, Request, SUMMARY_PREFIX_MAX,
    StoreShard,
};
use defs_core::record::SignedRecord;
use defs_core::stripe::Watched;
use prost::Message;

use crate::error::WireError;
use crate::fields::{
    array, encodings, format, formats, list, message, present, read_indices, read_shard_key,
    shard_key,
};
use crate::peer;
use crate::peer::request::Request as Kind;

/// The most siblings of one stripe.
const LOST_MAX: usize = 200;

/// The bytes of `request`, after which a body of `body_length` bytes will come.
#[must_use]
pub fn encode_request(request: &Request, body_length: u64) -> Bytes {
    let request = Some(kind(request));
    peer::Request { body_length, request }.encode_to_vec().into()
}

/// The request and the length of the body that follows it.
pub fn decode_request(bytes: &[u8]) -> Result<(Request, u64), WireError> {
    let peer::Request { body_length, request } = message(bytes)?;
    Ok((read(request.ok_or(WireError::UnknownKind("request"))?)?, body_length))
}

fn kind(request: &Request) -> Kind {
    match request {
        Request::Hello(Hello { network, version }) => {
            Kind::Hello(peer::Hello { network: network.0.to_vec(), version: *version })
        }
        Request::OpenSession(session) => Kind::OpenSession(session.encode()),
        Request::StoreShard(store) => Kind::StoreShard(store_shard(store)),
        Request::MirrorShard(store) => Kind::MirrorShard(store_shard(store)),
        Request::ReadShard(ReadShard { key, range }) => Kind::ReadShard(peer::ReadShard {
            key: Some(shard_key(*key)),
            range: range.as_ref().map(|range| peer::Range { start: range.start, end: range.end }),
        }),
        Request::Renew { shards, lease_ms, both } => Kind::Renew(peer::Renew {
            shards: shards.iter().copied().map(shard_key).collect(),
            lease_ms: *lease_ms,
            both: *both,
        }),
        Request::Commit { stripes, both } => Kind::Commit(peer::Commit {
            stripes: stripes.iter().map(keep_stripe).collect(),
            both: *both,
        }),
        Request::Delete { tombstones, both } => {
            Kind::Delete(peer::Delete { tombstones: encodings(tombstones), both: *both })
        }
        Request::WriteRecords { pair, epoch, records, forward } => {
            Kind::WriteRecords(peer::WriteRecords {
                pair: pair.0.to_vec(),
                epoch: epoch.0,
                records: encodings(records.iter().map(Arc::as_ref)),
                forward: *forward,
            })
        }
        Request::ReadRecords { keys } => {
            Kind::ReadRecords(peer::ReadRecords { keys: encodings(keys) })
        }
        Request::StripeStatus { stripe } => Kind::StripeStatus(stripe.0.to_vec()),
        Request::Table { from } => Kind::Table(*from),
        Request::Propose(pair) => Kind::Propose(pair.encode()),
        Request::Heartbeat { pair, epoch } => {
            Kind::Heartbeat(peer::Heartbeat { pair: pair.0.to_vec(), epoch: epoch.0 })
        }
        Request::Locate { locator } => Kind::Locate(locator.0.to_vec()),
        Request::Found { locator, query, pair } => Kind::Found(peer::Found {
            locator: locator.0.to_vec(),
            query: *query,
            pair: pair.0.to_vec(),
        }),
        Request::Ping => Kind::Ping(peer::Empty {}),
        Request::Probe { node } => Kind::Probe(node.0.to_vec()),
        Request::Confirm { pair, epoch } => {
            Kind::Confirm(peer::Heartbeat { pair: pair.0.to_vec(), epoch: epoch.0 })
        }
        Request::History { pair, after } => {
            Kind::History(peer::Heartbeat { pair: pair.0.to_vec(), epoch: after.0 })
        }
        Request::Summary { pair, epoch, kind, prefix } => Kind::Summary(peer::SummaryOf {
            pair: pair.0.to_vec(),
            epoch: epoch.0,
            kind: item_kind(*kind).into(),
            prefix: prefix.clone(),
        }),
        Request::CopyShard { pair, epoch, key } => Kind::CopyShard(peer::CopyShard {
            pair: pair.0.to_vec(),
            epoch: epoch.0,
            key: Some(shard_key(*key)),
        }),
        Request::CopyRecords { pair, epoch, keys } => Kind::CopyRecords(peer::CopyRecords {
            pair: pair.0.to_vec(),
            epoch: epoch.0,
            keys: encodings(keys),
        }),
        Request::CopyTombstones { pair, epoch, stripes } => {
            Kind::CopyTombstones(peer::CopyTombstones {
                pair: pair.0.to_vec(),
                epoch: epoch.0,
                stripes: stripes.iter().map(|stripe| stripe.0.to_vec()).collect(),
            })
        }
        Request::Release { key, lost } => Kind::Release(peer::Release {
            key: Some(shard_key(*key)),
            lost: lost.iter().map(watched).collect(),
        }),
        Request::StandIn { keys, lost, by, both } => Kind::StandIn(peer::StandIn {
            keys: encodings(keys),
            lost: lost.0.to_vec(),
            by: by.0.to_vec(),
            both: *both,
        }),
        Request::TakeRecords { pair, epoch, lost, records, forward } => {
            Kind::TakeRecords(peer::TakeRecords {
                pair: pair.0.to_vec(),
                epoch: epoch.0,
                lost: lost.0.to_vec(),
                records: encodings(records.iter().map(Arc::as_ref)),
                forward: *forward,
            })
        }
        Request::Challenge { key, nonce, range } => Kind::Challenge(peer::Challenge {
            key: Some(shard_key(*key)),
            nonce: nonce.to_vec(),
            range: Some(peer::Range { start: range.start, end: range.end }),
        }),
    }
}

fn watched(watched: &Watched) -> peer::Watched {
    peer::Watched { index: watched.index.0.into(), pair: watched.pair.0.to_vec() }
}

fn read_watched(watched: &peer::Watched) -> Result<Watched, WireError> {
    let index = u8::try_from(watched.index).map_err(|_large| WireError::Invalid("index"))?;
    Ok(Watched { index: ShardIndex(index), pair: PairId(array(&watched.pair, "pair")?) })
}

fn item_kind(kind: ItemKind) -> peer::ItemKind {
    match kind {
        ItemKind::Shard => peer::ItemKind::Shard,
        ItemKind::Record => peer::ItemKind::Record,
        ItemKind::Tombstone => peer::ItemKind::Tombstone,
    }
}

fn keep_stripe(stripe: &KeepStripe) -> peer::KeepStripe {
    peer::KeepStripe {
        commit: stripe.commit.encode(),
        indices: stripe.indices.iter().map(|index| index.0).collect(),
    }
}

fn store_shard(store: &StoreShard) -> peer::StoreShard {
    peer::StoreShard {
        head: store.head.encode(),
        pair: store.pair.0.to_vec(),
        epoch: store.epoch.0,
        lease_ms: store.lease_ms,
    }
}

fn read(kind: Kind) -> Result<Request, WireError> {
    Ok(match kind {
        Kind::Hello(hello) => Request::Hello(Hello {
            network: NetworkId(array(&hello.network, "network")?),
            version: hello.version,
        }),
        Kind::OpenSession(session) => Request::OpenSession(Box::new(format(&session, "session")?)),
        Kind::StoreShard(store) => Request::StoreShard(read_store_shard(&store)?),
        Kind::MirrorShard(store) => Request::MirrorShard(read_store_shard(&store)?),
        Kind::ReadShard(shard) => Request::ReadShard(read_read_shard(&shard)?),
        Kind::Renew(renew) => Request::Renew {
            shards: list(renew.shards, "shards", BATCH_ITEMS_MAX, |key| read_shard_key(&key))?,
            lease_ms: renew.lease_ms,
            both: renew.both,
        },
        Kind::Commit(commit) => Request::Commit {
            stripes: list(commit.stripes, "stripes", BATCH_ITEMS_MAX, |one| {
                read_keep_stripe(&one)
            })?,
            both: commit.both,
        },
        Kind::Delete(delete) => Request::Delete {
            tombstones: formats(delete.tombstones, "tombstones", BATCH_ITEMS_MAX)?,
            both: delete.both,
        },
        Kind::WriteRecords(write) => read_write_records(write)?,
        Kind::ReadRecords(read) => {
            Request::ReadRecords { keys: formats(read.keys, "record keys", BATCH_ITEMS_MAX)? }
        }
        Kind::StripeStatus(stripe) => {
            Request::StripeStatus { stripe: StripeId(array(&stripe, "stripe")?) }
        }
        Kind::Table(from) => Request::Table { from },
        Kind::Propose(pair) => Request::Propose(Box::new(format(&pair, "pair record")?)),
        Kind::Heartbeat(heartbeat) => Request::Heartbeat {
            pair: PairId(array(&heartbeat.pair, "pair")?),
            epoch: Epoch(heartbeat.epoch),
        },
        Kind::Locate(locator) => Request::Locate { locator: Locator(array(&locator, "locator")?) },
        Kind::Found(found) => Request::Found {
            locator: Locator(array(&found.locator, "locator")?),
            query: found.query,
            pair: PairId(array(&found.pair, "pair")?),
        },
        Kind::Ping(peer::Empty {}) => Request::Ping,
        Kind::Probe(node) => Request::Probe { node: NodeId(array(&node, "node")?) },
        Kind::Confirm(confirm) => Request::Confirm {
            pair: PairId(array(&confirm.pair, "pair")?),
            epoch: Epoch(confirm.epoch),
        },
        Kind::History(history) => Request::History {
            pair: PairId(array(&history.pair, "pair")?),
            after: Epoch(history.epoch),
        },
        Kind::Summary(summary) => read_summary(summary)?,
        Kind::CopyShard(copy) => Request::CopyShard {
            pair: PairId(array(&copy.pair, "pair")?),
            epoch: Epoch(copy.epoch),
            key: read_shard_key(present(copy.key.as_ref(), "shard key")?)?,
        },
        Kind::CopyRecords(copy) => Request::CopyRecords {
            pair: PairId(array(&copy.pair, "pair")?),
            epoch: Epoch(copy.epoch),
            keys: formats(copy.keys, "record keys", BATCH_ITEMS_MAX)?,
        },
        Kind::CopyTombstones(copy) => Request::CopyTombstones {
            pair: PairId(array(&copy.pair, "pair")?),
            epoch: Epoch(copy.epoch),
            stripes: list(copy.stripes, "stripes", BATCH_ITEMS_MAX, |stripe| {
                Ok(StripeId(array(&stripe, "stripe")?))
            })?,
        },
        Kind::Release(release) => Request::Release {
            key: read_shard_key(present(release.key.as_ref(), "shard key")?)?,
            lost: list(release.lost, "lost", LOST_MAX, |one| read_watched(&one))?,
        },
        Kind::StandIn(stand_in) => Request::StandIn {
            keys: formats(stand_in.keys, "record keys", BATCH_ITEMS_MAX)?,
            lost: PairId(array(&stand_in.lost, "lost pair")?),
            by: PairId(array(&stand_in.by, "pair")?),
            both: stand_in.both,
        },
        Kind::TakeRecords(take) => Request::TakeRecords {
            pair: PairId(array(&take.pair, "pair")?),
            epoch: Epoch(take.epoch),
            lost: PairId(array(&take.lost, "lost pair")?),
            records: read_records(take.records)?,
            forward: take.forward,
        },
        Kind::Challenge(challenge) => Request::Challenge {
            key: read_shard_key(present(challenge.key.as_ref(), "shard key")?)?,
            nonce: array(&challenge.nonce, "nonce")?,
            range: read_range(present(challenge.range.as_ref(), "range")?)?,
        },
    })
}

fn read_summary(summary: peer::SummaryOf) -> Result<Request, WireError> {
    let kind = match summary.kind() {
        peer::ItemKind::Unspecified => return Err(WireError::UnknownKind("item")),
        peer::ItemKind::Shard => ItemKind::Shard,
        peer::ItemKind::Record => ItemKind::Record,
        peer::ItemKind::Tombstone => ItemKind::Tombstone,
    };
    if summary.prefix.len() > SUMMARY_PREFIX_MAX {
        return Err(WireError::Invalid("prefix"));
    }
    Ok(Request::Summary {
        pair: PairId(array(&summary.pair, "pair")?),
        epoch: Epoch(summary.epoch),
        kind,
        prefix: summary.prefix,
    })
}

fn read_range(range: &peer::Range) -> Result<std::ops::Range<u64>, WireError> {
    if range.start > range.end {
        return Err(WireError::Invalid("range"));
    }
    Ok(range.start..range.end)
}

fn read_keep_stripe(stripe: &peer::KeepStripe) -> Result<KeepStripe, WireError> {
    Ok(KeepStripe {
        commit: format(&stripe.commit, "commit")?,
        indices: read_indices(&stripe.indices)?,
    })
}

fn read_store_shard(store: &peer::StoreShard) -> Result<StoreShard, WireError> {
    Ok(StoreShard {
        head: Arc::new(format(&store.head, "shard head")?),
        pair: PairId(array(&store.pair, "pair")?),
        epoch: Epoch(store.epoch),
        lease_ms: store.lease_ms,
    })
}

fn read_read_shard(shard: &peer::ReadShard) -> Result<ReadShard, WireError> {
    let key = read_shard_key(present(shard.key.as_ref(), "shard key")?)?;
    let range = shard.range.as_ref().map(read_range).transpose()?;
    Ok(ReadShard { key, range })
}

fn read_write_records(write: peer::WriteRecords) -> Result<Request, WireError> {
    Ok(Request::WriteRecords {
        pair: PairId(array(&write.pair, "pair")?),
        epoch: Epoch(write.epoch),
        records: read_records(write.records)?,
        forward: write.forward,
    })
}

fn read_records(records: Vec<Vec<u8>>) -> Result<Vec<Arc<SignedRecord>>, WireError> {
    list(records, "records", BATCH_ITEMS_MAX, |record| format(&record, "record").map(Arc::new))
}
