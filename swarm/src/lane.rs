//! A stream that carries one exchange at a time:
//!
//! ```text
//! u32 length · Request  · body      u32 length · Response · body
//! ```
//!
//! Lengths are little-endian. The top bit of a response's length says that the answering
//! side closes the lane after it: it did not read the request's body to its end, or is
//! about to shut down. Whoever accepts a lane first sends one [`GREETING`] byte, so that
//! the opener knows before its first request that somebody serves it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use defs_core::body::{Body, BodyError};
use defs_core::message::{FRAME_MAX, MESSAGE_MAX};
use defs_wire::WireError;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use thiserror::Error;
use tokio::time::timeout;

use crate::frame::Frames;

/// "I serve this lane."
const GREETING: u8 = 1;

/// Says in a length that the lane closes after this message.
const LAST: u32 = 1 << 31;

/// Bytes read at once while a message is awaited: nearly every message fits.
const BUFFER: usize = 16 << 10;

/// A frame of a body is handed on once it has this many bytes and no more are there.
/// Smaller ones cost a wake-up each, and take as much memory as large ones.
const FRAME_MIN: usize = 128 << 10;

/// Why an exchange on a lane broke off.
#[derive(Debug, Error)]
pub(crate) enum LaneError {
    #[error("the lane was closed")]
    Closed,
    #[error("the lane broke: {0}")]
    Broken(#[from] io::Error),
    #[error("nothing moved in time")]
    TimedOut,
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("the body to send broke off: {0}")]
    Body(#[from] BodyError),
    #[error("the lane was not greeted")]
    NotGreeted,
}

/// What a lane runs on.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// How the sending of a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it was sent.
    Whole,
    /// The other side answered before: it won't read the rest.
    Answered,
}

/// A message read from a lane.
pub(crate) struct Received<T> {
    pub(crate) message: T,
    /// Bytes that it took.
    pub(crate) length: usize,
    /// Whether the sender closes the lane after it.
    pub(crate) is_last: bool,
}

pub(crate) struct Lane<S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The longest that a single step may take.
    progress: Duration,
    frames: Frames,
}

/// Waits for `step` at most for `limit`.
async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, LaneError>>,
) -> Result<T, LaneError> {
    timeout(limit, step).await.unwrap_or(Err(LaneError::TimedOut))
}

/// `message` as it goes over a lane.
pub(crate) fn framed(message: &[u8], is_last: bool) -> Result<Vec<u8>, WireError> {
    let length = message.len();
    if length > MESSAGE_MAX {
        return Err(WireError::TooLarge { length, bound: MESSAGE_MAX });
    }
    let flag = if is_last { LAST } else { 0 };
    let length = u32::try_from(length).unwrap_or(LAST - 1);
    let mut framed = Vec::with_capacity(4 + message.len());
    framed.extend_from_slice(&(length | flag).to_le_bytes());
    framed.extend_from_slice(message);
    Ok(framed)
}

impl<S: Pipe> Lane<S> {
    pub(crate) fn new(stream: S, progress: Duration, frames: Frames) -> Self {
        Self { stream, buffer: vec![0; BUFFER].into(), start: 0, end: 0, progress, frames }
    }

    /// Tells the opener that this lane is served.
    pub(crate) async fn greet(&mut self) -> Result<(), LaneError> {
        self.send(&[GREETING]).await
    }

    /// Waits until the other side serves this lane.
    pub(crate) async fn await_greeting(&mut self) -> Result<(), LaneError> {
        self.fill(1).await?;
        if self.buffered()[0] != GREETING {
            return Err(LaneError::NotGreeted);
        }
        self.start += 1;
        Ok(())
    }

    /// Whether nothing has come since the last exchange, not even the end.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.start == self.end
            && self.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Waits until there is something to read.
    pub(crate) async fn wait_for_bytes(&mut self, limit: Duration) -> Result<(), LaneError> {
        if self.start < self.end {
            return Ok(());
        }
        within(limit, poll_fn(|cx| self.poll_fill(cx))).await
    }

