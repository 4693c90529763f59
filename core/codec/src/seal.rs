//! Authenticated framing, the same for slices (inner), shards (outer) and records.
//!
//! ```text
//! frame  = version (1 byte, 1) ‖ key commitment (32 bytes) ‖ chunk 0 ‖ chunk 1 ‖ …
//! chunk  = AES-256-GCM ciphertext of up to 64 KiB ‖ tag (16 bytes); only the last is shorter
//! nonce  = chunk number (u64) ‖ 3 zero bytes ‖ 1 for the last chunk, otherwise 0
//! data   = label length (u32) ‖ label ‖ plain length (u64) ‖ 65536 (u32)
//! ```
//! All numbers are little-endian. The associated data is the same for each chunk and names
//! lengths but never a stripe's descriptor, which names the hashes of what is sealed here.
//!
//! Because the nonce holds number and end, and the data holds the length, a frame that was
//! cut, reordered or spliced is refused; because a key seals one message, no chunk of
//! another message fits; and because the commitment is compared first, a frame opens under
//! one key only.

use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use defs_core::framing;
use thiserror::Error;

use crate::keys::{SealingKey, append_with_length};

/// The first byte of a frame.
const VERSION: u8 = 1;
#[expect(clippy::cast_possible_truncation, reason = "64 KiB")]
const CHUNK: usize = framing::CHUNK as usize;
#[expect(clippy::cast_possible_truncation, reason = "16")]
const TAG: usize = framing::TAG as usize;
#[expect(clippy::cast_possible_truncation, reason = "33")]
/// Bytes of a frame before its first chunk.
pub const HEAD: usize = framing::HEAD as usize;

/// Why sealed bytes were not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Another version of the format.
    #[error("failed to open a frame of version {found}: this program reads version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The frame was sealed under another key.
    #[error("failed to open a frame: it was sealed under another key")]
    WrongKey,
    /// No frame is that long: some of it is missing.
    #[error("failed to open a frame: of {have} bytes some are missing")]
    Truncated {
        /// The length found.
        have: usize,
    },
    /// A chunk is not what was sealed in its place.
    #[error("failed to open chunk {chunk} of a frame: it is not what was sealed")]
    Damaged {
        /// The chunk's number.
        chunk: u64,
    },
    /// The range is empty or ends behind the message.
    #[error("failed to open bytes {range:?} of a frame that holds {plain_length}")]
    Range {
        /// The range asked for.
        range: Range<u64>,
        /// The message's length.
        plain_length: u64,
    },
    /// The buffer is not as long as the message.
    #[error("failed to open a frame of {need} bytes into a buffer of {have}")]
    Buffer {
        /// The buffer's length.
        have: usize,
        /// The message's length.
        need: u64,
    },
}

/// The sealed form of `plain`. `label` says what kind of thing is sealed: a frame opens
/// under its own label only.
#[must_use]
pub fn seal(key: SealingKey, label: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    seal_into(key, label, plain, &mut out);
    out
}

/// As [`seal`], behind what `out` holds already, so that a buffer can be used again.
pub fn seal_into(key: SealingKey, label: &[u8], plain: &[u8], out: &mut Vec<u8>) {
    let frame = Frame::new(&key, label, plain.len() as u64);
    let chunks = plain.len().div_ceil(CHUNK).max(1);
    out.reserve_exact(HEAD + plain.len() + chunks * TAG);
    out.push(VERSION);
    out.extend_from_slice(&key.commitment());
    // The key has sealed its message: nobody seals with it again.
    drop(key);
    // Nothing is sealed too, as one empty chunk.
    let empty = plain.is_empty().then_some(plain);
    for (number, chunk) in (0..).zip(plain.chunks(CHUNK).chain(empty)) {
        frame.seal_chunk(number, chunk, out);
    }
}

/// The message that [`seal`] sealed.
pub fn open(key: &SealingKey, label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut out = Vec::new();
    open_append(key, label, sealed, &mut out)?;
    Ok(out)
}

/// As [`open`], behind what `out` holds already. A refusal leaves `out` as it was.
pub fn open_append(
    key: &SealingKey,
    label: &[u8],
    sealed: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let frame = Frame::of(key, label, sealed, sealed.len())?;
    let body = &sealed[HEAD..];
    let before = out.len();
    out.reserve_exact(body.len());
    let opened = (0..)
        .zip(body.chunks(CHUNK + TAG))
        .try_for_each(|(number, chunk)| frame.open_chunk_append(number, chunk, out));
    if opened.is_err() {
        out.truncate(before);
    }
    opened
}

