//! An entry: a shard as it lies in a file of its own or in a segment, with all that is
//! needed to know it again without the index.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `DEFSHARD`; `DEFSDEAD` once deleted (segments only, and only a hint) |
//! | 4 | length of the header |
//! | 4 | CRC32 of the header |
//! | … | header: version 1, sealed length u64, state, head |
//! | … | the sealed bytes |
//! | 4 | CRC32 of the sealed bytes |
//! | 4 | `END.` |
//!
//! The checksum stands behind the bytes so that they can be written as they come.

use std::sync::Arc;

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::{Epoch, PairId};
use defs_core::port::ShardState;
use defs_core::statement::{Commit, Signed};
use defs_core::stripe::{SHARD_HEAD_MAX, ShardHead};

use crate::place::LENGTH_MAX;

/// What a live entry begins with.
pub(crate) const LIVE: [u8; 8] = *b"DEFSHARD";

/// What a deleted entry of a segment begins with.
pub(crate) const DEAD: [u8; 8] = *b"DEFSDEAD";

/// What an entry ends with.
pub(crate) const END: [u8; 4] = *b"END.";

/// Bytes before the header.
pub(crate) const PROLOGUE: usize = 16;

/// Bytes after the sealed bytes.
pub(crate) const EPILOGUE: usize = 8;

/// The largest header: a head, and a state with the longest commit.
pub(crate) const HEADER_MAX: usize = SHARD_HEAD_MAX + (4 << 10);

/// What an entry says about its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u64,
    pub(crate) state: ShardState,
    pub(crate) head: Arc<ShardHead>,
}

impl Format for Header {
    const NAME: &'static str = "an entry";

    fn write(&self, out: &mut Writer) {
        out.u64(self.length);
        write_state(out, &self.state);
        self.head.write_versioned(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let length = input.u64("sealed length")?;
        if length > LENGTH_MAX {
            return Err(FormatError::Invalid("sealed length"));
        }
        Ok(Self {
            length,
            state: read_state(input)?,
            head: Arc::new(ShardHead::read_versioned(input)?),
        })
    }
}

/// Which entry the first bytes announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prologue {
    pub(crate) live: bool,
    pub(crate) header: usize,
    crc: u32,
}

impl Prologue {
    /// `None` if no entry begins with these bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes);
        let magic: [u8; 8] = input.array("magic").ok()?;
        let header = usize::try_from(input.u32("header").ok()?).ok()?;
        let crc = input.u32("crc").ok()?;
        let known = magic == LIVE || magic == DEAD;
        (known && header <= HEADER_MAX).then_some(Self { live: magic == LIVE, header, crc })
    }

    /// The header, if `bytes` are what was written.
    pub(crate) fn header(&self, bytes: &[u8]) -> Option<Header> {
        if crc32fast::hash(bytes) != self.crc {
            return None;
        }
        Header::decode(bytes).ok()
    }

    /// Where the sealed bytes begin, counted from the entry's start.
    pub(crate) fn sealed_at(&self) -> u64 {
        (PROLOGUE + self.header) as u64
    }
}

/// Bytes of a whole entry.
pub(crate) fn entry_length(sealed_at: u64, sealed: u64) -> u64 {
    sealed_at + sealed + EPILOGUE as u64
}

/// What stands before the sealed bytes.
pub(crate) fn opening(header: &Header) -> Vec<u8> {
    let header = header.encode();
    let mut out = Vec::with_capacity(PROLOGUE + header.len());
    out.extend_from_slice(&LIVE);
    out.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    out.extend_from_slice(&header);
    out
}

/// What stands behind the sealed bytes.
pub(crate) fn closing(crc: u32) -> [u8; EPILOGUE] {
    let mut out = [0; EPILOGUE];
    out[..4].copy_from_slice(&crc.to_le_bytes());
    out[4..].copy_from_slice(&END);
    out
}

pub(crate) fn write_state(out: &mut Writer, state: &ShardState) {
    // Destructured, so that a new field can't be forgotten.
    let ShardState { pair, epoch, lease_until, commit } = state;
    out.raw(&pair.0);
    out.u64(epoch.0);
    out.u64(lease_until.as_secs());
    out.u32(lease_until.subsec_nanos());
    out.option(commit.as_ref(), |out, commit| commit.write_versioned(out));
}

pub(crate) fn read_state(input: &mut Reader<'_>) -> Result<ShardState, FormatError> {
    let pair = PairId(input.array("pair")?);
    let epoch = Epoch(input.u64("epoch")?);
    let (seconds, nanos) = (input.u64("lease seconds")?, input.u32("lease nanoseconds")?);
    if nanos >= 1_000_000_000 {
        return Err(FormatError::Invalid("lease nanoseconds"));
    }
    let lease_until = std::time::Duration::new(seconds, nanos);
    let commit = input.option("commit", Signed::<Commit>::read_versioned)?;
    Ok(ShardState { pair, epoch, lease_until, commit })
}

#[cfg(test)]
mod tests {
    use defs_port_suite::disk::Sample;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    fn header(length: usize) -> Header {
        let sample = Sample::alone(3, length);
        Header { length: length as u64, state: sample.state, head: sample.head }
    }

    fn parse(bytes: &[u8]) -> Option<Header> {
        Prologue::parse(bytes)?.header(&bytes[PROLOGUE..])
    }

    #[test]
    fn an_opening_reads_back_and_tells_where_the_sealed_bytes_begin() {
        let header = header(700);
        let opening = opening(&header);
        assert_eq!(parse(&opening), Some(header));
        let prologue = Prologue::parse(&opening).unwrap();
        assert_eq!(prologue.sealed_at(), opening.len() as u64);
        assert!(prologue.live);
    }

    #[test]
    fn an_entry_longer_than_any_disk_is_none() {
        assert_eq!(parse(&opening(&Header { length: u64::MAX, ..header(700) })), None);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_of_an_opening_is_noticed(place in any::<prop::sample::Index>(), bit in 0..8) {
            let mut opening = opening(&header(9));
            let place = place.index(opening.len());
            opening[place] ^= 1_u8 << bit;
            // A longer header needs bytes that aren't there: as good as noticed.
            let read = Prologue::parse(&opening)
                .filter(|prologue| PROLOGUE + prologue.header == opening.len())
                .and_then(|prologue| prologue.header(&opening[PROLOGUE..]));
            prop_assert_eq!(read, None);
        }

        #[test]
        fn a_state_reads_back(seconds: u64, nanos in 0_u32..1_000_000_000, epoch: u64) {
            let lease_until = std::time::Duration::new(seconds, nanos);
            let state = ShardState { epoch: Epoch(epoch), lease_until, ..header(1).state };
            let mut out = Writer::default();
            write_state(&mut out, &state);
            let bytes = out.into_bytes();
            prop_assert_eq!(read_state(&mut Reader::new(&bytes)), Ok(state));
        }
    }
}
