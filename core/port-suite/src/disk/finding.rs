//! Finding what is held.

use std::collections::BTreeSet;
use std::sync::Arc;

use defs_core::digest::{file_locator, stripe_locator};
use defs_core::ids::{FileId, Locator, ShardIndex};
use defs_core::message::ShardKey;
use defs_core::port::{Change, Disk};
use defs_core::record::RecordKey;

use super::{NETWORK, PAIR, Sample, record, used};

/// Every shard once, whatever the page size, from any place.
pub async fn shards_are_paged_in_key_order(disk: &impl Disk) {
    let mut keys = Vec::new();
    for seed in 0..5 {
        for index in [2, 0] {
            let sample = Sample::of_index(seed, 50, ShardIndex(index));
            sample.store(disk).await.unwrap();
            keys.push(sample.key());
        }
    }
    keys.sort_unstable();
    for limit in [1, 3, 10, 11] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = disk.shards_after(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (key, stored) in &page {
                assert_eq!(disk.shard(*key).await.unwrap().as_ref(), Some(stored));
                paged.push(*key);
            }
        }
        assert_eq!(paged, keys, "pages of {limit}");
    }
    let absent = ShardKey { index: ShardIndex(1), ..keys[0] };
    let page = disk.shards_after(Some(absent), 1).await.unwrap();
    assert_eq!(page[0].0, keys[1]);
}

/// Each file once, however many pages it has and whatever the page size.
pub async fn files_are_paged_in_order_and_told_once(disk: &impl Disk) {
    assert_eq!(disk.files_after(None, 5).await.unwrap(), vec![]);
    let mut files = Vec::new();
    for seed in 0..4 {
        for page in [0, 1, 256] {
            let record = record(seed, page, 1, 10);
            files.push(record.body.key.file);
            disk.apply(vec![Change::Record(record.body.key, vec![record])]).await.unwrap();
        }
    }
    files.sort_unstable();
    files.dedup();
    assert_eq!(files.len(), 4);
    for limit in [1, 3, 4, 5] {
        let mut paged: Vec<FileId> = Vec::new();
        loop {
            let page = disk.files_after(paged.last().copied(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, files, "pages of {limit}");
    }
}

/// Each page once, those of a file together and the files in order, whatever the page size.
pub async fn records_are_paged_by_file_and_told_once(disk: &impl Disk) {
    assert_eq!(disk.records_after(None, 5).await.unwrap(), vec![]);
    let mut keys = BTreeSet::new();
    for seed in 0..4 {
        for page in [0, 1, 256] {
            let record = record(seed, page, 1, 10);
            keys.insert(record.body.key);
            disk.apply(vec![Change::Record(record.body.key, vec![record])]).await.unwrap();
        }
    }
    for limit in [1, 5, 100] {
        let mut paged: Vec<RecordKey> = Vec::new();
        loop {
            let page = disk.records_after(paged.last().copied(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert!(paged.is_sorted_by_key(|key| key.file), "pages of {limit}");
        assert_eq!(paged.len(), keys.len(), "pages of {limit}");
        assert_eq!(paged.into_iter().collect::<BTreeSet<_>>(), keys, "pages of {limit}");
    }
}

/// In order.
pub async fn a_stripe_tells_its_indices(disk: &impl Disk) {
    let of = |index| Sample::of_index(1, 300, ShardIndex(index));
    assert_eq!(disk.indices(of(0).key().stripe).await.unwrap(), vec![]);
    for index in [2, 0] {
        of(index).store(disk).await.unwrap();
    }
    Sample::of_index(2, 300, ShardIndex(1)).store(disk).await.unwrap();
    let indices = disk.indices(of(0).key().stripe).await.unwrap();
    assert_eq!(indices, vec![ShardIndex(0), ShardIndex(2)]);
}

/// Until the last of them is gone.
pub async fn a_locator_finds_a_stripes_shards_while_they_are_there(disk: &impl Disk) {
    let sample = Sample::new(1, 300);
    let sibling = Sample::of_index(1, 300, ShardIndex(1));
    let tag = sample.head.descriptor.body.tag;
    let of_stripe = stripe_locator(&NETWORK, &tag);
    assert_eq!(disk.holds(of_stripe).await.unwrap(), None);
    sample.store(disk).await.unwrap();
    sibling.store(disk).await.unwrap();
    assert_eq!(disk.holds(of_stripe).await.unwrap(), Some(PAIR));
    disk.apply(vec![Change::DeleteShard(sample.key())]).await.unwrap();
    assert_eq!(disk.holds(of_stripe).await.unwrap(), Some(PAIR));
    disk.apply(vec![Change::DeleteShard(sibling.key())]).await.unwrap();
    assert_eq!(disk.holds(of_stripe).await.unwrap(), None);
}

/// And none of what nobody stored.
pub async fn a_locator_finds_a_files_records_while_they_are_there(disk: &impl Disk) {
    let page = record(5, 3, 1, 40);
    let of_file = file_locator(&NETWORK, &page.body.key.file);
    disk.apply(vec![Change::Record(page.body.key, vec![Arc::clone(&page)])]).await.unwrap();
    assert_eq!(disk.holds(of_file).await.unwrap(), Some(PAIR));
    assert_eq!(disk.holds(Locator([0; 32])).await.unwrap(), None);
    disk.apply(vec![Change::Record(page.body.key, vec![])]).await.unwrap();
    assert_eq!(disk.holds(of_file).await.unwrap(), None);
}

/// Without an error where absence is an answer, with one where it isn't.
pub async fn what_is_not_there_is_told(disk: &impl Disk) {
    let absent = Sample::new(1, 10);
    assert_eq!(disk.shard(absent.key()).await.unwrap(), None);
    assert!(disk.read(absent.key(), 0..1).await.is_err());
    disk.apply(vec![Change::DeleteShard(absent.key())]).await.unwrap();
    disk.apply(vec![]).await.unwrap();
    assert_eq!(disk.shards_after(None, 5).await.unwrap(), vec![]);
    assert_eq!(disk.usage(), used(0, 0, 0));
}