/// As [`open`], into a buffer of the message's length ([`plain_length`]): nothing is copied.
/// After a refusal the buffer holds nothing of use.
pub fn open_into(
    key: &SealingKey,
    label: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), OpenError> {
    open_pieces_into(key, label, &[sealed], out)
}

/// As [`open_into`], of sealed bytes in pieces, as they came: only a chunk that is in two of
/// them is copied.
pub fn open_pieces_into(
    key: &SealingKey,
    label: &[u8],
    sealed: &[impl AsRef<[u8]>],
    out: &mut [u8],
) -> Result<(), OpenError> {
    let mut sealed = Pieces::new(sealed);
    let mut joined = Vec::new();
    let length = sealed.left;
    let frame = Frame::of(key, label, sealed.next(HEAD, &mut joined), length)?;
    if out.len() as u64 != frame.plain_length {
        return Err(OpenError::Buffer { have: out.len(), need: frame.plain_length });
    }
    let empty: Option<&mut [u8]> = out.is_empty().then_some(&mut []);
    let targets = out.chunks_mut(CHUNK).chain(empty);
    (0..).zip(targets).try_for_each(|(number, target)| {
        frame.open_chunk(number, sealed.next(CHUNK + TAG, &mut joined), target)
    })
}

/// As [`open`], where it lies: the message is then at the front of `sealed`, and its length
/// is answered. After a refusal the buffer holds nothing of use.
pub fn open_in_place(
    key: &SealingKey,
    label: &[u8],
    sealed: &mut [u8],
) -> Result<usize, OpenError> {
    let frame = Frame::of(key, label, sealed, sealed.len())?;
    let (mut start, mut opened) = (HEAD, 0);
    for number in 0..framing::chunks(frame.plain_length) {
        let end = (start + CHUNK + TAG).min(sealed.len());
        let length = frame.open_chunk_in_place(number, &mut sealed[start..end])?;
        // While it is in the cache.
        sealed.copy_within(start..start + length, opened);
        opened += length;
        start = end;
    }
    Ok(opened)
}

/// A part of a frame: its head and the chunks of [`framing::sealed_range`].
#[derive(Debug, Clone, Copy)]
pub struct SealedPart<'a> {
    /// The length of the whole message.
    pub plain_length: u64,
    /// The frame's first bytes.
    pub head: &'a [u8; HEAD],
    /// Exactly the sealed chunks that the range touches.
    pub chunks: &'a [u8],
}

/// The plain bytes `range` of a message, from the chunks that hold them.
pub fn open_range(
    key: &SealingKey,
    label: &[u8],
    range: Range<u64>,
    part: SealedPart<'_>,
) -> Result<Vec<u8>, OpenError> {
    let plain_length = part.plain_length;
    if range.is_empty() || range.end > plain_length {
        return Err(OpenError::Range { range, plain_length });
    }
    check_head(key, part.head)?;
    let (numbers, bytes) = framing::sealed_range(plain_length, &range);
    if part.chunks.len() as u64 != bytes.end - bytes.start {
        return Err(OpenError::Truncated { have: part.chunks.len() });
    }
    let frame = Frame::new(key, label, plain_length);
    let mut out = Vec::with_capacity(part.chunks.len());
    let first = numbers.start * framing::CHUNK;
    for (number, chunk) in numbers.zip(part.chunks.chunks(CHUNK + TAG)) {
        frame.open_chunk_append(number, chunk, &mut out)?;
    }
    out.truncate(within(range.end - first));
    out.drain(..within(range.start - first));
    Ok(out)
}

/// The length of the message in a frame of `sealed` bytes; none if no frame is that long.
#[must_use]
pub fn plain_length(sealed: u64) -> Option<u64> {
    let body = sealed.checked_sub(framing::HEAD)?;
    let chunks = body.div_ceil(framing::CHUNK + framing::TAG);
    let plain = body.checked_sub(chunks * framing::TAG)?;
    (framing::sealed_length(plain) == sealed).then_some(plain)
}

