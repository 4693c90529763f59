//! Where the sealed bytes of a shard lie, and what the index keeps of it beside its head.

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::port::ShardState;

use crate::entry::{HEADER_MAX, PROLOGUE, read_state, write_state};

/// The longest sealed bytes, the highest segment and the farthest place in one that an
/// entry may name: more than there ever is, and so little that sums of them fit a `u64`.
pub(crate) const LENGTH_MAX: u64 = 1 << 40;
pub(crate) const SEGMENT_NUMBER_MAX: u64 = 1 << 48;
const AT_MAX: u64 = 1 << 48;

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the file of its own that its key names.
    File,
    /// In a segment.
    Segment {
        /// Which one.
        number: u64,
        /// Where the entry begins.
        at: u64,
    },
}

/// Where the sealed bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) home: Home,
    /// Where the sealed bytes begin, counted from the entry's start.
    pub(crate) sealed_at: u64,
    /// Sealed bytes.
    pub(crate) length: u64,
    /// Of the sealed bytes.
    pub(crate) crc: u32,
}

impl Place {
    fn check(&self) -> Result<(), FormatError> {
        let far = match self.home {
            Home::File => false,
            Home::Segment { number, at } => number > SEGMENT_NUMBER_MAX || at > AT_MAX,
        };
        let header = self.sealed_at > (PROLOGUE + HEADER_MAX) as u64;
        if far || header || self.length > LENGTH_MAX {
            return Err(FormatError::Invalid("place"));
        }
        Ok(())
    }

    /// Where the sealed bytes begin in their file.
    pub(crate) fn offset(&self) -> u64 {
        match self.home {
            Home::File => self.sealed_at,
            Home::Segment { at, .. } => at + self.sealed_at,
        }
    }
}

/// What the index keeps of a shard beside its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) place: Place,
    pub(crate) state: ShardState,
}

impl Format for Stored {
    const NAME: &'static str = "an index entry";

    fn write(&self, out: &mut Writer) {
        match self.place.home {
            Home::File => out.u8(1),
            Home::Segment { number, at } => {
                out.u8(2);
                out.u64(number);
                out.u64(at);
            }
        }
        out.u64(self.place.sealed_at);
        out.u64(self.place.length);
        out.u32(self.place.crc);
        write_state(out, &self.state);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let home = match input.u8("home")? {
            1 => Home::File,
            2 => Home::Segment { number: input.u64("segment")?, at: input.u64("at")? },
            _ => return Err(FormatError::Invalid("home")),
        };
        let place = Place {
            home,
            sealed_at: input.u64("sealed at")?,
            length: input.u64("length")?,
            crc: input.u32("crc")?,
        };
        place.check()?;
        Ok(Self { place, state: read_state(input)? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use defs_core::ids::{Epoch, PairId};

    use super::*;

    const PLACE: Place =
        Place { home: Home::Segment { number: 3, at: 70 }, sealed_at: 100, length: 1000, crc: 9 };

    fn decoded(place: Place) -> Result<Stored, FormatError> {
        let state = ShardState {
            pair: PairId([1; 16]),
            epoch: Epoch(u64::MAX),
            lease_until: Duration::new(u64::MAX, 999_999_999),
            commit: None,
        };
        Stored::decode(&Stored { place, state }.encode())
    }

    #[test]
    fn a_place_whose_numbers_no_disk_has_is_refused_before_anything_is_added_to_them() {
        assert_eq!(decoded(PLACE).map(|stored| stored.place), Ok(PLACE));
        for place in [
            Place { home: Home::Segment { number: u64::MAX, at: 0 }, ..PLACE },
            Place { home: Home::Segment { number: 0, at: u64::MAX }, ..PLACE },
            Place { sealed_at: u64::MAX, ..PLACE },
            Place { length: u64::MAX, ..PLACE },
        ] {
            assert_eq!(decoded(place), Err(FormatError::Invalid("place")), "{place:?}");
        }
    }
}
