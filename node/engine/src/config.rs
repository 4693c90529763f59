//! What an engine is made from: its ports, its place in the network and its rhythms.

use std::time::Duration;

use defs_core::network::{Genesis, Labels};
use defs_core::port::{Clock, Compute, Disk, Peers, Publish, Randomness};
use defs_core::settings::Pairing;
use defs_pairing::detector;

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
    /// Where rebuilding is computed.
    type Compute: Compute;
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
    /// Who decides which nodes are pairs.
    pub pairing: Pairing,
    /// Bytes that it copies and rebuilds a second, at most.
    pub repair_rate: u64,
}

/// How often a node does things and how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Between heartbeats to the partner, and what follows when they fail to come: without
    /// one for `suspect_after`, the pair takes no new shards and reads go to the other member.
    pub watch: detector::Timings,
    /// How long a try to reach somebody may take.
    pub probe: Duration,
    /// Witnesses that are missing for so long are replaced by others.
    pub renew_witnesses: Duration,
    /// Between audits of the partner.
    pub audit: Duration,
    /// Between comparisons of the members of a pair, when nothing else causes one.
    pub compare: Duration,
    /// In which every stored byte is read back once.
    pub scrub: Duration,
    /// Between looks for stripes to repair.
    pub repair: Duration,
    /// How long a watcher leaves a lost shard to the nearer one.
    pub repair_turn: Duration,
    /// Between looks whether this node's pair is too full.
    pub balance: Duration,
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
    /// How long copies of a pair are kept at least after this node was last in it.
    pub keep_superseded: Duration,
    /// A lease that ran out is collected only after this time, in which siblings that
    /// know of a commit can be reached.
    pub lease_grace: Duration,
}

/// The longest time for which a word on a pair's epoch counts.
const CONFIRM_MAX: Duration = Duration::from_secs(60);

/// The shortest: a few tries have to fit.
const CONFIRM_MIN: Duration = Duration::from_secs(2);

impl Timings {
    /// How long a member may go by what somebody said of its epoch. Much less than what a
    /// silent member is waited for, as nobody is replaced within twice this time.
    #[must_use]
    pub fn confirm_window(&self) -> Duration {
        (self.watch.replace_after() / 10).clamp(CONFIRM_MIN, CONFIRM_MAX)
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            watch: detector::Timings::default(),
            probe: Duration::from_secs(2),
            renew_witnesses: Duration::from_secs(30),
            // Each costs both members a read of 64 KiB.
            audit: Duration::from_mins(1),
            compare: Duration::from_hours(1),
            scrub: Duration::from_hours(30 * 24),
            repair: Duration::from_secs(2),
            repair_turn: Duration::from_secs(60),
            balance: Duration::from_mins(10),
            card: Duration::from_secs(5),
            card_stale: Duration::from_secs(16),
            settle: Duration::from_millis(1500),
            form: Duration::from_millis(500),
            broadcast: Duration::from_millis(600),
            expire: Duration::from_secs(600),
            lease_min: Duration::from_hours(24),
            keep_superseded: Duration::from_hours(24),
            lease_grace: Duration::from_secs(600),
        }
    }
}
