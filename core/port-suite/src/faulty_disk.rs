//! A disk that takes its time, fails, fills up, and stops with its machine in the middle of
//! a write. What it acknowledged is durable; what it did not may be there or not, as a whole.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{FileId, Locator, PairId, ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::port::{Change, Disk, DiskError, ShardState, StateKey, StoredShard, Usage};
use defs_core::record::{RecordKey, SignedRecord};
use defs_core::stripe::ShardHead;
use tokio::time::sleep;

use crate::host::{Host, Nature};

/// What may go wrong with a disk, and how slow it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskFaults {
    /// The longest time that a write takes until it is durable, and again until it is
    /// acknowledged.
    pub write_max: Duration,
    /// Of a thousand reads, so many fail.
    pub reads_failing: u64,
    /// Of a thousand writes, so many fail and change nothing.
    pub writes_failing: u64,
    /// There is no room for anything new.
    pub full: bool,
}

/// A way to a disk that outlives the machine through which it is used.
#[derive(Clone)]
pub struct FaultyDisk<D> {
    disk: D,
    host: Arc<Host>,
    nature: Arc<dyn Nature>,
    faults: Arc<Mutex<DiskFaults>>,
}

impl<D> std::fmt::Debug for FaultyDisk<D> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "FaultyDisk({:?})", self.host)
    }
}

/// How a write goes.
enum Going {
    Well,
    /// The machine ends before it is durable.
    LostWithTheMachine,
    /// The machine ends before it is acknowledged.
    UnheardWithTheMachine,
}

impl<D: Disk> FaultyDisk<D> {
    /// `disk` as the machine `host` sees it.
    pub fn new(disk: D, host: Arc<Host>, nature: Arc<dyn Nature>) -> Self {
        Self { disk, host, nature, faults: Arc::default() }
    }

    /// From now on this goes wrong.
    pub fn set(&self, faults: DiskFaults) {
        *self.state() = faults;
    }

    /// What goes wrong now.
    pub fn faults(&self) -> DiskFaults {
        *self.state()
    }

    fn state(&self) -> MutexGuard<'_, DiskFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reading(&self, what: &str) -> Result<(), DiskError> {
        self.host.gets_on().await;
        if self.nature.happens(self.faults().reads_failing) {
            return Err(failed(what));
        }
        Ok(())
    }

    /// The time until a write is durable, or until it is acknowledged.
    async fn half_a_write(&self) {
        let most = u64::try_from(self.faults().write_max.as_micros()).unwrap_or(u64::MAX);
        let micros = self.nature.draw(most);
        if micros > 0 {
            sleep(Duration::from_micros(micros)).await;
        }
        self.host.gets_on().await;
    }

    async fn begin_write(&self, what: &str) -> Result<Going, DiskError> {
        self.host.gets_on().await;
        if self.nature.happens(self.faults().writes_failing) {
            return Err(failed(what));
        }
        self.half_a_write().await;
        Ok(match (self.host.is_last_write(), self.nature.draw(2)) {
            (false, _) => Going::Well,
            (true, 0) => Going::LostWithTheMachine,
            (true, _) => Going::UnheardWithTheMachine,
        })
    }

    async fn end_write<T>(&self, going: &Going, done: T) -> T {
        if let Going::UnheardWithTheMachine = going {
            self.ends_here().await;
        }
        self.half_a_write().await;
        done
    }

    async fn ends_here(&self) {
        self.host.switch_off();
        pending().await
    }
}

