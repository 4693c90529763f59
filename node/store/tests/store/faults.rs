//! What the store does when the disk fails it.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use defs_core::port::{Change, Disk, DiskError, StateKey, Usage};
use defs_port_suite::disk::{NETWORK, Sample};
use defs_store::{FILE_MIN, Fatal, Faults, OpenError, STORES_MAX, Step, Store, StoreConfig};
use tempfile::TempDir;

const CAPACITY: u64 = 64 << 20;

/// A shard that becomes a file, and one that goes to a segment.
fn both_kinds() -> [Sample; 2] {
    let large = usize::try_from(FILE_MIN).unwrap() + 1000;
    [Sample::new(1, large), Sample::new(2, 5000)]
}

/// Fails the steps that `fails` picks.
struct Failing<F>(F);

impl<F: Fn(Step) -> Option<io::ErrorKind> + Send + Sync> Faults for Failing<F> {
    fn before(&self, step: Step) -> io::Result<()> {
        (self.0)(step).map_or(Ok(()), |kind| Err(kind.into()))
    }
}

struct Broken {
    store: Store,
    deaths: Arc<AtomicUsize>,
    folder: TempDir,
}

fn open(
    folder: TempDir,
    fails: impl Fn(Step) -> Option<io::ErrorKind> + Send + Sync + 'static,
) -> Broken {
    let deaths = Arc::new(AtomicUsize::new(0));
    let mut config = StoreConfig::new(folder.path().to_path_buf(), CAPACITY, NETWORK);
    config.faults = Arc::new(Failing(fails));
    config.fatal = Fatal::hook({
        let deaths = Arc::clone(&deaths);
        move |_why| {
            deaths.fetch_add(1, Ordering::SeqCst);
        }
    });
    Broken { store: Store::open(config).unwrap(), deaths, folder }
}

fn sound(folder: &TempDir) -> Store {
    let config = StoreConfig::new(folder.path().to_path_buf(), CAPACITY, NETWORK);
    Store::open(config).unwrap()
}

fn leftovers(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("tmp")).unwrap().count()
}

fn empty() -> Usage {
    Usage { capacity: CAPACITY, ..Usage::default() }
}

/// Folders of a fresh store are made before its faults begin.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sound(&folder).close();
    folder
}

#[tokio::test]
async fn a_failing_sync_ends_the_process_and_acknowledges_nothing() {
    for failing in [Step::SyncFile, Step::SyncFolder, Step::Index] {
        for sample in both_kinds() {
            let fails = move |step| (step == failing).then_some(io::ErrorKind::Other);
            let broken = open(prepared(), fails);
            let stored = sample.store(&broken.store).await;
            assert!(matches!(stored, Err(DiskError::Io { .. })), "{failing:?}: {stored:?}");
            assert_eq!(broken.deaths.load(Ordering::SeqCst), 1, "{failing:?}");
            assert_eq!(broken.store.shard(sample.key()).await.unwrap(), None);
            assert_eq!(broken.store.usage(), empty());
        }
    }
}

