//! What fsck finds and mends, and what compaction and verification do.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use defs_core::digest::stripe_locator;
use defs_core::port::{Change, Disk, StateKey};
use defs_port_suite::disk::{NETWORK, PAIR, Sample, record};
use defs_store::{FsckReport, IndexHealth, Store, StoreConfig, fsck};
use tempfile::TempDir;

const LARGE: usize = 300 << 10;

fn open(folder: &TempDir) -> Store {
    let config = StoreConfig::new(folder.path().to_path_buf(), 1 << 30, NETWORK);
    Store::open(config).unwrap()
}

/// A store with large and small shards, of which the last of each was deleted.
async fn filled(folder: &TempDir) -> (Vec<Sample>, [Sample; 2]) {
    let store = open(folder);
    let of = |seed: u64| Sample::new(seed, if seed.is_multiple_of(2) { LARGE } else { 4096 });
    let samples: Vec<_> = (0..10).map(of).collect();
    for sample in &samples {
        sample.store(&store).await.unwrap();
    }
    let page = record(1, 0, 1, 100);
    store.apply(vec![Change::Record(page.body.key, vec![page])]).await.unwrap();
    let (kept, gone) = samples.split_at(8);
    for sample in gone {
        store.apply(vec![Change::DeleteShard(sample.key())]).await.unwrap();
    }
    (kept.to_vec(), [gone[0].clone(), gone[1].clone()])
}

fn file_of(folder: &TempDir, sample: &Sample) -> PathBuf {
    let stripe = sample.key().stripe.full();
    let name = format!("{stripe}-{}.shard", sample.key().index);
    folder.path().join("shards").join(&stripe[..2]).join(name)
}

/// Flips a bit of a stored shard's sealed bytes.
fn flip(folder: &TempDir, sample: &Sample, small: bool) {
    let path =
        if small { folder.path().join("segments/00000001.seg") } else { file_of(folder, sample) };
    let stored = fs::read(&path).unwrap();
    let sealed = &sample.sealed[..64];
    let at = stored.windows(64).position(|window| window == sealed).unwrap() + 20;
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[stored[at] ^ 4], at as u64).unwrap();
}

#[tokio::test]
async fn a_store_without_faults_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    filled(&folder).await;
    let report = fsck(folder.path(), NETWORK, false).unwrap();
    assert_eq!(report, FsckReport { whole: 8, records: 1, ..FsckReport::default() });
    assert!(report.is_clean());
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_without_what_was_deleted() {
    for damage in [IndexHealth::Missing, IndexHealth::Unreadable] {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = filled(&folder).await;
        let index = folder.path().join("index");
        if damage == IndexHealth::Missing {
            fs::remove_dir_all(&index).unwrap();
        } else {
            fs::write(index.join("CURRENT"), "MANIFEST-999999\n").unwrap();
        }
        let config = StoreConfig::new(folder.path().to_path_buf(), 1 << 30, NETWORK);
        assert!(Store::open(config).is_err());
        let report = fsck(folder.path(), NETWORK, false).unwrap();
        assert_eq!((report.index, report.whole, report.repaired), (damage, 8, 0));
        let report = fsck(folder.path(), NETWORK, true).unwrap();
        assert_eq!((report.unindexed.len(), report.repaired), (8, 8));

        let store = open(&folder);
        for sample in &kept {
            assert!(sample.is_whole_on(&store).await.unwrap());
            let tag = &sample.head.descriptor.body.tag;
            assert_eq!(store.holds(stripe_locator(&NETWORK, tag)).await.unwrap(), Some(PAIR));
        }
        for sample in gone {
            assert_eq!(store.shard(sample.key()).await.unwrap(), None);
        }
        assert_eq!((store.usage().shards, store.usage().records), (8, 0));
        store.close();
        assert!(fsck(folder.path(), NETWORK, false).unwrap().is_clean());
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_by_verify_and_fsck() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, _) = filled(&folder).await;
    flip(&folder, &kept[0], false);
    flip(&folder, &kept[1], true);
    let store = open(&folder);
    for (place, sample) in kept.iter().enumerate() {
        assert_eq!(store.verify(sample.key()).await.unwrap(), place > 1, "shard {place}");
    }
    store.close();
    let report = fsck(folder.path(), NETWORK, true).unwrap();
    assert_eq!(report.damaged, vec![kept[0].key(), kept[1].key()]);
    assert_eq!((report.whole, report.repaired), (6, 0));
}

#[tokio::test]
async fn a_shard_whose_file_is_gone_is_reported_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, _) = filled(&folder).await;
    fs::remove_file(file_of(&folder, &kept[0])).unwrap();
    let store = open(&folder);
    assert!(store.read(kept[0].key(), 0..1).await.is_err());
    store.close();
    let report = fsck(folder.path(), NETWORK, true).unwrap();
    assert_eq!((report.missing, report.repaired), (vec![kept[0].key()], 1));
    let store = open(&folder);
    assert_eq!(store.usage().shards, 7);
    let tag = &kept[0].head.descriptor.body.tag;
    assert_eq!(store.holds(stripe_locator(&NETWORK, tag)).await.unwrap(), None);
}

#[tokio::test]
async fn behind_a_damaged_header_a_segment_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, _) = filled(&folder).await;
    let segment = folder.path().join("segments/00000001.seg");
    let file = OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(b"x", 30).unwrap();
    // The index knows where the bytes lie without it.
    let report = fsck(folder.path(), NETWORK, true).unwrap();
    assert_eq!((report.whole, report.is_clean()), (8, true));
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let report = fsck(folder.path(), NETWORK, true).unwrap();
    assert_eq!((report.whole, report.unreadable.len()), (7, 1));
    let store = open(&folder);
    assert_eq!(store.shard(kept[1].key()).await.unwrap(), None);
    assert!(kept[3].is_whole_on(&store).await.unwrap());
}

#[tokio::test]
async fn what_was_stored_and_counted_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, _) = filled(&folder).await;
    let store = open(&folder);
    let sealed: u64 = kept.iter().map(Sample::length).sum();
    assert_eq!((store.usage().used, store.usage().shards), (sealed + 100, 8));
    let put = Change::Put(StateKey(b"k".to_vec()), vec![5]);
    store.apply(vec![put]).await.unwrap();
    store.close();
    let store = open(&folder);
    assert_eq!(store.get(StateKey(b"k".to_vec())).await.unwrap(), Some(vec![5]));
    for sample in &kept {
        assert!(sample.is_whole_on(&store).await.unwrap());
    }
}
