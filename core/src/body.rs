//! Bulk bytes between a request or response and whoever makes or takes them: a bounded
//! queue of frames, so that nobody on the way ever holds a whole shard.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::message::FRAME_MAX;

/// Frames that may wait between a writer and a reader: enough to keep both busy, little
/// enough that a thousand transfers fit a node's memory budget.
const QUEUE: usize = 2;

/// Why a body ended early.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The writer went away.
    #[error("the bytes broke off {missing} bytes before their end")]
    BrokenOff {
        /// How many were still to come.
        missing: u64,
    },
    /// The writer sent more than it announced.
    #[error("more bytes came than were announced")]
    TooLong,
}

/// A known number of bytes, read frame by frame.
#[derive(Debug)]
pub struct Body {
    left: u64,
    source: Source,
    _held: Option<Held>,
}

/// Something that is given back when it is dropped.
struct Held {
    _place: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Held(..)")
    }
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Queue(mpsc::Receiver<Bytes>),
}

/// The writing end of a [`Body`]. Dropping it before all bytes were sent breaks the body
/// off, which the reader is told.
#[derive(Debug)]
pub struct BodyWriter(mpsc::Sender<Bytes>);

/// The reader went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("nobody reads these bytes any more")]
pub struct NobodyReads;

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// Bytes that are all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { left: bytes.len() as u64, source: Source::Whole(bytes), _held: None }
    }

    /// `length` bytes that somebody else writes.
    #[must_use]
    pub fn channel(length: u64) -> (BodyWriter, Self) {
        let (writer, reader) = mpsc::channel(QUEUE);
        (BodyWriter(writer), Self { left: length, source: Source::Queue(reader), _held: None })
    }

    /// Holds on to `place` until nobody reads these bytes any more.
    #[must_use]
    pub fn holding(self, place: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Held { _place: Box::new(place) }), ..self }
    }

    /// Bytes still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next frame, `None` after the last. A frame has 1 to [`FRAME_MAX`] bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.left == 0 {
            return Ok(None);
        }
        let frame = match &mut self.source {
            Source::Whole(bytes) => bytes.split_to(bytes.len().min(FRAME_MAX)),
            Source::Queue(queue) => {
                queue.recv().await.ok_or(BodyError::BrokenOff { missing: self.left })?
            }
        };
        let length = frame.len() as u64;
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLong)?;
        Ok(Some(frame))
    }

    /// Like [`Body::next`], from a thread outside the async runtime.
    pub fn blocking_next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.left == 0 {
            return Ok(None);
        }
        let frame = match &mut self.source {
            Source::Whole(bytes) => bytes.split_to(bytes.len().min(FRAME_MAX)),
            Source::Queue(queue) => {
                queue.blocking_recv().ok_or(BodyError::BrokenOff { missing: self.left })?
            }
        };
        let length = frame.len() as u64;
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLong)?;
        Ok(Some(frame))
    }

    /// All bytes. The caller has checked [`Body::left`] against what it can hold.
    pub async fn collect(mut self) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::with_capacity(usize::try_from(self.left).unwrap_or(0));
        while let Some(frame) = self.next().await? {
            all.extend_from_slice(&frame);
        }
        Ok(all)
    }
}

impl BodyWriter {
    /// Waits until there is room for `frame`. Empty frames are passed over.
    pub async fn send(&self, frame: Bytes) -> Result<(), NobodyReads> {
        if frame.is_empty() {
            return Ok(());
        }
        self.0.send(frame).await.map_err(|_gone| NobodyReads)
    }

    /// Like [`BodyWriter::send`], from a thread outside the async runtime.
    pub fn blocking_send(&self, frame: Bytes) -> Result<(), NobodyReads> {
        if frame.is_empty() {
            return Ok(());
        }
        self.0.blocking_send(frame).map_err(|_gone| NobodyReads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_whole_body_comes_in_frames_and_collects_to_itself() {
        let bytes = Bytes::from(vec![7; FRAME_MAX * 2 + 5]);
        let mut body = Body::whole(bytes.clone());
        assert_eq!(body.next().await.unwrap().map(|frame| frame.len()), Some(FRAME_MAX));
        assert_eq!(body.left(), (FRAME_MAX + 5) as u64);
        assert_eq!(Body::whole(bytes.clone()).collect().await, Ok(bytes.to_vec()));
    }

    #[tokio::test]
    async fn a_writer_that_leaves_early_or_says_too_much_is_noticed() {
        let (writer, mut body) = Body::channel(10);
        writer.send(Bytes::from_static(b"abc")).await.unwrap();
        drop(writer);
        assert_eq!(body.next().await, Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(body.next().await, Err(BodyError::BrokenOff { missing: 7 }));

        let (writer, mut body) = Body::channel(2);
        writer.send(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(body.next().await, Err(BodyError::TooLong));
    }

    #[tokio::test]
    async fn a_writer_learns_that_nobody_reads() {
        let (writer, body) = Body::channel(10);
        drop(body);
        assert_eq!(writer.send(Bytes::from_static(b"a")).await, Err(NobodyReads));
    }
}
