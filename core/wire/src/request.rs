//! Requests to bytes and back.

mod repair;

use std::sync::Arc;

use bytes::Bytes;
use defs_core::format::Format;
use defs_core::ids::{Epoch, Locator, NetworkId, NodeId, PairId, StripeId};
use defs_core::message::{BATCH_ITEMS_MAX, Hello, KeepStripe, ReadShard, Request, StoreShard};
use defs_core::record::SignedRecord;
use defs_core::trace::TraceContext;
use prost::Message;

use crate::error::WireError;
use crate::fields::{
    array, encodings, format, formats, list, message, present, read_indices, read_shard_key,
    read_trace, shard_key, trace_bytes,
};
use crate::peer;
use crate::peer::request::Request as Kind;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// What is asked.
    pub request: Request,
    /// Bytes that follow it.
    pub body_length: u64,
    /// Where the sender's work stands in a trace, if it records one.
    pub trace: Option<TraceContext>,
}

/// The bytes of `request`, after which a body of `body_length` bytes will come.
#[must_use]
pub fn encode_request(request: &Request, body_length: u64, trace: Option<TraceContext>) -> Bytes {
    let (request, trace) = (Some(kind(request)), trace_bytes(trace));
    peer::Request { body_length, trace, request }.encode_to_vec().into()
}

/// The request with what stands beside it.
pub fn decode_request(bytes: &[u8]) -> Result<Incoming, WireError> {
    let peer::Request { body_length, trace, request } = message(bytes)?;
    let request = read(request.ok_or(WireError::UnknownKind("request"))?)?;
    Ok(Incoming { request, body_length, trace: read_trace(&trace)? })
}

fn kind(request: &Request) -> Kind {
    match request {
        Request::Hello(Hello { network, version }) => {
            Kind::Hello(peer::Hello { network: network.0.to_vec(), version: *version })
        }
        Request::OpenSession(session) => Kind::OpenSession(session.encode()),
        Request::StoreShard(store) => Kind::StoreShard(store_shard(store)),
        Request::MirrorShard(store) => Kind::MirrorShard(store_shard(store)),
        Request::ReadShard(read) => Kind::ReadShard(read_shard(read)),
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
        Request::Heartbeat { pair, epoch } => Kind::Heartbeat(of_pair(*pair, *epoch)),
        Request::Locate { locator } => Kind::Locate(locator.0.to_vec()),
        Request::Found { locator, query, pair } => Kind::Found(peer::Found {
            locator: locator.0.to_vec(),
            query: *query,
            pair: pair.0.to_vec(),
        }),
        Request::Ping => Kind::Ping(peer::Empty {}),
        Request::Probe { node } => Kind::Probe(node.0.to_vec()),
        Request::Confirm { pair, epoch } => Kind::Confirm(of_pair(*pair, *epoch)),
        Request::History { pair, after } => Kind::History(of_pair(*pair, *after)),
        Request::Summary { pair, epoch, kind, prefix } => {
            Kind::Summary(repair::summary(*pair, *epoch, *kind, prefix))
        }
        Request::CopyShard { pair, epoch, key } => {
            Kind::CopyShard(repair::copy_shard(*pair, *epoch, *key))
        }
        Request::CopyRecords { pair, epoch, keys } => {
            Kind::CopyRecords(repair::copy_records(*pair, *epoch, keys))
        }
        Request::CopyTombstones { pair, epoch, stripes } => {
            Kind::CopyTombstones(repair::copy_tombstones(*pair, *epoch, stripes))
        }
        Request::Release { key, lost } => Kind::Release(repair::release(*key, lost)),
        Request::StandIn { keys, lost, by, both } => {
            Kind::StandIn(repair::stand_in(keys, *lost, *by, *both))
        }
        Request::TakeRecords { pair, epoch, lost, records, forward } => {
            Kind::TakeRecords(repair::take_records(*pair, *epoch, *lost, records, *forward))
        }
        Request::Challenge { key, nonce, range } => {
            Kind::Challenge(repair::challenge(*key, nonce, range))
        }
        Request::Readings { after } => Kind::Readings(readings(after.as_ref())),
        Request::Moved(notes) => Kind::Moved(notes.encode()),
    }
}

fn readings(after: Option<&NodeId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |node| node.0.to_vec())
}

fn of_pair(pair: PairId, epoch: Epoch) -> peer::Heartbeat {
    peer::Heartbeat { pair: pair.0.to_vec(), epoch: epoch.0 }
}

fn keep_stripe(stripe: &KeepStripe) -> peer::KeepStripe {
    peer::KeepStripe {
        commit: stripe.commit.encode(),
        indices: stripe.indices.iter().map(|index| index.0).collect(),
    }
}

fn read_shard(ReadShard { key, range }: &ReadShard) -> peer::ReadShard {
    let range = range.as_ref().map(|range| peer::Range { start: range.start, end: range.end });
    peer::ReadShard { key: Some(shard_key(*key)), range }
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
        Kind::Heartbeat(heartbeat) => {
            let (pair, epoch) = read_of_pair(&heartbeat)?;
            Request::Heartbeat { pair, epoch }
        }
        Kind::Locate(locator) => Request::Locate { locator: Locator(array(&locator, "locator")?) },
        Kind::Found(found) => Request::Found {
            locator: Locator(array(&found.locator, "locator")?),
            query: found.query,
            pair: PairId(array(&found.pair, "pair")?),
        },
        Kind::Ping(peer::Empty {}) => Request::Ping,
        Kind::Probe(node) => Request::Probe { node: NodeId(array(&node, "node")?) },
        Kind::Confirm(confirm) => {
            let (pair, epoch) = read_of_pair(&confirm)?;
            Request::Confirm { pair, epoch }
        }
        Kind::History(history) => {
            let (pair, after) = read_of_pair(&history)?;
            Request::History { pair, after }
        }
        Kind::Summary(summary) => repair::read_summary(summary)?,
        Kind::CopyShard(copy) => repair::read_copy_shard(&copy)?,
        Kind::CopyRecords(copy) => repair::read_copy_records(copy)?,
        Kind::CopyTombstones(copy) => repair::read_copy_tombstones(copy)?,
        Kind::Release(release) => repair::read_release(release)?,
        Kind::StandIn(stand_in) => repair::read_stand_in(stand_in)?,
        Kind::TakeRecords(take) => repair::read_take_records(take)?,
        Kind::Challenge(challenge) => repair::read_challenge(&challenge)?,
        Kind::Readings(after) if after.is_empty() => Request::Readings { after: None },
        Kind::Readings(after) => Request::Readings { after: Some(NodeId(array(&after, "node")?)) },
        Kind::Moved(notes) => Request::Moved(Box::new(format(&notes, "moved notes")?)),
    })
}

fn read_of_pair(named: &peer::Heartbeat) -> Result<(PairId, Epoch), WireError> {
    Ok((PairId(array(&named.pair, "pair")?), Epoch(named.epoch)))
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
