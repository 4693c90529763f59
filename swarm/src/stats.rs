//! Counters, plain and cheap; whoever exports metrics takes a snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::family::Family;

/// What a swarm has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmStats {
    /// Connections that stand now.
    pub connections: u64,
    /// Lanes that peers have open here now.
    pub lanes_served: u64,
    /// Lanes that this peer has open elsewhere now.
    pub lanes_opened: u64,
    /// Lanes that were refused for a limit.
    pub lanes_refused: u64,
    /// Dials that failed.
    pub dial_failures: u64,
    /// Relays that keep a place for this peer now, since it can't be dialled.
    pub relay_places: u64,
    /// Connections between others that this peer has relayed.
    pub relayed: u64,
    /// Relayed connections of this peer that were replaced by one it dialled directly.
    pub punched: u64,
    /// Streams between a client and another node that this node forwards now.
    pub via_streams: u64,
    /// Such streams since the start.
    pub via_opened: u64,
    /// Such streams that were not opened: for a limit, or since the other node is no member
    /// or was not reached.
    pub via_refused: u64,
    /// Bytes forwarded, both ways.
    pub via_bytes: u64,
    /// Lanes served here that another node forwarded.
    pub via_served: u64,
    /// Lanes of this client that went by way of another node.
    pub detours: u64,
    /// Gossiped messages sent, heard, and dropped because the queue was full.
    pub gossip_sent: u64,
    /// See [`SwarmStats::gossip_sent`].
    pub gossip_heard: u64,
    /// See [`SwarmStats::gossip_sent`].
    pub gossip_dropped: u64,
    /// By family, in the order of [`Family::ALL`].
    pub families: [FamilyStats; Family::COUNT],
}

/// What was exchanged under one protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyStats {
    /// Requests sent.
    pub calls: u64,
    /// Requests that failed without an answer.
    pub calls_failed: u64,
    /// Requests answered.
    pub served: u64,
    /// Bytes sent, of messages and bodies.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) lanes_served: Counter,
    pub(crate) lanes_opened: Counter,
    pub(crate) lanes_refused: Counter,
    pub(crate) dial_failures: Counter,
    pub(crate) relayed: Counter,
    pub(crate) punched: Counter,
    pub(crate) via_streams: Counter,
    pub(crate) via_opened: Counter,
    pub(crate) via_refused: Counter,
    pub(crate) via_bytes: Counter,
    pub(crate) via_served: Counter,
    pub(crate) detours: Counter,
    pub(crate) gossip_sent: Counter,
    pub(crate) gossip_heard: Counter,
    pub(crate) gossip_dropped: Counter,
    families: [FamilyCounters; Family::COUNT],
}

#[derive(Debug, Default)]
pub(crate) struct FamilyCounters {
    pub(crate) calls: Counter,
    pub(crate) calls_failed: Counter,
    pub(crate) served: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) bytes_in: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Relaxed);
    }

    pub(crate) fn less_one(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(crate) fn of(&self, family: Family) -> &FamilyCounters {
        &self.families[family.index()]
    }

    pub(crate) fn snapshot(&self, relay_places: u64) -> SwarmStats {
        let family = |counters: &FamilyCounters| FamilyStats {
            calls: counters.calls.get(),
            calls_failed: counters.calls_failed.get(),
            served: counters.served.get(),
            bytes_out: counters.bytes_out.get(),
            bytes_in: counters.bytes_in.get(),
        };
        SwarmStats {
            connections: self.connections.get(),
            lanes_served: self.lanes_served.get(),
            lanes_opened: self.lanes_opened.get(),
            lanes_refused: self.lanes_refused.get(),
            dial_failures: self.dial_failures.get(),
            relay_places,
            relayed: self.relayed.get(),
            punched: self.punched.get(),
            via_streams: self.via_streams.get(),
            via_opened: self.via_opened.get(),
            via_refused: self.via_refused.get(),
            via_bytes: self.via_bytes.get(),
            via_served: self.via_served.get(),
            detours: self.detours.get(),
            gossip_sent: self.gossip_sent.get(),
            gossip_heard: self.gossip_heard.get(),
            gossip_dropped: self.gossip_dropped.get(),
            families: self.families.each_ref().map(family),
        }
    }
}
