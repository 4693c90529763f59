//! The side between: opens a stream to the node that a client names, and copies.
//!
//! Only members of the network are named, and they are dialled where their own cards say:
//! nobody makes this node dial an address. What is forwarded is served at its end as lanes,
//! on which nothing can be forwarded again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::port::Service;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::Stream;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::bounds::{Bounds, Place};
use super::copying::Copying;
use super::rate::Rate;
use super::words::Answer;
use crate::channel::Channel;
use crate::event_loop::Command;
use crate::served::Server;

/// Bytes forwarded a second, both ways and for all: half of what a gigabit line carries, so
/// that the node's own exchanges have the other half.
const BYTES_A_SECOND: u32 = 64 << 20;

/// Why a client was not forwarded.
#[derive(Debug, Error)]
enum NotForwarded {
    #[error("its stream broke: {0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Refused(Answer),
}

/// Forwards clients to other nodes.
pub(crate) struct Forwarding<S> {
    me: NodeId,
    server: Arc<Server<S>>,
    commands: mpsc::Sender<Command>,
    bounds: Bounds,
    rate: Rate,
}

impl<S: Service> Forwarding<S> {
    pub(crate) fn new(
        me: NodeId,
        server: Arc<Server<S>>,
        commands: mpsc::Sender<Command>,
    ) -> Arc<Self> {
        let bounds = Bounds::new(server.limits.connections);
        Arc::new(Self { me, server, commands, bounds, rate: Rate::new(BYTES_A_SECOND) })
    }

    /// Takes a stream on which `client` will name a node.
    pub(crate) fn accept(self: &Arc<Self>, client: NodeId, stream: Stream) {
        // Above the limits a stream closes without an answer, and the client knows.
        let Some(place) = self.bounds.enter(client) else {
            return self.server.counters.via_refused.add(1);
        };
        let forwarding = Arc::clone(self);
        self.server.tasks.spawn(async move { forwarding.forward(client, stream, place).await });
    }

    async fn forward(&self, client: NodeId, mut stream: Stream, mut place: Place) {
        match self.open(&mut stream, &mut place).await {
            Ok(onward) => self.copy(stream, onward).await,
            Err(why) => {
                self.server.counters.via_refused.add(1);
                tracing::debug!(%client, %why, "a client was not forwarded");
            }
        }
    }

    /// The stream to the node that the client names, once the client knows of it.
    async fn open(&self, stream: &mut Stream, place: &mut Place) -> Result<Stream, NotForwarded> {
        let limit = self.server.timeouts.progress;
        let mut to = NodeId([0; NodeId::SIZE]);
        timeout(limit, stream.read_exact(&mut to.0)).await.map_err(io::Error::from)??;
        let reached = self.reach(to, place).await;
        let answer = reached.as_ref().err().copied().unwrap_or(Answer::Open);
        let answering = async {
            stream.write_all(&[answer.byte()]).await?;
            stream.flush().await
        };
        timeout(limit, answering).await.map_err(io::Error::from)??;
        if reached.is_err() {
            // Closing in order lets the answer arrive.
            timeout(limit, stream.close()).await.map_err(io::Error::from)??;
        }
        reached.map_err(NotForwarded::Refused)
    }

    async fn reach(&self, to: NodeId, place: &mut Place) -> Result<Stream, Answer> {
        if to == self.me || !self.server.service.is_member(&to) {
            return Err(Answer::NoMember);
        }
        if !place.leads_to(to) {
            return Err(Answer::Busy);
        }
        let (answer, opened) = oneshot::channel();
        let command = Command::Open { to, channel: Channel::Forwarded, answer };
        let opening = async {
            self.commands.send(command).await.ok()?;
            opened.await.ok()?.ok()
        };
        timeout(self.server.timeouts.dial, opening).await.ok().flatten().ok_or(Answer::Unreachable)
    }

    async fn copy(&self, stream: Stream, onward: Stream) {
        let Server { timeouts, counters, shutdown, .. } = self.server.as_ref();
        counters.via_opened.add(1);
        counters.via_streams.add(1);
        let copying =
            Copying::new((self.idle(), timeouts.progress), &self.rate, &counters.via_bytes);
        let ending = async {
            shutdown.cancelled().await;
            // Exchanges that run may end, like this node's own.
            copying.until_quiet().await;
        };
        tokio::select! {
            ended = copying.both_ways(stream, onward) => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "a forwarded stream broke off");
                }
            }
            () = ending => {}
        }
        counters.via_streams.less_one();
    }

    /// Longer than both ends wait, which know what they wait for.
    fn idle(&self) -> Duration {
        self.server.timeouts.lane_idle + self.server.timeouts.progress
    }
}
