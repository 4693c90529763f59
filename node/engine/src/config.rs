//! What an engine is made from: its ports, its place in the network and its rhythms.

use std::time::Duration;

use defs_core::network::{Genesis, Labels};
use defs_core::port::{Clock, Disk, Peers, Publish, Randomness};

/// The ports that one engine runs on.
pub trait World: Send + Sync + 'static {
    /// Other peers, and what is told to all of them.
    type Peers: Peers + Publish;
    /// What is kept.
    type Disk: Disk;
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Random: Randomness;
}

/// Who this node is and where it stands.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Of the network that it serves.
    pub genesis: Genesis,
    /// The invite key's signature that admits this node.
    pub admission: [u8; 64],
    /// Where it stands.
    pub labels: Labels,
    /// Its rhythms.
    pub timings: Timings,
}

/// How often a node does things and how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Between heartbeats to the partner.
    pub heartbeat: Duration,
    /// Without a heartbeat for so long, the partner counts as away: no new shards, and
    /// reads go to the other member.
    pub suspect_after: Duration,
    /// Between two tellings of this node's card.
    pub card: Duration,
    /// Without a card for so long, a node counts as away.
    pub card_stale: Duration,
    /// The set of free nodes must be the same for so long before pairs are formed, so
    /// that nodes that start together see each other first.
    pub settle: Duration,
    /// Between looks for a partner.
    pub form: Duration,
    /// How long a broadcast waits for answers.
    pub broadcast: Duration,
    /// Between looks for expired leases.
    pub expire: Duration,
    /// What a shard is kept at least without a commit, whoever asks for less.
    pub lease_min: Duration,
    /// A lease that ran out is collected only after this time, in which siblings that
    /// know of a commit can be reached.
    pub lease_grace: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            suspect_after: Duration::from_secs(6),
            card: Duration::from_secs(5),
            card_stale: Duration::from_secs(16),
            settle: Duration::from_millis(1500),
            form: Duration::from_millis(500),
            broadcast: Duration::from_millis(600),
            expire: Duration::from_secs(600),
            lease_min: Duration::from_hours(24),
            lease_grace: Duration::from_secs(600),
        }
    }
}
