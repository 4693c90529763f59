//! Opens lanes on connections and hands on those that peers open. A behaviour of our own
//! rather than libp2p-stream's: that one drops inbound streams silently under load and
//! opens outbound ones one at a time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
    StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, StreamProtocol};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::connections::Connections;

/// Why no lane could be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NotOpened {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The peer doesn't speak the protocol.
    #[error("the peer doesn't speak it")]
    NotSpoken,
}

/// Where the stream goes that somebody waits for.
pub(crate) type Answer = oneshot::Sender<Result<Stream, NotOpened>>;

/// Takes streams that peers open. Called on the connection's task: must not wait.
pub(crate) trait Accept: Send + Sync {
    fn accept(&self, peer: PeerId, channel: Channel, stream: Stream);
}

/// Set once the node's service is there; until then lanes are closed as they come.
pub(crate) type Acceptor = Arc<OnceLock<Box<dyn Accept>>>;

/// Asks a connection for a stream.
#[derive(Debug)]
pub(crate) struct Open {
    channel: Channel,
    answer: Answer,
}

pub(crate) struct Behaviour {
    acceptor: Option<Acceptor>,
    // Filled and emptied by the event loop, which polls after every command: never long.
    asked: VecDeque<(PeerId, Open)>,
    pub(crate) connections: Connections,
}

impl Behaviour {
    /// Without an acceptor, peers are told that nothing is spoken here.
    pub(crate) fn new(acceptor: Option<Acceptor>) -> Self {
        Self { acceptor, asked: VecDeque::new(), connections: Connections::default() }
    }

    /// Opens a stream on a connection to `peer`, a direct one if there is one.
    pub(crate) fn open(&mut self, peer: PeerId, channel: Channel, answer: Answer) {
        self.asked.push_back((peer, Open { channel, answer }));
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler { peer, acceptor: self.acceptor.clone(), asked: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let is_relayed = opened.endpoint.is_relayed();
                self.connections.opened(opened.peer_id, opened.connection_id, is_relayed);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.connections.closed(closed.peer_id, closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.asked.pop_front() {
            Some((peer_id, event)) => {
                let handler = self.connections.to_use(&peer_id);
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event })
            }
            None => Poll::Pending,
        }
    }
}

/// The lanes' part of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    acceptor: Option<Acceptor>,
    asked: VecDeque<Open>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Spoken;
    type OutboundProtocol = Spoken;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Answer;

    fn listen_protocol(&self) -> SubstreamProtocol<Spoken> {
        let spoken = if self.acceptor.is_some() { Channel::ALL.as_slice() } else { &[] };
        SubstreamProtocol::new(Spoken(spoken), ())
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.asked.push_back(open);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Spoken, Answer, Infallible>> {
        let Some(Open { channel, answer }) = self.asked.pop_front() else { return Poll::Pending };
        let protocol = SubstreamProtocol::new(Spoken(channel.alone()), answer);
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Spoken, Spoken, (), Answer>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, channel),
                ..
            }) => {
                if let Some(acceptor) = self.acceptor.as_ref().and_then(|cell| cell.get()) {
                    acceptor.accept(self.peer, channel, stream);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info,
            }) => hand_over(info, Ok(stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                hand_over(info, Err(not_opened(error)));
            }
            _ => {}
        }
    }
}

/// Whoever asked may have given up since; its lane then just closes.
fn hand_over(answer: Answer, opened: Result<Stream, NotOpened>) {
    drop(answer.send(opened));
}

fn not_opened(error: StreamUpgradeError<Infallible>) -> NotOpened {
    match error {
        StreamUpgradeError::Timeout => NotOpened::Unreachable("no lane in time".to_owned()),
        StreamUpgradeError::NegotiationFailed => NotOpened::NotSpoken,
        StreamUpgradeError::Io(failed) => NotOpened::Unreachable(failed.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// The protocols offered or asked for.
#[derive(Clone, Copy)]
pub(crate) struct Spoken(&'static [Channel]);

/// A protocol with what it stands for.
#[derive(Clone)]
pub(crate) struct Named(Channel, StreamProtocol);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(out)
    }
}

impl UpgradeInfo for Spoken {
    type Info = Named;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Channel>, fn(&Channel) -> Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|channel| Named(*channel, channel.protocol()))
    }
}

impl InboundUpgrade<Stream> for Spoken {
    type Output = (Stream, Channel);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, named: Named) -> Self::Future {
        ready(Ok((stream, named.0)))
    }
}

impl OutboundUpgrade<Stream> for Spoken {
    type Output = (Stream, Channel);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, named: Named) -> Self::Future {
        ready(Ok((stream, named.0)))
    }
}
