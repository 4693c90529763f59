//! Where the sealed bytes of a shard lie, and what the index keeps of it beside its head.

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::port::ShardState;

use crate::entry::{read_state, write_state};

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
        Ok(Self { place, state: read_state(input)? })
    }
}
