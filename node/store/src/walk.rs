//! Entry after entry of a shard file or segment, without the index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use defs_core::ids::ShardId;

use crate::entry::{DEAD, END, EPILOGUE, Header, LIVE, PROLOGUE, Prologue, entry_length};
use crate::intake::Digest;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// An entry that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: u64,
    pub(crate) live: bool,
    pub(crate) sealed_at: u64,
    pub(crate) header: Header,
}

/// What the bytes of an entry are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Those that were stored; their CRC32.
    Whole(u32),
    /// Others.
    Damaged,
}

impl Found {
    pub(crate) fn length(&self) -> u64 {
        entry_length(self.sealed_at, self.header.length)
    }

    /// Reads the sealed bytes and compares them with their checksum and name.
    pub(crate) fn check(&self, file: &File) -> io::Result<Bytes> {
        let at = self.at + self.sealed_at;
        let Some((id, crc)) = digest_at(file, at, self.header.length)? else {
            return Ok(Bytes::Damaged);
        };
        let mut closing = [0; EPILOGUE];
        let whole = read_at(file, &mut closing, at + self.header.length)?
            && closing[..4] == crc.to_le_bytes()
            && closing[4..] == END
            && id == self.header.head.shard_id();
        Ok(if whole { Bytes::Whole(crc) } else { Bytes::Damaged })
    }
}

/// Name and checksum of `length` bytes at `at`; `None` if the file ends before.
pub(crate) fn digest_at(
    file: &File,
    mut at: u64,
    length: u64,
) -> io::Result<Option<(ShardId, u32)>> {
    let mut digest = Digest::default();
    let mut buffer = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        if !read_at(file, &mut buffer[..step], at)? {
            return Ok(None);
        }
        digest.update(&buffer[..step]);
        at += step as u64;
        left -= step as u64;
    }
    Ok(Some(digest.finish()))
}

/// Walks the entries of a file from its start.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    /// Places where an entry should have begun and none did.
    pub(crate) gaps: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, at: 0, end: file.metadata()?.len(), gaps: 0 })
    }

    /// The next entry whose header is whole. Behind a damaged one it looks for the next
    /// that can be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.end {
            return Ok(None);
        }
        if let Some(found) = self.entry(self.at)? {
            self.at += found.length();
            return Ok(Some(found));
        }
        self.gaps += 1;
        let mut from = self.at + 1;
        while let Some(at) = self.next_magic(from)? {
            if let Some(found) = self.entry(at)? {
                self.at = at + found.length();
                return Ok(Some(found));
            }
            from = at + 1;
        }
        self.at = self.end;
        Ok(None)
    }

    fn entry(&self, at: u64) -> io::Result<Option<Found>> {
        let mut bytes = [0; PROLOGUE];
        if !read_at(self.file, &mut bytes, at)? {
            return Ok(None);
        }
        let Some(prologue) = Prologue::parse(&bytes) else { return Ok(None) };
        let mut bytes = vec![0; prologue.header];
        if !read_at(self.file, &mut bytes, at + PROLOGUE as u64)? {
            return Ok(None);
        }
        Ok(prologue.header(&bytes).map(|header| Found {
            at,
            live: prologue.live,
            sealed_at: prologue.sealed_at(),
            header,
        }))
    }

    /// Where, at or after `from`, an entry may begin.
    fn next_magic(&self, mut from: u64) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; CHUNK];
        while from + PROLOGUE as u64 <= self.end {
            let step = usize::try_from(self.end - from).unwrap_or(CHUNK).min(CHUNK);
            if !read_at(self.file, &mut buffer[..step], from)? {
                return Ok(None);
            }
            let found = buffer[..step]
                .windows(LIVE.len())
                .position(|window| window == LIVE || window == DEAD);
            if let Some(place) = found {
                return Ok(Some(from + place as u64));
            }
            // The magic may lie across the end of this chunk.
            from += (step - LIVE.len() + 1) as u64;
        }
        Ok(None)
    }
}

/// Whether `buffer` could be filled; false at the file's end.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
