//! Noise between a client and the node that its stream is forwarded to: each knows the other
//! by its key, and whoever forwards sees sealed bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use defs_core::ids::NodeId;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::noise::{self, Output};
use libp2p::swarm::Stream;
use thiserror::Error;

use crate::identity::node_id;

/// Part of what both ends sign: what was said on a connection of libp2p's own is worth nothing
/// on a forwarded stream, and the other way round.
const PROLOGUE: &str = "/defs/forwarded/1";

/// Why two ends did not come to speak noise.
#[derive(Debug, Error)]
pub(crate) enum NotSealed {
    #[error("{0}")]
    Noise(#[from] noise::Error),
    #[error("somebody else answered")]
    SomebodyElse,
    #[error("its key is not one of ours")]
    ForeignKey,
}

/// This peer's side of such a conversation.
#[derive(Clone)]
pub(crate) struct Sealing(noise::Config);

impl Sealing {
    pub(crate) fn new(key: &Keypair) -> Result<Self, noise::Error> {
        Ok(Self(noise::Config::new(key)?.with_prologue(PROLOGUE.as_bytes().to_vec())))
    }

    /// Begins to speak with `to`, and with nobody else.
    pub(crate) async fn ask<S>(&self, to: NodeId, stream: S) -> Result<Box<Output<S>>, NotSealed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, sealed) = self.0.clone().upgrade_outbound(stream, PROLOGUE).await?;
        if node_id(&peer) != Some(to) {
            return Err(NotSealed::SomebodyElse);
        }
        Ok(Box::new(sealed))
    }

    /// Answers whoever begins.
    pub(crate) async fn answer<S>(&self, stream: S) -> Result<(NodeId, Box<Output<S>>), NotSealed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, sealed) = self.0.clone().upgrade_inbound(stream, PROLOGUE).await?;
        let caller = node_id(&peer).ok_or(NotSealed::ForeignKey)?;
        Ok((caller, Box::new(sealed)))
    }
}

/// What a lane to another peer runs on.
pub(crate) enum Carrier {
    /// A stream to it.
    Direct(Stream),
    /// A stream to somebody who forwards to it.
    Forwarded(Box<Output<Stream>>),
}

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_read(cx, bytes),
            Self::Forwarded(stream) => Pin::new(stream).poll_read(cx, bytes),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Forwarded(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_flush(cx),
            Self::Forwarded(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) => Pin::new(stream).poll_close(cx),
            Self::Forwarded(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::io::{DuplexStream, duplex};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
    use zeroize::Zeroizing;

    use super::*;
    use crate::identity::keypair;

    fn peer(seed: u8) -> (Sealing, NodeId) {
        let key = keypair(&Zeroizing::new([seed; 32])).unwrap();
        let id = node_id(&key.public().to_peer_id()).unwrap();
        (Sealing::new(&key).unwrap(), id)
    }

    fn joined() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
        let (near, far) = duplex(1 << 16);
        (near.compat(), far.compat())
    }

    #[tokio::test]
    async fn both_ends_know_each_other_by_their_keys_and_read_what_was_said() {
        let ((client, client_id), (node, node_id)) = (peer(1), peer(2));
        let (near, far) = joined();
        let (asked, answered) = tokio::join!(client.ask(node_id, near), node.answer(far));
        let (mut asked, (caller, mut answered)) = (asked.unwrap(), answered.unwrap());
        assert_eq!(caller, client_id);
        asked.write_all(b"hello").await.unwrap();
        asked.flush().await.unwrap();
        let mut heard = [0; 5];
        answered.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }

    #[tokio::test]
    async fn somebody_who_answers_in_the_place_of_the_named_node_is_not_spoken_to() {
        let ((client, _), (forwarder, _), (_, node_id)) = (peer(1), peer(2), peer(3));
        let (near, far) = joined();
        let (asked, _answered) = tokio::join!(client.ask(node_id, near), forwarder.answer(far));
        assert!(matches!(asked.unwrap_err(), NotSealed::SomebodyElse));
    }

    #[tokio::test]
    async fn what_is_said_for_a_connection_is_worth_nothing_on_a_forwarded_stream() {
        let key = keypair(&Zeroizing::new([1; 32])).unwrap();
        let of_connections = noise::Config::new(&key).unwrap();
        let (node, _) = peer(2);
        let (near, far) = joined();
        let asking = of_connections.upgrade_outbound(near, "/noise");
        let (asked, answered) = tokio::join!(asking, node.answer(far));
        assert!(asked.is_err() && answered.is_err());
    }
}