    /// Sends `bytes` at once.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), LaneError> {
        let stream = &mut self.stream;
        within(self.progress, async {
            stream.write_all(bytes).await?;
            Ok(stream.flush().await?)
        })
        .await
    }

    /// Sends `body`, stopping where the other side answers before it has all.
    pub(crate) async fn send_body(&mut self, body: &mut Body) -> Result<Sent, LaneError> {
        let limit = self.progress;
        while body.left() > 0 {
            let frame = tokio::select! {
                biased;
                answered = poll_fn(|cx| self.poll_answer(cx)) => return answered,
                frame = timeout(limit, body.next()) => frame,
            };
            let Some(frame) = frame.unwrap_or(Ok(None))? else { return Err(LaneError::TimedOut) };
            if self.send_frame(&frame).await? == Sent::Answered {
                return Ok(Sent::Answered);
            }
        }
        self.send(&[]).await?;
        Ok(Sent::Whole)
    }

    async fn send_frame(&mut self, mut frame: &[u8]) -> Result<Sent, LaneError> {
        let limit = self.progress;
        within(
            limit,
            poll_fn(|cx| {
                while !frame.is_empty() {
                    match Pin::new(&mut self.stream).poll_write(cx, frame) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(LaneError::Closed)),
                        Poll::Ready(Ok(written)) => frame = &frame[written..],
                        // A peer that answered may have reset its side at once.
                        Poll::Ready(Err(failed)) => match self.poll_answer(cx) {
                            Poll::Ready(Ok(answered)) => return Poll::Ready(Ok(answered)),
                            _ => return Poll::Ready(Err(failed.into())),
                        },
                        Poll::Pending => return self.poll_answer(cx),
                    }
                }
                Poll::Ready(Ok(Sent::Whole))
            }),
        )
        .await
    }

    /// Ready once the other side has begun to answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sent, LaneError>> {
        if self.start < self.end {
            return Poll::Ready(Ok(Sent::Answered));
        }
        self.poll_fill(cx).map_ok(|()| Sent::Answered)
    }

    /// Reads a message of at most [`MESSAGE_MAX`] bytes. Its first byte may take `limit`.
    pub(crate) async fn receive<T>(
        &mut self,
        limit: Duration,
        decode: impl FnOnce(&[u8]) -> Result<T, WireError>,
    ) -> Result<Received<T>, LaneError> {
        self.wait_for_bytes(limit).await?;
        self.fill(4).await?;
        let mut header = [0; 4];
        header.copy_from_slice(&self.buffered()[..4]);
        self.start += 4;
        let header = u32::from_le_bytes(header);
        let length = usize::try_from(header & !LAST).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            return Err(WireError::TooLarge { length, bound: MESSAGE_MAX }.into());
        }
        let message = if length <= BUFFER {
            self.fill(length).await?;
            let message = decode(&self.buffered()[..length])?;
            self.start += length;
            message
        } else {
            decode(&self.read_exact(length).await?)?
        };
        Ok(Received { message, length: 4 + length, is_last: header & LAST != 0 })
    }

    /// Reads exactly `length` bytes, which the caller has bounded.
    pub(crate) async fn read_exact(&mut self, length: usize) -> Result<Bytes, LaneError> {
        let mut bytes = BytesMut::zeroed(length);
        let mut filled = self.take_buffered(&mut bytes);
        while filled < length {
            filled += self.read_some(&mut bytes, filled, 1).await?;
        }
        Ok(bytes.freeze())
    }

    /// The next frame of a body of which `left` bytes are still to come.
    pub(crate) async fn read_frame(&mut self, left: u64) -> Result<Bytes, LaneError> {
        let most = usize::try_from(left).unwrap_or(FRAME_MAX).min(FRAME_MAX);
        let mut frame = self.frames.take();
        let bytes = &mut frame.bytes_mut()[..most];
        let filled = self.take_buffered(bytes);
        let enough = FRAME_MIN.min(most);
        let read = self.read_some(bytes, filled, enough.saturating_sub(filled)).await?;
        Ok(frame.filled(filled + read))
    }

    /// Reads what is there into `bytes[from..]`, waiting until it is at least `least`.
    async fn read_some(
        &mut self,
        bytes: &mut [u8],
        from: usize,
        least: usize,
    ) -> Result<usize, LaneError> {
        let limit = self.progress;
        let mut filled = from;
        within(
            limit,
            poll_fn(|cx| {
                while filled < bytes.len() {
                    match Pin::new(&mut self.stream).poll_read(cx, &mut bytes[filled..]) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Err(LaneError::Closed)),
                        Poll::Ready(Ok(read)) => filled += read,
                        Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed.into())),
                        Poll::Pending if filled - from >= least => break,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Poll::Ready(Ok(filled - from))
            }),
        )
        .await
    }

    /// Ends this side, and drops what still comes until the other side ends too.
    pub(crate) async fn close(mut self) -> Result<(), LaneError> {
        let limit = self.progress;
        within(limit, async {
            self.stream.close().await?;
            loop {
                self.start = self.end;
                poll_fn(|cx| self.poll_fill(cx)).await?;
            }
        })
        .await
    }

    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn take_buffered(&mut self, into: &mut [u8]) -> usize {
        let length = into.len().min(self.end - self.start);
        into[..length].copy_from_slice(&self.buffered()[..length]);
        self.start += length;
        length
    }

    /// Waits until `length` bytes, at most [`BUFFER`], are buffered.
    async fn fill(&mut self, length: usize) -> Result<(), LaneError> {
        let limit = self.progress;
        while self.end - self.start < length {
            within(limit, poll_fn(|cx| self.poll_fill(cx))).await?;
        }
        Ok(())
    }

    /// Reads what is there into the buffer's free end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        match Pin::new(&mut self.stream).poll_read(cx, &mut self.buffer[self.end..]) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(LaneError::Closed)),
            Poll::Ready(Ok(read)) => {
                self.end += read;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(failed)) => Poll::Ready(Err(failed.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}
