//! What takes room, and what a full disk still does.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::port::{Change, Disk, DiskError};
use futures::future::{join, join_all};

use super::{CAPACITY, Sample, deleted_record, record, state, used};

/// The refusal says what was needed and what is free.
pub async fn a_full_disk_refuses_with_numbers_while_reads_and_deletes_go_on(disk: &impl Disk) {
    let large = Sample::new(1, 3 << 20);
    let small = Sample::new(2, 1000);
    large.store(disk).await.unwrap();
    small.store(disk).await.unwrap();
    let free = CAPACITY - (3 << 20) - 1000;
    let over = Sample::new(3, usize::try_from(free).unwrap() + 1);
    let refused = over.store(disk).await;
    assert!(
        matches!(refused, Err(DiskError::Full { needed, free: left }) if needed == free + 1 && left == free),
        "{refused:?}"
    );
    assert!(large.is_whole_on(disk).await.unwrap());
    // A duplicate needs no room.
    large.store(disk).await.unwrap();
    disk.apply(vec![Change::DeleteShard(large.key())]).await.unwrap();
    assert_eq!(disk.usage(), used(1, 0, 1000));
    over.store(disk).await.unwrap();
    assert!(over.is_whole_on(disk).await.unwrap());
}

/// Room is reserved before the first byte, and given back when a store comes to nothing.
pub async fn stores_under_way_count(disk: &impl Disk) {
    let (one, two) = (Sample::new(1, 3 << 20), Sample::new(2, 2 << 20));
    let (writer, body) = Body::channel(one.length());
    let store = disk.store(Arc::clone(&one.head), one.state.clone(), body);
    let other = async {
        // Three frames sent: the first has been taken, so the room has been reserved.
        for frame in 0..3 {
            writer.send(one.sealed.slice(frame * 4096..(frame + 1) * 4096)).await.unwrap();
        }
        let used = disk.usage().used;
        let refused = two.store(disk).await;
        drop(writer);
        (used, refused)
    };
    let (stored, (used_meanwhile, refused)) = join(store, other).await;
    assert_eq!(used_meanwhile, 3 << 20);
    assert!(matches!(refused, Err(DiskError::Full { needed, free })
        if needed == 2 << 20 && free == 1 << 20));
    assert!(stored.is_err());
    assert_eq!(disk.usage().used, 0);
    two.store(disk).await.unwrap();
}

/// However many they are.
pub async fn small_stores_that_wait_for_bytes_hold_nobody_up(disk: &impl Disk) {
    let waiting: Vec<_> = (0..1000).map(|seed| Sample::alone(seed, 100)).collect();
    let (writers, bodies): (Vec<_>, Vec<_>) =
        waiting.iter().map(|sample| Body::channel(sample.length())).unzip();
    let stores = waiting
        .iter()
        .zip(bodies)
        .map(|(sample, body)| disk.store(Arc::clone(&sample.head), sample.state.clone(), body));
    let other = Sample::new(5000, 3 << 20);
    let others = async {
        let stored = other.store(disk).await;
        for (writer, sample) in writers.iter().zip(&waiting) {
            writer.send(sample.sealed.clone()).await.unwrap();
        }
        stored
    };
    let (waited, stored) = join(join_all(stores), others).await;
    stored.unwrap();
    waited.into_iter().for_each(Result::unwrap);
    assert_eq!(disk.usage(), used(1001, 0, (3 << 20) + 100_000));
}

/// A full disk takes no new content and every deletion.
pub async fn records_take_room_and_their_deletion_needs_none(disk: &impl Disk) {
    let shard = Sample::new(1, usize::try_from(CAPACITY).unwrap() - 100);
    shard.store(disk).await.unwrap();
    let (fits, over) = (record(1, 0, 1, 100), record(2, 0, 1, 1));
    let set = |head: &Arc<defs_core::record::SignedRecord>| {
        vec![Change::Record(head.body.key, vec![Arc::clone(head)])]
    };
    disk.apply(set(&fits)).await.unwrap();
    let refused = disk.apply(set(&over)).await;
    assert!(matches!(refused, Err(DiskError::Full { needed: 1, free: 0 })), "{refused:?}");
    disk.apply(set(&record(1, 0, 2, 100))).await.unwrap();
    disk.apply(set(&deleted_record(3, 0, 1))).await.unwrap();
    disk.apply(set(&deleted_record(1, 0, 3))).await.unwrap();
    assert_eq!(disk.usage(), used(1, 2, CAPACITY - 100));
    disk.apply(set(&over)).await.unwrap();
}

/// Not even its harmless parts.
pub async fn a_refused_batch_changes_nothing(disk: &impl Disk) {
    let sample = Sample::new(1, usize::try_from(CAPACITY).unwrap() - 10);
    sample.store(disk).await.unwrap();
    let over = record(1, 0, 1, 11);
    let changes = vec![
        Change::Put(state(b"k"), vec![1]),
        Change::Record(over.body.key, vec![Arc::clone(&over)]),
    ];
    let refused = disk.apply(changes).await;
    assert!(matches!(refused, Err(DiskError::Full { needed: 11, free: 10 })), "{refused:?}");
    assert_eq!(disk.get(state(b"k")).await.unwrap(), None);
    assert_eq!(disk.records(vec![over.body.key]).await.unwrap(), vec![vec![]]);
    assert_eq!(disk.usage(), used(1, 0, CAPACITY - 10));
}
