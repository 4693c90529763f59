//! What a node does for its disk in the background: it gives dead bytes of segments back
//! to the device, a step at a time and with pauses, so that it never competes with
//! requests for long.

use std::time::Duration;

use defs_store::Store;
use defs_telemetry::Count;
use tokio_util::sync::CancellationToken;

/// How long compaction rests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rests {
    /// After a step that did something: a step copies at most one segment.
    pub(crate) between_steps: Duration,
    /// When nothing was to do.
    pub(crate) idle: Duration,
    /// After a step that failed. A failure of which the disk can't be trusted any more
    /// ends the process by itself.
    pub(crate) failed: Duration,
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            between_steps: Duration::from_secs(2),
            idle: Duration::from_mins(1),
            failed: Duration::from_mins(10),
        }
    }
}

/// Compacts until `stop`. A step is never cut short.
pub(crate) async fn compact(
    store: Store,
    given_back: Count,
    rests: Rests,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let rest = match store.compact_step().await {
            Ok(Some(done)) => {
                given_back.add(done.freed);
                tracing::info!(moved = done.moved, freed = done.freed, "compacted");
                rests.between_steps
            }
            Ok(None) => rests.idle,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "compaction failed");
                rests.failed
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(rest)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use defs_core::port::{Change, Disk};
    use defs_port_suite::disk::{NETWORK, Sample};
    use defs_store::StoreConfig;
    use tokio_util::task::TaskTracker;

    use super::*;

    fn segments(folder: &Path) -> u64 {
        let files = std::fs::read_dir(folder.join("segments")).unwrap();
        // One that is compacted away between being named and being looked at has no length.
        files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).sum()
    }

    #[tokio::test]
    async fn what_was_deleted_is_given_back_without_anybody_asking() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(folder.path().to_path_buf(), 64 << 20, NETWORK);
        config.segment_max = 64 << 10;
        let store = Store::open(config).unwrap();
        let samples: Vec<_> = (0..64).map(|seed| Sample::new(seed, 5000)).collect();
        for sample in &samples {
            sample.store(&store).await.unwrap();
        }
        // A few live on in every segment.
        let (kept, gone): (Vec<_>, Vec<_>) =
            samples.iter().enumerate().partition(|(place, _)| place % 8 == 0);
        let changes = gone.iter().map(|(_, sample)| Change::DeleteShard(sample.key())).collect();
        store.apply(changes).await.unwrap();
        let before = segments(folder.path());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let rest = Duration::from_millis(5);
        let rests = Rests { between_steps: rest, idle: rest, failed: rest };
        let given_back = Count::default();
        tasks.spawn(compact(store.clone(), given_back.clone(), rests, stop.clone()));
        let shrinks = async {
            while segments(folder.path()) * 3 > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shrinks).await.unwrap();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        assert!(given_back.get() > 0);
        for (_, sample) in kept {
            assert!(sample.is_whole_on(&store).await.unwrap());
        }
    }
}
