//! One sync for many: whoever needs what it has written to be durable waits for a sync
//! that *started* after it came, and one of those who wait does it for all.

use std::io;
use std::sync::{Condvar, Mutex};

use crate::locked::{locked, wait};

/// Shares a sync between threads.
#[derive(Debug, Default)]
pub(crate) struct GroupSync {
    rounds: Mutex<Rounds>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    started: u64,
    finished: u64,
    /// A failed sync is never tried again: see [`crate::Fatal`].
    failed: bool,
}

impl GroupSync {
    /// Returns when a sync that started after this call has finished; `sync` is run by
    /// one of the callers.
    pub(crate) fn join(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = locked(&self.rounds);
        let needed = rounds.started + 1;
        while rounds.started > rounds.finished && rounds.finished < needed && !rounds.failed {
            rounds = wait(&self.finished, rounds);
        }
        if rounds.failed {
            return Err(io::Error::other("an earlier sync of the same file has failed"));
        }
        if rounds.finished >= needed {
            return Ok(());
        }
        rounds.started += 1;
        drop(rounds);
        let result = sync();
        let mut rounds = locked(&self.rounds);
        rounds.finished = rounds.started;
        rounds.failed |= result.is_err();
        drop(rounds);
        self.finished.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Barrier};

    use super::*;

    #[test]
    fn everybody_is_covered_by_a_sync_that_started_after_they_wrote() {
        let (group, written) = (GroupSync::default(), AtomicU64::new(0));
        let (durable, syncs) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
                        let sync = || {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            let seen = written.load(Ordering::SeqCst);
                            std::thread::yield_now();
                            durable.fetch_max(seen, Ordering::SeqCst);
                            Ok(())
                        };
                        group.join(sync).unwrap();
                        assert!(durable.load(Ordering::SeqCst) >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) <= 1600);
    }

    #[test]
    fn those_who_come_during_a_sync_share_the_next_one() {
        let group = Arc::new(GroupSync::default());
        let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = {
            let (group, begun, go_on) =
                (Arc::clone(&group), Arc::clone(&begun), Arc::clone(&go_on));
            std::thread::spawn(move || {
                group.join(|| {
                    begun.wait();
                    go_on.wait();
                    Ok(())
                })
            })
        };
        begun.wait();
        let later: Vec<_> = (0..4)
            .map(|_| {
                let group = Arc::clone(&group);
                std::thread::spawn(move || group.join(|| Ok(())))
            })
            .collect();
        go_on.wait();
        first.join().unwrap().unwrap();
        for thread in later {
            thread.join().unwrap().unwrap();
        }
        let rounds = locked(&group.rounds);
        assert!(rounds.finished == rounds.started && (2..=5).contains(&rounds.finished));
    }

    #[test]
    fn after_a_failed_sync_nobody_is_told_that_anything_is_durable() {
        let group = GroupSync::default();
        assert!(group.join(|| Err(io::Error::other("no"))).is_err());
        assert!(group.join(|| Ok(())).is_err());
    }
}