/// A length that is known to be at most that of a slice in memory.
fn within(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn check_head(key: &SealingKey, head: &[u8; HEAD]) -> Result<(), OpenError> {
    let [found, commitment @ ..] = head;
    if *found != VERSION {
        return Err(OpenError::Version { found: *found });
    }
    if verify_slices_are_equal(commitment, &key.commitment()).is_err() {
        return Err(OpenError::WrongKey);
    }
    Ok(())
}

/// What the chunks of one message have in common.
struct Frame {
    key: LessSafeKey,
    data: Vec<u8>,
    plain_length: u64,
}

impl Frame {
    #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
    fn new(key: &SealingKey, label: &[u8], plain_length: u64) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes()).expect("AES-256 takes 32 bytes");
        let mut data = Vec::with_capacity(label.len() + 16);
        append_with_length(&mut data, label);
        data.extend_from_slice(&plain_length.to_le_bytes());
        data.extend_from_slice(&(1_u32 << 16).to_le_bytes());
        Self { key: LessSafeKey::new(key), data, plain_length }
    }

    /// The frame of `length` bytes that begins with `start`. It is long enough for its head
    /// and for a tag in its last chunk.
    fn of(key: &SealingKey, label: &[u8], start: &[u8], length: usize) -> Result<Self, OpenError> {
        let truncated = || OpenError::Truncated { have: length };
        check_head(key, start.first_chunk().ok_or_else(truncated)?)?;
        let plain_length = plain_length(length as u64).ok_or_else(truncated)?;
        Ok(Self::new(key, label, plain_length))
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        nonce[11] = u8::from(number + 1 == framing::chunks(self.plain_length));
        Nonce::assume_unique_for_key(nonce)
    }

    /// Copies a chunk and seals the copy while it is in the cache.
    #[expect(clippy::expect_used, reason = "AES-GCM seals up to 64 GiB")]
    fn seal_chunk(&self, number: u64, plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                self.nonce(number),
                Aad::from(&self.data),
                &mut out[start..],
            )
            .expect("AES-GCM seals 64 KiB");
        out.extend_from_slice(tag.as_ref());
    }

    fn open_chunk_append(
        &self,
        number: u64,
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let (sealed, tag) = split_tag(number, sealed)?;
        let start = out.len();
        out.extend_from_slice(sealed);
        match self.key.open_in_place_separate_tag(
            self.nonce(number),
            Aad::from(&self.data),
            tag,
            &mut out[start..],
        ) {
            Ok(_) => Ok(()),
            Err(_) => Err(OpenError::Damaged { chunk: number }),
        }
    }

    /// Answers the length of the plain bytes, which are then at the front of `sealed`.
    fn open_chunk_in_place(&self, number: u64, sealed: &mut [u8]) -> Result<usize, OpenError> {
        let damaged = OpenError::Damaged { chunk: number };
        let Some((sealed, tag)) = sealed.split_last_chunk_mut::<TAG>() else { return Err(damaged) };
        let (nonce, data) = (self.nonce(number), Aad::from(&self.data));
        match self.key.open_in_place_separate_tag(nonce, data, tag, sealed) {
            Ok(_) => Ok(sealed.len()),
            Err(_) => Err(damaged),
        }
    }

    fn open_chunk(&self, number: u64, sealed: &[u8], target: &mut [u8]) -> Result<(), OpenError> {
        let (sealed, tag) = split_tag(number, sealed)?;
        match self.key.open_separate_gather(
            self.nonce(number),
            Aad::from(&self.data),
            sealed,
            tag,
            target,
        ) {
            Ok(()) => Ok(()),
            Err(_) => Err(OpenError::Damaged { chunk: number }),
        }
    }
}

/// Bytes in pieces, taken from the front.
struct Pieces<'a, T> {
    rest: std::slice::Iter<'a, T>,
    first: &'a [u8],
    left: usize,
}

impl<'a, T: AsRef<[u8]>> Pieces<'a, T> {
    fn new(pieces: &'a [T]) -> Self {
        let left = pieces.iter().map(|piece| piece.as_ref().len()).sum();
        Self { rest: pieces.iter(), first: &[], left }
    }

    /// The next `length` bytes, or those that are left; copied to `joined` if no piece has
    /// all of them.
    fn next<'b>(&mut self, length: usize, joined: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let length = length.min(self.left);
        self.left -= length;
        joined.clear();
        loop {
            let missing = length - joined.len();
            if let Some((taken, kept)) = self.first.split_at_checked(missing) {
                self.first = kept;
                if joined.is_empty() {
                    return taken;
                }
                joined.extend_from_slice(taken);
                return joined;
            }
            joined.extend_from_slice(self.first);
            self.first = self.rest.next().map_or(&[], AsRef::as_ref);
        }
    }
}

fn split_tag(number: u64, chunk: &[u8]) -> Result<(&[u8], &[u8; TAG]), OpenError> {
    chunk.split_last_chunk().ok_or(OpenError::Damaged { chunk: number })
}
