//! Tells the distributed hash table, again and again, which files' records are here: what
//! it was told is forgotten with the nodes that kept it, and after two days in any case.
//!
//! What was just written is told soon, though never at the pace at which it is written:
//! telling of a small file costs the network several times what storing it does, and the
//! table is asked only where neither a hint nor a broadcast finds anything.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
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

/// New files told at once: few, since storing goes on meanwhile.
const NEWS_BATCH: usize = 4;

/// New files that may wait to be told, which takes 17 minutes. Further ones are told in
/// the next round.
const NEWS_MAX: usize = 4096;

/// Files that were just written, and not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Untold(Mutex<VecDeque<FileId>>);

impl Untold {
    fn take(&self) -> Vec<FileId> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(NEWS_BATCH);
        waiting.drain(..count).collect()
    }

    /// Records of `files` were written.
    pub(crate) fn add(&self, files: impl IntoIterator<Item = FileId>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = NEWS_MAX.saturating_sub(waiting.len());
        waiting.extend(files.into_iter().take(room));
    }
}

impl<W: World> Engine<W> {
    /// Tells of what was just written, some at a time.
    pub(crate) async fn announce_news(&self) {
        loop {
            self.clock.sleep(BATCH_PAUSE).await;
            let Some(pair) = self.announcing() else { continue };
            for file in self.untold.take() {
                self.peers.provide(file_locator(&self.network, &file), pair);
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: usize) -> FileId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        FileId(bytes)
    }

    #[test]
    fn news_are_told_in_order_a_few_at_a_time_and_what_is_too_much_is_left_to_the_round() {
        let untold = Untold::default();
        untold.add((0..NEWS_MAX + 10).map(file));
        assert_eq!(untold.take(), (0..NEWS_BATCH).map(file).collect::<Vec<_>>());
        untold.add([file(NEWS_MAX + 10)]);
        let mut last = Vec::new();
        for _ in 1..NEWS_MAX / NEWS_BATCH {
            last = untold.take();
        }
        assert_eq!(last, (NEWS_MAX - NEWS_BATCH..NEWS_MAX).map(file).collect::<Vec<_>>());
        assert_eq!(untold.take(), vec![file(NEWS_MAX + 10)]);
        assert!(untold.take().is_empty());
    }
}