#[tokio::test]
async fn a_failing_sync_of_small_values_ends_the_process() {
    let broken = open(prepared(), |step| (step == Step::Index).then_some(io::ErrorKind::Other));
    let change = Change::Put(StateKey(b"k".to_vec()), vec![1]);
    assert!(broken.store.apply(vec![change]).await.is_err());
    assert_eq!(broken.deaths.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_full_device_is_told_as_such_and_leaves_nothing() {
    for room in [0, 10, 3000] {
        for sample in both_kinds() {
            let left = AtomicI64::new(room);
            let broken = open(prepared(), move |step| match step {
                Step::Write { bytes } => {
                    let bytes = i64::try_from(bytes).unwrap();
                    let before = left.fetch_sub(bytes, Ordering::SeqCst);
                    (before < bytes).then_some(io::ErrorKind::StorageFull)
                }
                _ => None,
            });
            let refused = sample.store(&broken.store).await;
            let length = sample.length();
            assert!(
                matches!(refused, Err(DiskError::Full { needed, .. }) if needed == length),
                "{refused:?}"
            );
            assert_eq!(broken.deaths.load(Ordering::SeqCst), 0);
            assert_eq!(broken.store.usage(), empty());
            assert_eq!(leftovers(&broken.folder), 0);
        }
    }
}

#[tokio::test]
async fn a_device_that_is_full_when_the_index_is_written_leaves_nothing() {
    for sample in both_kinds() {
        let full = Arc::new(AtomicUsize::new(1));
        let fails = {
            let full = Arc::clone(&full);
            move |step| {
                let fails = step == Step::Index && full.load(Ordering::SeqCst) == 1;
                fails.then_some(io::ErrorKind::StorageFull)
            }
        };
        let broken = open(prepared(), fails);
        let refused = sample.store(&broken.store).await;
        assert!(matches!(refused, Err(DiskError::Full { .. })), "{refused:?}");
        assert_eq!(broken.store.usage(), empty());
        full.store(0, Ordering::SeqCst);
        sample.store(&broken.store).await.unwrap();
        assert!(sample.is_whole_on(&broken.store).await.unwrap());
    }
}

#[tokio::test]
async fn a_store_is_acknowledged_only_after_bytes_name_and_index_are_durable_in_this_order() {
    for (sample, expected) in both_kinds().into_iter().zip([
        vec!["write", "sync", "rename", "sync folder", "index"],
        // A new segment gets its name first.
        vec!["sync folder", "write", "sync", "index"],
    ]) {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let broken = open(prepared(), move |step| {
            let name = match step {
                Step::Write { .. } => "write",
                Step::Rename => "rename",
                Step::SyncFile => "sync",
                Step::SyncFolder => "sync folder",
                Step::Index => "index",
                Step::Unlink => "unlink",
            };
            seen.lock().unwrap().push(name);
            None
        });
        sample.store(&broken.store).await.unwrap();
        let mut steps = steps.lock().unwrap().clone();
        steps.dedup();
        assert_eq!(steps, expected);
    }
}

#[tokio::test]
async fn whatever_step_is_the_last_the_next_start_finds_all_or_nothing() {
    for sample in both_kinds() {
        for last in 0.. {
            let taken = AtomicI64::new(last);
            // From the given step on nothing reaches the disk any more.
            let broken = open(prepared(), move |_| {
                let left = taken.fetch_sub(1, Ordering::SeqCst);
                (left <= 0).then_some(io::ErrorKind::Other)
            });
            let stored = sample.store(&broken.store).await;
            let Broken { store, folder, .. } = broken;
            store.close();
            let again = sound(&folder);
            assert_eq!(leftovers(&folder), 0);
            let whole = sample.is_whole_on(&again).await.unwrap();
            assert_eq!(whole, stored.is_ok());
            if stored.is_ok() {
                break;
            }
            assert_eq!(again.usage(), empty());
            let files = defs_core::ids::hex(&sample.key().stripe.0[..1]);
            let files = folder.path().join("shards").join(files);
            assert_eq!(std::fs::read_dir(files).unwrap().count(), 0);
            sample.store(&again).await.unwrap();
            assert!(sample.is_whole_on(&again).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_second_process_is_refused_by_name() {
    let folder = prepared();
    let store = sound(&folder);
    let config = StoreConfig::new(folder.path().to_path_buf(), CAPACITY, NETWORK);
    let refused = Store::open(config.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { folder: named } if named == folder.path()));
    store.close();
    Store::open(config).unwrap();
}

#[tokio::test]
async fn an_index_that_lost_its_shards_is_refused_and_nothing_is_removed() {
    let folder = prepared();
    let store = sound(&folder);
    let length = usize::try_from(FILE_MIN).unwrap();
    let lost = STORES_MAX + 1;
    let samples: Vec<_> = (0..lost as u64).map(|seed| Sample::alone(seed, length)).collect();
    for sample in &samples {
        sample.store(&store).await.unwrap();
    }
    store.close();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let config = StoreConfig::new(folder.path().to_path_buf(), CAPACITY, NETWORK);
    let refused = Store::open(config.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::IndexMissing { .. }), "{refused}");
    // An empty index in its place.
    let other = prepared();
    std::fs::rename(other.path().join("index"), folder.path().join("index")).unwrap();
    let refused = Store::open(config.clone()).unwrap_err();
    assert!(matches!(refused, OpenError::IndexIncomplete { unindexed, .. } if unindexed == lost));
    let report = defs_store::fsck(folder.path(), NETWORK, true).unwrap();
    assert_eq!(report.whole, lost as u64);
    let store = Store::open(config).unwrap();
    for sample in &samples {
        assert!(sample.is_whole_on(&store).await.unwrap());
    }
}
