//! A node's listening sockets, over TCP and QUIC each.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use tokio::time::timeout;

use crate::config::StartError;
use crate::start::Swarm;

/// How long the operating system may take to open the listening sockets.
const LISTEN: Duration = Duration::from_secs(5);

impl Swarm {
    /// Listens everywhere it should, and waits until it knows the ports.
    pub(crate) async fn listen(&mut self) -> Result<(), StartError> {
        let mut waiting = Vec::new();
        for address in self.config.listen.clone() {
            check_free(address)?;
            for multiaddr in [tcp_at(address), quic_at(address)] {
                let listener = self.swarm.listen_on(multiaddr);
                let failed =
                    |error| StartError::Listen { address, source: io::Error::other(error) };
                waiting.push((listener.map_err(failed)?, address));
            }
        }
        let first = waiting.first().map(|(_, address)| *address);
        let listening = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr { listener_id, .. } => {
                        waiting.retain(|(listener, _)| listener != listener_id);
                    }
                    SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                        let closed = waiting.iter().find(|(listener, _)| listener == listener_id);
                        if let Some((_, address)) = closed {
                            let source = io::Error::new(error.kind(), error.to_string());
                            return Err(StartError::Listen { address: *address, source });
                        }
                    }
                    _ => {}
                }
                self.early.push(event);
            }
            Ok(())
        };
        match (timeout(LISTEN, listening).await, first) {
            (Ok(listened), _) => listened?,
            (Err(_), Some(address)) => {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                return Err(StartError::Listen { address, source });
            }
            (Err(_), None) => {}
        }
        // Whoever asks for the addresses before the event loop runs gets them too.
        let addresses = self.swarm.listeners().cloned().collect();
        self.view.send_modify(|view| view.listening = addresses);
        self.early.retain(|event| !matches!(event, SwarmEvent::NewListenAddr { .. }));
        Ok(())
    }
}

fn tcp_at(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

fn quic_at(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

/// libp2p listens with port reuse, so two processes at one port would share its
/// connections unnoticed. A plain socket is refused there.
fn check_free(address: SocketAddr) -> Result<(), StartError> {
    let bound = TcpListener::bind(address).map(drop).and(UdpSocket::bind(address).map(drop));
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { port: address.port(), address },
        _ => StartError::Listen { address, source },
    })
}
