//! The protocols that exchanges run under. Each has lanes of its own, so that a queue of
//! shards never stands before a heartbeat.

use defs_core::message::Request;
use libp2p::StreamProtocol;

/// A family of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Shards, leases, commits and tombstones.
    Shard,
    /// Records.
    Record,
    /// Handshakes, sessions, tables, pairs and heartbeats.
    Pair,
    /// Look-ups and their answers.
    Locate,
}

impl Family {
    /// All families, in the order of their indices.
    pub const ALL: [Self; 4] = [Self::Shard, Self::Record, Self::Pair, Self::Locate];

    /// The family that `request` belongs to.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        match request {
            Request::StoreShard(_)
            | Request::MirrorShard(_)
            | Request::ReadShard(_)
            | Request::StripeStatus { .. }
            | Request::Renew { .. }
            | Request::Commit { .. }
            | Request::Delete { .. } => Self::Shard,
            Request::WriteRecords { .. } | Request::ReadRecords { .. } => Self::Record,
            Request::Hello(_)
            | Request::OpenSession(_)
            | Request::Table { .. }
            | Request::Propose(_)
            | Request::Heartbeat { .. } => Self::Pair,
            Request::Locate { .. } | Request::Found { .. } => Self::Locate,
        }
    }

    /// The family's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Record => "record",
            Self::Pair => "pair",
            Self::Locate => "locate",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Shard => "/defs/shard/1",
            Self::Record => "/defs/record/1",
            Self::Pair => "/defs/pair/1",
            Self::Locate => "/defs/locate/1",
        })
    }
}
