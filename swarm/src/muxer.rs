//! Yamux over a connection, with frames as long as Noise's messages and windows bounded.
//!
//! libp2p's own upgrade takes Yamux's default of 16 KiB a frame and tells nobody how to
//! change it. Each frame of a lane wakes the connection's task, is encrypted by itself and
//! costs both ends a system call, so bulk bytes pay for every one of them. The protocol on
//! the wire is the same.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// A frame and its head fill one Noise message (64,511 bytes).
const FRAME: usize = 62 << 10;

/// Streams of one connection: all lanes of all families both ways, and libp2p's own.
const STREAMS_MAX: usize = 512;

/// Bytes that a peer may have sent and nobody has read yet, over all streams of its
/// connection: what the protocol grants each stream, and room for a few fast ones to grow.
const WINDOWS_MAX: usize = (STREAMS_MAX * yamux::DEFAULT_CREDIT as usize) + (32 << 20);

/// Streams that a peer opened and nobody has taken yet; more are dropped.
const UNTAKEN_MAX: usize = 256;

/// Makes a [`Muxer`] of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade(Config);

impl Default for Upgrade {
    fn default() -> Self {
        let mut config = Config::default();
        config
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOWS_MAX))
            .set_split_send_size(FRAME);
        Self(config)
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_inbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(connection, self.0, Mode::Server))))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Output>>;

    fn upgrade_outbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(connection, self.0, Mode::Client))))
    }
}

/// The streams of one connection. Yamux gets on only while it is asked for inbound
/// streams, so that those that come while it is merely driven wait here.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Connection<C>,
    untaken: VecDeque<Stream>,
    taker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(connection: Connection<C>) -> Self {
        Self { connection, untaken: VecDeque::new(), taker: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection
            .poll_next_inbound(cx)
            .map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.untaken.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.poll_next(cx);
        if next.is_pending() {
            self.taker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        match self.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(stream)) if self.untaken.len() < UNTAKEN_MAX => {
                self.untaken.push_back(stream);
            }
            Poll::Ready(Ok(_)) => tracing::warn!("a peer opens streams faster than they are taken"),
        }
        if let Some(taker) = self.taker.take() {
            taker.wake();
        }
        // There may be more to do; others get their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
