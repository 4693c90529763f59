//! Whose turn it is to rebuild a stripe. Several pairs watch what a lost pair held of it, and
//! each sees the same once it has asked who holds what, so they agree without a word: the
//! watchers of the lowest missing shard decide. Who is late loses its turn to all others.

use defs_core::ids::PairId;
use defs_core::port::{Clock, StoredShard};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::rebuild::{Census, Need, watchers};

impl Census {
    /// The pair that rebuilds a stripe of `total` shards before others: of the missing shards
    /// the lowest with a watcher that lives counts, and of its watchers the nearest.
    fn goes_first(&self, total: usize) -> Option<PairId> {
        let nearest = |missing| watchers(missing, total).find_map(|watcher| self.keeper(watcher));
        self.missing.iter().find_map(|missing| nearest(*missing))
    }
}

impl<W: World> Engine<W> {
    /// The pair to which the stripe is left for now, unless it is this node's own.
    pub(crate) fn goes_before(
        &self,
        need: &Need,
        census: &Census,
        stored: &StoredShard,
    ) -> Option<PairId> {
        let first = census.goes_first(stored.head.descriptor.body.geometry.total())?;
        let waited = self.clock.elapsed().saturating_sub(need.lost_last);
        let waits = need.is_watched() && waited < self.config.timings.repair_turn;
        (waits && first != stored.state.pair).then_some(first)
    }
}
