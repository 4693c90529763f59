//! Copies bytes between two streams until both ends have said all, or nothing moves any more.

use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::rate::Rate;
use crate::lane::Pipe;
use crate::stats::Counter;

/// Bytes that are read at a time, each way: as many streams as a node may forward take 64 MiB
/// with it at the most, and a frame of Yamux is twice as long.
const ROOM: usize = 32 << 10;

/// When nothing has moved for so long, an exchange has most likely ended.
const QUIET: Duration = Duration::from_millis(250);

/// How bytes are copied, and when they last moved.
pub(super) struct Copying<'a> {
    /// How long nothing may move.
    pub(super) idle: Duration,
    /// How long a write may take.
    pub(super) progress: Duration,
    pub(super) rate: &'a Rate,
    /// Bytes that were copied.
    pub(super) copied: &'a Counter,
    last: Mutex<Instant>,
}

impl<'a> Copying<'a> {
    pub(super) fn new(
        (idle, progress): (Duration, Duration),
        rate: &'a Rate,
        copied: &'a Counter,
    ) -> Self {
        Self { idle, progress, rate, copied, last: Mutex::new(Instant::now()) }
    }

    /// Copies both ways. An end that closes its side is passed on; a side that breaks breaks
    /// both.
    pub(super) async fn both_ways(&self, one: impl Pipe, other: impl Pipe) -> io::Result<()> {
        let (from_one, to_one) = one.split();
        let (from_other, to_other) = other.split();
        let ways = try_join(self.one_way(from_one, to_other), self.one_way(from_other, to_one));
        ways.await.map(|((), ())| ())
    }

    async fn one_way(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut room = vec![0; ROOM];
        loop {
            let read = self.while_anything_moves(from.read(&mut room)).await?;
            if read == 0 {
                return timeout(self.progress, to.close()).await?;
            }
            self.rate.take(read).await;
            let writing = async {
                to.write_all(&room[..read]).await?;
                to.flush().await
            };
            timeout(self.progress, writing).await??;
            self.copied.add(read);
            self.moved();
        }
    }

    /// Waits for `step` for as long as bytes move one way or the other.
    async fn while_anything_moves<T>(
        &self,
        step: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let mut step = pin!(step);
        loop {
            let until = self.last() + self.idle;
            match timeout_at(until, &mut step).await {
                Ok(done) => return done,
                Err(over) if Instant::now() >= self.last() + self.idle => return Err(over.into()),
                Err(_) => {}
            }
        }
    }

    /// Returns when nothing has moved for a moment.
    pub(super) async fn until_quiet(&self) {
        loop {
            let quiet_at = self.last() + QUIET;
            if Instant::now() >= quiet_at {
                return;
            }
            sleep_until(quiet_at).await;
        }
    }

    fn moved(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const PROGRESS: Duration = Duration::from_secs(15);

    /// Two ends between which bytes are copied, and how that ended.
    async fn between<T>(
        work: impl AsyncFnOnce(DuplexStream, DuplexStream) -> T,
    ) -> (T, io::Result<()>) {
        let ((near, one), (other, far)) = (duplex(1 << 10), duplex(1 << 10));
        let (rate, copied) = (Rate::new(u32::MAX), Counter::default());
        let copying = Copying::new((IDLE, PROGRESS), &rate, &copied);
        tokio::join!(work(near, far), copying.both_ways(one.compat(), other.compat()))
    }

    #[tokio::test(start_paused = true)]
    async fn both_ends_hear_each_other_and_each_others_end() {
        let work = async |mut near: DuplexStream, mut far: DuplexStream| {
            near.write_all(b"a question").await.unwrap();
            near.shutdown().await.unwrap();
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            far.write_all(b"an answer").await.unwrap();
            far.shutdown().await.unwrap();
            near.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (heard, ended) = between(work).await;
        assert_eq!(heard, b"a questionan answer");
        ended.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn streams_on_which_nothing_moves_are_given_up_and_those_with_one_busy_way_are_not() {
        let began = Instant::now();
        let work = async |mut near: DuplexStream, mut far: DuplexStream| {
            for _ in 0..10 {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                near.write_all(b"x").await.unwrap();
                far.read_exact(&mut [0]).await.unwrap();
            }
            // Nothing more is said, and nobody leaves.
            let ended = (near.read(&mut [0]).await, far.read(&mut [0]).await);
            (began.elapsed(), ended.0.unwrap(), ended.1.unwrap())
        };
        let ((took, near, far), ended) = between(work).await;
        assert_eq!((near, far), (0, 0));
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), 10 * (IDLE.as_secs() - 1) + IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_takes_nothing_is_given_up() {
        let began = Instant::now();
        let work = async |mut near: DuplexStream, far: DuplexStream| {
            // More than the way holds: the writer waits until the way breaks.
            let written = near.write_all(&[0; 1 << 20]).await;
            drop(far);
            (began.elapsed(), written.is_err())
        };
        let ((took, broke), ended) = between(work).await;
        assert!(broke);
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(took.as_secs(), PROGRESS.as_secs());
    }
}
