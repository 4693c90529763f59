//! Sealed bytes on their way out.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use defs_core::body::{Body, BodyWriter};
use defs_core::message::{FRAME_MAX, ShardKey};
use defs_core::port::DiskError;
use rustix::buffer::spare_capacity;

use crate::files::failed;
use crate::intake::Digest;
use crate::place::{Home, Place};
use crate::store::{Inner, missing};

/// A part of a file that is being read.
#[derive(Debug)]
pub(crate) struct Slice {
    file: File,
    at: u64,
    left: u64,
}

impl Inner {
    /// The part of a file that holds the sealed bytes `range` of a shard.
    pub(crate) fn slice(&self, key: &ShardKey, range: Range<u64>) -> Result<Slice, DiskError> {
        let (place, file) = self.open(key)?;
        if range.start > range.end || range.end > place.length {
            let why = format!("bytes {range:?} of a shard of {}", place.length);
            return Err(failed("read a shard", io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        Ok(Slice { file, at: place.offset() + range.start, left: range.end - range.start })
    }

    /// Whether the sealed bytes are still those that were stored.
    pub(crate) fn verify(&self, key: &ShardKey) -> Result<bool, DiskError> {
        let Some(shard) = self.shard(key)? else { return Err(missing(key)) };
        let (place, file) = self.open(key)?;
        let mut slice = Slice { file, at: place.offset(), left: place.length };
        let mut digest = Digest::default();
        loop {
            match slice.next() {
                Ok(Some(frame)) => digest.update(&frame),
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(failed("read a shard", error)),
            }
        }
        Ok(digest.finish() == (shard.head.shard_id(), place.crc))
    }

    /// Compaction moves entries: where a file is gone, the index is asked again.
    fn open(&self, key: &ShardKey) -> Result<(Place, File), DiskError> {
        let mut tried = None;
        loop {
            let place = self.stored(key)?.ok_or_else(|| missing(key))?.place;
            let path = match place.home {
                Home::File => self.folder.shard(key),
                Home::Segment { number, .. } => self.folder.segment(number),
            };
            match File::open(path) {
                Ok(file) => return Ok((place, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if tried == Some(place) {
                        let what = format!("shard {} of stripe {}", key.index, key.stripe);
                        return Err(DiskError::Damaged { what });
                    }
                    tried = Some(place);
                }
                Err(error) => return Err(failed("open a shard", error)),
            }
        }
    }
}

impl Slice {
    /// The next frame; `None` after the last.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(FRAME_MAX).min(FRAME_MAX);
        let mut frame = Vec::with_capacity(wanted);
        while frame.len() < wanted {
            let before = frame.len();
            let at = self.at + before as u64;
            // Capacity may be more than was asked for.
            let read = rustix::io::pread(&self.file, spare_capacity(&mut frame), at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        frame.truncate(wanted);
        self.at += wanted as u64;
        self.left -= wanted as u64;
        Ok(Some(frame.into()))
    }

    /// A body of these bytes, and what is still to be sent to it.
    pub(crate) fn into_body(mut self) -> io::Result<(Body, Option<Feed>)> {
        if self.left <= FRAME_MAX as u64 {
            let whole = self.next()?.unwrap_or_default();
            return Ok((Body::whole(whole), None));
        }
        let (writer, body) = Body::channel(self.left);
        Ok((body, Some(Feed { slice: self, writer })))
    }
}

/// Sends a slice to a body, at the pace of its reader.
#[derive(Debug)]
pub(crate) struct Feed {
    slice: Slice,
    writer: BodyWriter,
}

impl Feed {
    /// Ends with the bytes, with the reader, or with an error, which the reader sees as
    /// bytes that break off.
    pub(crate) fn run(mut self) {
        loop {
            match self.slice.next() {
                Ok(Some(frame)) => {
                    if self.writer.blocking_send(frame).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "a shard could not be read to its end");
                    return;
                }
            }
        }
    }
}
