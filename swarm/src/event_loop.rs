//! The one task that owns libp2p's swarm: it connects, gossips and looks up. Bytes of
//! exchanges never pass through here.

mod connecting;
mod reaching;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::message::Gossip;
use defs_core::network::Reach;
use defs_core::port::Service;
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, autonat, identify, kad, mdns};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::call::Caller;
use crate::channel::Channel;
use crate::config::SwarmConfig;
use crate::dialling::Dialling;
use crate::handle::Shared;
use crate::identity::{node_id, peer_id};
use crate::kad::LookUps;
use crate::opening::Answer;
use crate::places::Places;
use crate::{gossip, kad as look_ups};

/// What the swarm's handles ask for.
#[derive(Debug)]
pub(crate) enum Command {
    Open {
        to: NodeId,
        channel: Channel,
        answer: Answer,
    },
    Learned {
        node: NodeId,
        addresses: Vec<Multiaddr>,
    },
    Publish(Box<Gossip>),
    LookUp {
        locator: Locator,
        answer: oneshot::Sender<Vec<PairId>>,
    },
    Provide {
        locator: Locator,
        pair: PairId,
    },
    /// Dial the bootstrap addresses if there are too few peers.
    SeekCompany,
}

/// What anybody may read of the swarm.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) peers: BTreeSet<NodeId>,
    pub(crate) listening: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) reach: Reach,
}

/// How often a peer without enough company dials its bootstrap addresses again, and one
/// without enough places at relays asks for them.
const TICK: Duration = Duration::from_secs(5);

/// How many of the first ticks refresh the routing table. Peers that join at the same time
/// may each have asked the bootstrap node before it knew the other, and would else stay
/// strangers until the next regular refresh.
pub(crate) const EARLY_REFRESHES: u32 = 4;

/// Who knows where this peer can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReachedAt {
    /// Whoever runs it: it was told what to announce.
    Told,
    /// It finds out.
    Unknown,
}

impl ReachedAt {
    pub(crate) fn of(config: &SwarmConfig) -> Self {
        if config.external.is_empty() { Self::Unknown } else { Self::Told }
    }
}

pub(crate) struct EventLoop<S> {
    pub(crate) swarm: libp2p::Swarm<Behaviour>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) service: Arc<S>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) view: watch::Sender<View>,
    pub(crate) bootstrap: Vec<Multiaddr>,
    pub(crate) dialling: Dialling,
    pub(crate) look_ups: LookUps,
    pub(crate) places: Places,
    pub(crate) reached_at: ReachedAt,
    /// Whether AutoNAT has found out if this peer can be dialled.
    pub(crate) is_judged: bool,
    /// Refreshes of the routing table that are still to come with ticks.
    pub(crate) early_refreshes: u32,
}

type Event = SwarmEvent<BehaviourEvent>;

impl<S: Service> EventLoop<S> {
    /// Runs until `stop`; `early` is what happened before.
    pub(crate) async fn run(mut self, early: Vec<Event>, stop: CancellationToken) {
        for event in early {
            self.on_event(event);
        }
        self.vouch_as_relay();
        let mut ticks = ticks();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = ticks.tick() => self.on_tick(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open { to, channel, answer } => self.open(peer_id(&to), channel, answer),
            Command::Learned { node, addresses } => self.add_to_kad(peer_id(&node), addresses),
            Command::Publish(message) => {
                if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
                    gossip::publish(gossip, &message, &self.caller.counters);
                }
            }
            Command::LookUp { locator, answer } => {
                self.look_ups.start(&mut self.swarm.behaviour_mut().kad, locator, answer);
            }
            Command::Provide { locator, pair } => {
                look_ups::provide(&mut self.swarm.behaviour_mut().kad, locator, pair);
            }
            Command::SeekCompany => self.seek_company(),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                self.on_reached(peer_id, &endpoint);
                self.on_connected(peer_id, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                self.on_closed(peer_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                self.on_dial_failed(peer_id, connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_not_listening(&[address]),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.on_not_listening(&addresses);
                self.on_listener_closed(listener_id, reason);
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_confirmed(address),
            SwarmEvent::ExternalAddrExpired { address } => self.view.send_modify(|view| {
                view.external.retain(|other| *other != address);
            }),
            other => tracing::trace!(?other, "nothing to do"),
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => {
                if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
                    gossip::hear(gossip, event, &*self.service, &self.caller.counters);
                }
            }
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            BehaviourEvent::Reachability(autonat::Event::StatusChanged { new, .. }) => {
                self.on_reachability(&new);
            }
            BehaviourEvent::Relay(event) => self.on_relay(&event),
            BehaviourEvent::HolePunching(event) => self.on_punched(&event),
            other => tracing::trace!(?other, "nothing to do"),
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.look_ups.progress(id, result, &step);
            }
            kad::Event::InboundRequest { request } => {
                look_ups::asked(&mut self.swarm.behaviour_mut().kad, request);
            }
            other => tracing::trace!(?other, "nothing to do"),
        }
    }

    fn on_connected(&mut self, peer: PeerId, count: u32) {
        self.caller.counters.connections.add(1);
        if count == 1
            && let Some(node) = node_id(&peer)
        {
            self.view.send_modify(|view| {
                view.peers.insert(node);
            });
        }
        for (channel, answer) in self.dialling.connected(&peer) {
            self.swarm.behaviour_mut().lanes.open(peer, channel, answer);
        }
    }

    fn on_closed(&mut self, peer: PeerId, left: u32) {
        self.caller.counters.connections.less_one();
        if left == 0
            && let Some(node) = node_id(&peer)
        {
            self.view.send_modify(|view| {
                view.peers.remove(&node);
            });
            self.caller.pool.forget(&node);
            self.service.gone(node);
        }
    }

    fn on_tick(&mut self) {
        self.seek_company();
        self.refresh_early();
        self.keep_places();
        self.close_outlived();
    }
}

fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
