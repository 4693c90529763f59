//! The inner layer: a slice sealed under a key that only the owner can derive.

use std::ops::Range;

use bytes::BytesMut;
use defs_codec::{
    OpenError, SealedPart, erasure::padded_length, open_in_place, open_range, seal_into,
};
use defs_core::framing::sealed_length;
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, SliceNo};
use defs_core::manifest::{SliceEntry, slice_digest};
use thiserror::Error;

use super::source::Slice;
use crate::keys::FileKey;

/// The label of a slice's frame.
const LABEL: &[u8] = b"defs/1 slice";

/// A slice under the file key, not coded yet.
#[derive(Debug)]
pub(crate) struct EncryptedSlice {
    pub(crate) number: SliceNo,
    pub(crate) length: u64,
    pub(crate) digest: Digest,
    pub(crate) salt: [u8; 32],
    /// Has room for the padding of its geometry.
    pub(crate) coded: Vec<u8>,
}

/// A slice's bytes are not those that were put.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecryptError {
    /// The inner layer doesn't open.
    #[error("slice {slice} does not open")]
    Closed {
        /// The slice.
        slice: SliceNo,
        /// Why.
        source: OpenError,
    },
    /// It opens to other bytes than the manifest says.
    #[error("slice {slice} is not what the manifest says")]
    OtherBytes {
        /// The slice.
        slice: SliceNo,
    },
}

/// Seals a slice. `salt` is drawn for this attempt and is in the journal.
pub(crate) fn encrypt(
    slice: Slice,
    key: &FileKey,
    salt: [u8; 32],
    geometry: Geometry,
) -> EncryptedSlice {
    let Slice { number, plain } = slice;
    let length = plain.len() as u64;
    let padded = padded_length(geometry, sealed_length(length));
    let mut coded = Vec::with_capacity(usize::try_from(padded).unwrap_or(0));
    seal_into(key.slice_key(number, &salt), LABEL, &plain, &mut coded);
    EncryptedSlice { number, length, digest: slice_digest(&plain), salt, coded }
}

/// The slice inside `coded`, opened where it lies and checked against the manifest.
pub(crate) fn decrypt(
    mut coded: BytesMut,
    key: &FileKey,
    number: SliceNo,
    entry: &SliceEntry,
) -> Result<Slice, DecryptError> {
    let sealing = key.slice_key(number, &entry.salt);
    let length = open_in_place(&sealing, LABEL, &mut coded)
        .map_err(|source| DecryptError::Closed { slice: number, source })?;
    coded.truncate(length);
    let plain = coded.freeze();
    if plain.len() as u64 != entry.length || slice_digest(&plain) != entry.digest {
        return Err(DecryptError::OtherBytes { slice: number });
    }
    Ok(Slice { number, plain })
}

/// The plain bytes `range` of a slice, from the coded chunks that hold them.
pub(crate) fn decrypt_range(
    part: SealedPart<'_>,
    range: Range<u64>,
    key: &FileKey,
    (number, entry): (SliceNo, &SliceEntry),
) -> Result<Vec<u8>, DecryptError> {
    open_range(&key.slice_key(number, &entry.salt), LABEL, range, part)
        .map_err(|source| DecryptError::Closed { slice: number, source })
}
