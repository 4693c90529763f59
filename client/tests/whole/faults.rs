//! What a node can do wrong, one thing at a time or several.

use std::time::Duration;

use defs_core::ids::PairId;

/// The rules that a node can break.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub(crate) struct Faults {
    pub(crate) down: bool,
    /// Answers nothing, without closing the connection.
    pub(crate) silent: bool,
    pub(crate) full: bool,
    /// Sends other bytes than it stored.
    pub(crate) corrupt_shards: bool,
    /// Sends shards that it made itself, sealed as the owner would: it has got hold of k
    /// shares.
    pub(crate) forge_shards: bool,
    /// Begins a shard and never goes on.
    pub(crate) stall_shards: bool,
    /// Announces and sends longer shards than it was asked for.
    pub(crate) endless_shards: bool,
    /// Signs receipts with a key that is not the node's.
    pub(crate) forge_receipts: bool,
    /// Answers with records whose content it changed.
    pub(crate) forge_records: bool,
    /// The bytes of records that one answer holds; the rest is refused as "later".
    pub(crate) answer_max: Option<usize>,
    /// Refuses to answer for more records than this at once.
    pub(crate) keys_max: Option<usize>,
    /// Is told to write and hangs before it does.
    pub(crate) loses_writes: bool,
    /// Does what it is told to write, and never says so.
    pub(crate) mute_writes: bool,
    /// Says that a look-up took as many messages and round trips as numbers go.
    pub(crate) boasts: bool,
    /// The only pair that it names to whoever looks for something first; who asks again is
    /// told of all.
    pub(crate) stale_hint: Option<PairId>,
    /// Says that it holds nothing.
    pub(crate) forgets: bool,
    /// Each answer takes so long.
    pub(crate) delay: Duration,
    /// Takes so many shards and then refuses more.
    pub(crate) shards_taken_max: Option<usize>,
}
