//! Tells the distributed hash table, again and again, which files' records are here: what
//! it was told is forgotten with the nodes that kept it, and after two days in any case.

use std::time::Duration;

use defs_core::digest::file_locator;
use defs_core::ids::{FileId, PairId};
use defs_core::network::Role;
use defs_core::port::{Clock, Disk, DiskError, Publish};

use crate::config::World;
use crate::engine::Engine;

/// Files told at once; each costs a message to some twenty nodes.
const BATCH: usize = 16;

/// Between two batches. A million files take 17 hours, well within what is remembered.
const BATCH_PAUSE: Duration = Duration::from_secs(1);

/// Between two rounds: a quarter of the time for which the hash table remembers.
const ROUND_PAUSE: Duration = Duration::from_hours(12);

/// How often a node that has nobody to tell, or nothing to say, looks again.
const NOBODY_PAUSE: Duration = Duration::from_secs(5);

impl<W: World> Engine<W> {
    pub(crate) async fn announce(&self) {
        let mut after = None;
        loop {
            let pause = match self.announcing() {
                None => NOBODY_PAUSE,
                Some(pair) => match self.announce_some(pair, after).await {
                    Ok(last) => {
                        after = last;
                        if after.is_some() { BATCH_PAUSE } else { ROUND_PAUSE }
                    }
                    Err(error) => {
                        self.note_failure(Err(error));
                        NOBODY_PAUSE
                    }
                },
            };
            self.clock.sleep(pause).await;
        }
    }

    /// For which pair this node speaks now: as its primary, and once somebody was heard,
    /// since a hash table of one remembers nothing that matters.
    fn announcing(&self) -> Option<PairId> {
        let own = self.membership.own_pair()?.record;
        let is_heard = self.alive().iter().any(|node| *node != self.me);
        (is_heard && own.role_of(&self.me) == Some(Role::Primary)).then_some(own.pair)
    }

    /// Tells of the files after `after`; answers the last of them, `None` at the end.
    async fn announce_some(
        &self,
        pair: PairId,
        after: Option<FileId>,
    ) -> Result<Option<FileId>, DiskError> {
        let files = self.disk.files_after(after, BATCH).await?;
        for file in &files {
            self.peers.provide(file_locator(&self.network, file), pair);
        }
        Ok(files.last().copied())
    }
}
