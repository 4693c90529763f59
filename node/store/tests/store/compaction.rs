//! Dead bytes in segments are given back, and nothing living is lost on the way.

use std::path::Path;

use defs_core::port::{Change, Disk};
use defs_port_suite::disk::{NETWORK, Sample};
use defs_store::{Store, StoreConfig, fsck};

/// Shards that fill a little more than one segment of 64 MiB.
const COUNT: u64 = 280;
const LENGTH: usize = 250_000;

fn open(folder: &Path) -> Store {
    Store::open(StoreConfig::new(folder.to_path_buf(), 1 << 30, NETWORK)).unwrap()
}

fn segments(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("segments")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn fill(store: &Store) -> Vec<Sample> {
    let samples: Vec<_> = (0..COUNT).map(|seed| Sample::alone(seed, LENGTH)).collect();
    let stores = samples.iter().map(|sample| sample.store(store));
    futures::future::try_join_all(stores).await.unwrap();
    samples
}

async fn delete(store: &Store, samples: &[Sample]) {
    let changes = samples.iter().map(|sample| Change::DeleteShard(sample.key())).collect();
    store.apply(changes).await.unwrap();
}

#[tokio::test]
async fn the_living_entries_of_a_half_dead_segment_are_moved_and_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let samples = fill(&store).await;
    assert_eq!(segments(folder.path()), ["00000001.seg", "00000002.seg"]);
    assert_eq!(store.compact_step().await.unwrap(), None);
    let (dead, living) = samples.split_at(180);
    delete(&store, dead).await;
    let compacted = store.compact_step().await.unwrap().unwrap();
    assert!(compacted.moved > 0 && compacted.freed > 32 << 20, "{compacted:?}");
    assert_eq!(store.compact_step().await.unwrap(), None);
    assert_eq!(segments(folder.path()), ["00000002.seg"]);
    for sample in living {
        assert!(store.verify(sample.key()).await.unwrap());
    }
    let used = store.usage();
    store.close();
    let store = open(folder.path());
    assert_eq!(store.usage(), used);
    for sample in living {
        assert!(sample.is_whole_on(&store).await.unwrap());
    }
    store.close();
    assert!(fsck(folder.path(), NETWORK, false).unwrap().is_clean());
}

#[tokio::test]
async fn a_segment_whose_entries_are_all_dead_is_removed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let samples = fill(&store).await;
    delete(&store, &samples).await;
    assert_eq!(segments(folder.path()), ["00000002.seg"]);
    assert_eq!(store.usage().used, 0);
    store.close();
    let store = open(folder.path());
    assert_eq!(segments(folder.path()), Vec::<String>::new());
    samples[0].store(&store).await.unwrap();
    assert!(samples[0].is_whole_on(&store).await.unwrap());
}

#[tokio::test]
async fn reads_go_on_while_their_shards_are_moved() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let samples = fill(&store).await;
    let (dead, living) = samples.split_at(180);
    delete(&store, dead).await;
    let reads = async {
        for sample in living.iter().chain(living).chain(living) {
            assert!(sample.is_whole_on(&store).await.unwrap());
        }
    };
    let (compacted, ()) = futures::future::join(store.compact_step(), reads).await;
    assert!(compacted.unwrap().unwrap().moved > 0);
}
