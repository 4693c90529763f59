//! How single fields become core's values: each bounded, each named in its refusal.

use defs_core::format::Format;
use defs_core::ids::{ShardIndex, StripeId};
use defs_core::message::{ItemResult, MESSAGE_MAX, Reason, Refusal, ShardKey};
use defs_core::trace::TraceContext;
use prost::Message;

use crate::error::WireError;
use crate::peer;

/// The longest words of a refusal.
const DETAIL_MAX: usize = 512;

/// The most shards of a stripe.
const SHARDS_MAX: usize = 200;

pub(crate) fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, WireError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(WireError::TooLarge { length: bytes.len(), bound: MESSAGE_MAX });
    }
    Ok(M::decode(bytes)?)
}

pub(crate) fn array<const N: usize>(
    bytes: &[u8],
    field: &'static str,
) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_wrong_length| WireError::WrongLength {
        field,
        length: bytes.len(),
        needed: N,
    })
}

pub(crate) fn format<T: Format>(bytes: &[u8], field: &'static str) -> Result<T, WireError> {
    T::decode(bytes).map_err(|source| WireError::Format { field, source })
}

pub(crate) fn list<T, U>(
    items: Vec<T>,
    field: &'static str,
    bound: usize,
    read: impl FnMut(T) -> Result<U, WireError>,
) -> Result<Vec<U>, WireError> {
    if items.len() > bound {
        return Err(WireError::TooLong { field, length: items.len(), bound });
    }
    items.into_iter().map(read).collect()
}

pub(crate) fn present<T>(field: Option<T>, name: &'static str) -> Result<T, WireError> {
    field.ok_or(WireError::Missing(name))
}

pub(crate) fn encodings<'a, T: Format + 'a>(
    items: impl IntoIterator<Item = &'a T>,
) -> Vec<Vec<u8>> {
    items.into_iter().map(Format::encode).collect()
}

pub(crate) fn formats<T: Format>(
    items: Vec<Vec<u8>>,
    field: &'static str,
    bound: usize,
) -> Result<Vec<T>, WireError> {
    list(items, field, bound, |item| format(&item, field))
}

/// Shard indices, a byte each.
pub(crate) fn read_indices(indices: &[u8]) -> Result<Vec<ShardIndex>, WireError> {
    list(indices.to_vec(), "indices", SHARDS_MAX, |index| Ok(ShardIndex(index)))
}

pub(crate) fn shard_key(key: ShardKey) -> peer::ShardKey {
    peer::ShardKey { stripe: key.stripe.0.to_vec(), index: key.index.0.into() }
}

pub(crate) fn read_shard_key(key: &peer::ShardKey) -> Result<ShardKey, WireError> {
    let index = u8::try_from(key.index).map_err(|_too_large| WireError::Invalid("shard index"))?;
    Ok(ShardKey { stripe: StripeId(array(&key.stripe, "stripe")?), index: ShardIndex(index) })
}

/// Where the sender's work stands in a trace; no bytes where it stands in none.
pub(crate) fn trace_bytes(trace: Option<TraceContext>) -> Vec<u8> {
    trace.map_or_else(Vec::new, |trace| trace.to_bytes().to_vec())
}

pub(crate) fn read_trace(bytes: &[u8]) -> Result<Option<TraceContext>, WireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let trace = TraceContext::from_bytes(bytes);
    trace.map(Some).map_err(|_malformed| WireError::Invalid("trace"))
}

pub(crate) fn refusal(refusal: &Refusal) -> peer::Refusal {
    peer::Refusal { reason: refusal.reason as u32, detail: refusal.detail.clone() }
}

pub(crate) fn read_refusal(refusal: peer::Refusal) -> Result<Refusal, WireError> {
    let length = refusal.detail.len();
    if length > DETAIL_MAX {
        return Err(WireError::TooLong { field: "detail", length, bound: DETAIL_MAX });
    }
    let reason = Reason::ALL.iter().find(|reason| **reason as u32 == refusal.reason);
    Ok(Refusal::new(*reason.ok_or(WireError::Invalid("reason"))?, refusal.detail))
}

/// An item of a batch in whichever of two fields of its oneof is set.
pub(crate) fn item<T, V>(
    result: &ItemResult<T>,
    accepted: impl FnOnce(&T) -> V,
    refused: impl FnOnce(peer::Refusal) -> V,
) -> V {
    match result {
        Ok(value) => accepted(value),
        Err(reason) => refused(refusal(reason)),
    }
}