fn failed(what: &str) -> DiskError {
    let source = std::io::Error::other("input/output error").into();
    DiskError::Io { what: what.to_owned(), source }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    async fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> Result<(), DiskError> {
        let going = self.begin_write("store a shard").await?;
        if self.faults().full {
            return Err(DiskError::Full { needed: body.left(), free: 0 });
        }
        if let Going::LostWithTheMachine = going {
            // Torn: what came of it was in a temporary file, which the next start removes.
            body.collect().await?;
            self.ends_here().await;
            return Err(failed("store a shard"));
        }
        let storing = self.disk.store(head, state, body);
        let Some(stored) = self.host.life().run_until_cancelled(storing).await else {
            return pending().await;
        };
        self.end_write(&going, stored).await
    }

    async fn shard(&self, key: ShardKey) -> Result<Option<StoredShard>, DiskError> {
        self.reading("look a shard up").await?;
        self.disk.shard(key).await
    }

    async fn read(&self, key: ShardKey, range: Range<u64>) -> Result<Body, DiskError> {
        self.reading("read a shard").await?;
        self.disk.read(key, range).await
    }

    async fn indices(&self, stripe: StripeId) -> Result<Vec<ShardIndex>, DiskError> {
        self.reading("look a stripe up").await?;
        self.disk.indices(stripe).await
    }

    async fn holds(&self, locator: Locator) -> Result<Option<PairId>, DiskError> {
        self.reading("look a locator up").await?;
        self.disk.holds(locator).await
    }

    async fn shards_after(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, StoredShard)>, DiskError> {
        self.reading("list shards").await?;
        self.disk.shards_after(after, limit).await
    }

    async fn files_after(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileId>, DiskError> {
        self.reading("list files").await?;
        self.disk.files_after(after, limit).await
    }

    async fn records_after(
        &self,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, DiskError> {
        self.reading("list records").await?;
        self.disk.records_after(after, limit).await
    }

    async fn records(
        &self,
        keys: Vec<RecordKey>,
    ) -> Result<Vec<Vec<Arc<SignedRecord>>>, DiskError> {
        self.reading("read records").await?;
        self.disk.records(keys).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), DiskError> {
        let going = self.begin_write("write small things").await?;
        let grows = changes
            .iter()
            .any(|change| matches!(change, Change::Record(_, heads) if !heads.is_empty()));
        if self.faults().full && grows {
            return Err(DiskError::Full { needed: 1, free: 0 });
        }
        if let Going::LostWithTheMachine = going {
            self.ends_here().await;
        }
        let applied = self.disk.apply(changes).await;
        self.end_write(&going, applied).await
    }

    async fn get(&self, key: StateKey) -> Result<Option<Vec<u8>>, DiskError> {
        self.reading("read a small value").await?;
        self.disk.get(key).await
    }

    async fn scan(
        &self,
        prefix: StateKey,
        limit: usize,
    ) -> Result<Vec<(StateKey, Bytes)>, DiskError> {
        self.reading("list small values").await?;
        self.disk.scan(prefix, limit).await
    }

    fn usage(&self) -> Usage {
        self.disk.usage()
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::NetworkId;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::host::Calm;
    use crate::{MemoryDisk, disk};

    fn over(disk: Arc<MemoryDisk>) -> (FaultyDisk<Arc<MemoryDisk>>, Arc<Host>) {
        let host = Host::on(Instant::now(), 0);
        (FaultyDisk::new(disk, Arc::clone(&host), Arc::new(Calm)), host)
    }

    fn make(capacity: u64, network: NetworkId) -> (FaultyDisk<Arc<MemoryDisk>>, Arc<Host>) {
        over(Arc::new(MemoryDisk::new(capacity, network)))
    }

    crate::disk_laws!(make);

    fn put(value: u8) -> Vec<Change> {
        vec![Change::Put(StateKey(b"key".to_vec()), vec![value])]
    }

    #[derive(Debug)]
    struct Always(u64);

    impl Nature for Always {
        fn draw(&self, bound: u64) -> u64 {
            self.0.min(bound.saturating_sub(1))
        }
        fn note(&self, _: std::fmt::Arguments<'_>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn the_write_in_which_a_machine_ends_is_whole_or_not_there_and_never_acknowledged() {
        for (draw, there) in [(0, false), (1, true)] {
            let disk = Arc::new(MemoryDisk::new(1 << 20, NetworkId([1; 32])));
            let host = Host::on(Instant::now(), 0);
            let nature = Arc::new(Always(draw));
            let faulty = FaultyDisk::new(Arc::clone(&disk), Arc::clone(&host), nature);
            host.switch_off_at_write(1);
            faulty.apply(put(1)).await.unwrap();
            let second = timeout(Duration::from_secs(60), faulty.apply(put(2))).await;
            assert!(second.is_err() && !host.is_on());
            let read = disk.get(StateKey(b"key".to_vec())).await.unwrap();
            assert_eq!(read, Some(vec![if there { 2 } else { 1 }]));
        }
    }

    #[tokio::test]
    async fn a_full_disk_takes_nothing_new_and_a_failing_one_changes_nothing() {
        let (faulty, _host) = make(1 << 20, disk::NETWORK);
        faulty.set(DiskFaults { full: true, ..DiskFaults::default() });
        let sample = disk::Sample::new(1, 100);
        assert!(matches!(sample.store(&faulty).await, Err(DiskError::Full { .. })));
        faulty.apply(put(1)).await.unwrap();
        faulty.set(DiskFaults { writes_failing: 1000, ..DiskFaults::default() });
        assert!(matches!(faulty.apply(put(2)).await, Err(DiskError::Io { .. })));
        assert!(matches!(sample.store(&faulty).await, Err(DiskError::Io { .. })));
        faulty.set(DiskFaults::default());
        let read = faulty.get(StateKey(b"key".to_vec())).await.unwrap();
        assert_eq!((read, faulty.usage().shards), (Some(vec![1]), 0));
    }
}
