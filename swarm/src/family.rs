//! The protocols that exchanges run under. Each has lanes of its own, so that a queue of
//! shards never stands before a heartbeat.

use defs_core::message::Request;

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
    /// Copies between members, and what a rebuild needs.
    Repair,
}

impl Family {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All families, in the order of their indices.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Shard, Self::Record, Self::Pair, Self::Locate, Self::Repair];

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
            | Request::Heartbeat { .. }
            | Request::Ping
            | Request::Probe { .. }
            | Request::Confirm { .. }
            | Request::History { .. }
            | Request::Readings { .. } => Self::Pair,
            Request::Summary { .. }
            | Request::CopyShard { .. }
            | Request::CopyRecords { .. }
            | Request::CopyTombstones { .. }
            | Request::Release { .. }
            | Request::StandIn { .. }
            | Request::TakeRecords { .. }
            | Request::Moved(_)
            | Request::Challenge { .. } => Self::Repair,
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
            Self::Repair => "repair",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}
