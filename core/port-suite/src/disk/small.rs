//! Records, small values and batches of changes.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::port::{Change, Disk};

use super::{Sample, record, state, used};

/// No heads: no record.
pub async fn a_records_heads_are_replaced_and_counted(disk: &impl Disk) {
    let (one, two, other) = (record(1, 0, 1, 60), record(1, 0, 2, 70), record(1, 1, 1, 0));
    let (key, other_key) = (one.body.key, other.body.key);
    let set = |key, heads: &[&Arc<_>]| {
        Change::Record(key, heads.iter().map(|head| Arc::clone(head)).collect())
    };
    disk.apply(vec![set(key, &[&one]), set(other_key, &[&other])]).await.unwrap();
    assert_eq!(disk.usage(), used(0, 2, 60));
    disk.apply(vec![set(key, &[&one, &two])]).await.unwrap();
    assert_eq!(disk.usage(), used(0, 2, 130));
    let absent = record(9, 0, 1, 1).body.key;
    let read = disk.records(vec![other_key, absent, key]).await.unwrap();
    assert_eq!(read, vec![vec![other], vec![], vec![one, two]]);
    disk.apply(vec![set(key, &[]), set(absent, &[])]).await.unwrap();
    assert_eq!(disk.records(vec![key]).await.unwrap(), vec![vec![]]);
    assert_eq!(disk.usage(), used(0, 1, 0));
}

/// By prefix, with a limit.
pub async fn small_values_are_set_scanned_in_order_and_removed(disk: &impl Disk) {
    let put = |key: &[u8], value: &[u8]| Change::Put(state(key), value.to_vec());
    let changes = vec![put(b"b/2", b"two"), put(b"a", b"a"), put(b"b/1", b""), put(b"b0", b"x")];
    disk.apply(changes).await.unwrap();
    disk.apply(vec![put(b"b/\xff", b"last"), put(b"b/2", b"TWO")]).await.unwrap();
    assert_eq!(disk.get(state(b"b/2")).await.unwrap(), Some(b"TWO".to_vec()));
    assert_eq!(disk.get(state(b"b/1")).await.unwrap(), Some(vec![]));
    assert_eq!(disk.get(state(b"b/")).await.unwrap(), None);
    let all = [(b"b/1".as_slice(), b"".as_slice()), (b"b/2", b"TWO"), (b"b/\xff", b"last")];
    let all = all.map(|(key, value)| (state(key), Bytes::copy_from_slice(value)));
    assert_eq!(disk.scan(state(b"b/"), 9).await.unwrap(), all);
    assert_eq!(disk.scan(state(b"b/"), 2).await.unwrap(), all[..2]);
    assert_eq!(disk.scan(state(b""), 9).await.unwrap().len(), 5);
    disk.apply(vec![Change::Remove(state(b"b/1")), Change::Remove(state(b"c"))]).await.unwrap();
    assert_eq!(disk.scan(state(b"b/"), 9).await.unwrap(), all[1..]);
}

/// Later changes see the earlier ones of the same batch.
pub async fn a_batch_is_made_in_its_order(disk: &impl Disk) {
    let sample = Sample::new(1, 500);
    sample.store(disk).await.unwrap();
    let (one, two) = (record(1, 0, 1, 60), record(1, 0, 2, 70));
    let key = one.body.key;
    let changes = vec![
        Change::DeleteShard(sample.key()),
        Change::ShardState(sample.key(), sample.state.clone()),
        Change::DeleteShard(sample.key()),
        Change::Record(key, vec![one]),
        Change::Record(key, vec![]),
        Change::Record(key, vec![Arc::clone(&two)]),
        Change::Put(state(b"k"), vec![1]),
        Change::Remove(state(b"k")),
        Change::Put(state(b"l"), vec![1]),
        Change::Put(state(b"l"), vec![2]),
    ];
    disk.apply(changes).await.unwrap();
    assert_eq!(disk.shard(sample.key()).await.unwrap(), None);
    assert_eq!(disk.records(vec![key]).await.unwrap(), vec![vec![two]]);
    assert_eq!(disk.get(state(b"k")).await.unwrap(), None);
    assert_eq!(disk.get(state(b"l")).await.unwrap(), Some(vec![2]));
    assert_eq!(disk.usage(), used(0, 1, 70));
}
