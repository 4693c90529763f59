//! What heals: how copies are compared, taken over and rebuilt.

use std::ops::Range;
use std::sync::Arc;

use defs_core::ids::{Epoch, PairId, ShardIndex, StripeId};
use defs_core::message::{BATCH_ITEMS_MAX, ItemKind, Request, SUMMARY_PREFIX_MAX, ShardKey};
use defs_core::record::{RecordKey, SignedRecord};
use defs_core::stripe::Watched;

use super::{read_range, read_records};
use crate::error::WireError;
use crate::fields::{array, encodings, formats, list, present, read_shard_key, shard_key};
use crate::peer;

/// The most siblings of one stripe.
const LOST_MAX: usize = 200;

pub(super) fn summary(
    pair: PairId,
    epoch: Epoch,
    kind: ItemKind,
    prefix: &[u8],
) -> peer::SummaryOf {
    peer::SummaryOf {
        pair: pair.0.to_vec(),
        epoch: epoch.0,
        kind: item_kind(kind).into(),
        prefix: prefix.to_vec(),
    }
}

pub(super) fn read_summary(summary: peer::SummaryOf) -> Result<Request, WireError> {
    let kind = match summary.kind() {
        peer::ItemKind::Unspecified => return Err(WireError::UnknownKind("item")),
        peer::ItemKind::Shard => ItemKind::Shard,
        peer::ItemKind::Record => ItemKind::Record,
        peer::ItemKind::Tombstone => ItemKind::Tombstone,
        peer::ItemKind::StandIn => ItemKind::StandIn,
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

fn item_kind(kind: ItemKind) -> peer::ItemKind {
    match kind {
        ItemKind::Shard => peer::ItemKind::Shard,
        ItemKind::Record => peer::ItemKind::Record,
        ItemKind::Tombstone => peer::ItemKind::Tombstone,
        ItemKind::StandIn => peer::ItemKind::StandIn,
    }
}

pub(super) fn copy_shard(pair: PairId, epoch: Epoch, key: ShardKey) -> peer::CopyShard {
    peer::CopyShard { pair: pair.0.to_vec(), epoch: epoch.0, key: Some(shard_key(key)) }
}

pub(super) fn read_copy_shard(copy: &peer::CopyShard) -> Result<Request, WireError> {
    Ok(Request::CopyShard {
        pair: PairId(array(&copy.pair, "pair")?),
        epoch: Epoch(copy.epoch),
        key: read_shard_key(present(copy.key.as_ref(), "shard key")?)?,
    })
}

pub(super) fn copy_records(pair: PairId, epoch: Epoch, keys: &[RecordKey]) -> peer::CopyRecords {
    peer::CopyRecords { pair: pair.0.to_vec(), epoch: epoch.0, keys: encodings(keys) }
}

pub(super) fn read_copy_records(copy: peer::CopyRecords) -> Result<Request, WireError> {
    Ok(Request::CopyRecords {
        pair: PairId(array(&copy.pair, "pair")?),
        epoch: Epoch(copy.epoch),
        keys: formats(copy.keys, "record keys", BATCH_ITEMS_MAX)?,
    })
}

pub(super) fn copy_tombstones(
    pair: PairId,
    epoch: Epoch,
    stripes: &[StripeId],
) -> peer::CopyTombstones {
    peer::CopyTombstones {
        pair: pair.0.to_vec(),
        epoch: epoch.0,
        stripes: stripes.iter().map(|stripe| stripe.0.to_vec()).collect(),
    }
}

pub(super) fn read_copy_tombstones(copy: peer::CopyTombstones) -> Result<Request, WireError> {
    Ok(Request::CopyTombstones {
        pair: PairId(array(&copy.pair, "pair")?),
        epoch: Epoch(copy.epoch),
        stripes: list(copy.stripes, "stripes", BATCH_ITEMS_MAX, |stripe| {
            Ok(StripeId(array(&stripe, "stripe")?))
        })?,
    })
}

pub(super) fn release(key: ShardKey, lost: &[Watched]) -> peer::Release {
    peer::Release { key: Some(shard_key(key)), lost: lost.iter().map(watched).collect() }
}

pub(super) fn read_release(release: peer::Release) -> Result<Request, WireError> {
    Ok(Request::Release {
        key: read_shard_key(present(release.key.as_ref(), "shard key")?)?,
        lost: list(release.lost, "lost", LOST_MAX, |one| read_watched(&one))?,
    })
}

fn watched(watched: &Watched) -> peer::Watched {
    peer::Watched { index: watched.index.0.into(), pair: watched.pair.0.to_vec() }
}

fn read_watched(watched: &peer::Watched) -> Result<Watched, WireError> {
    let index = u8::try_from(watched.index).map_err(|_large| WireError::Invalid("index"))?;
    Ok(Watched { index: ShardIndex(index), pair: PairId(array(&watched.pair, "pair")?) })
}

pub(super) fn stand_in(keys: &[RecordKey], lost: PairId, by: PairId, both: bool) -> peer::StandIn {
    peer::StandIn { keys: encodings(keys), lost: lost.0.to_vec(), by: by.0.to_vec(), both }
}

pub(super) fn read_stand_in(stand_in: peer::StandIn) -> Result<Request, WireError> {
    Ok(Request::StandIn {
        keys: formats(stand_in.keys, "record keys", BATCH_ITEMS_MAX)?,
        lost: PairId(array(&stand_in.lost, "lost pair")?),
        by: PairId(array(&stand_in.by, "pair")?),
        both: stand_in.both,
    })
}

pub(super) fn take_records(
    pair: PairId,
    epoch: Epoch,
    lost: PairId,
    records: &[Arc<SignedRecord>],
    forward: bool,
) -> peer::TakeRecords {
    peer::TakeRecords {
        pair: pair.0.to_vec(),
        epoch: epoch.0,
        lost: lost.0.to_vec(),
        records: encodings(records.iter().map(Arc::as_ref)),
        forward,
    }
}

pub(super) fn read_take_records(take: peer::TakeRecords) -> Result<Request, WireError> {
    Ok(Request::TakeRecords {
        pair: PairId(array(&take.pair, "pair")?),
        epoch: Epoch(take.epoch),
        lost: PairId(array(&take.lost, "lost pair")?),
        records: read_records(take.records)?,
        forward: take.forward,
    })
}

pub(super) fn challenge(key: ShardKey, nonce: &[u8], range: &Range<u64>) -> peer::Challenge {
    peer::Challenge {
        key: Some(shard_key(key)),
        nonce: nonce.to_vec(),
        range: Some(peer::Range { start: range.start, end: range.end }),
    }
}

pub(super) fn read_challenge(challenge: &peer::Challenge) -> Result<Request, WireError> {
    Ok(Request::Challenge {
        key: read_shard_key(present(challenge.key.as_ref(), "shard key")?)?,
        nonce: array(&challenge.nonce, "nonce")?,
        range: read_range(present(challenge.range.as_ref(), "range")?)?,
    })
}
