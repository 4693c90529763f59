//! Whatever is done to it, the disk on the disk is the disk in memory; also after it was
//! compacted or opened again.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::ids::{Epoch, ShardId, ShardIndex};
use defs_core::message::ShardKey;
use defs_core::port::{Change, Disk, ShardState, StateKey, StoredShard, Usage};
use defs_core::record::SignedRecord;
use defs_port_suite::MemoryDisk;
use defs_port_suite::disk::{NETWORK, Sample, deleted_record, record};
use defs_store::{FILE_MIN, Store, StoreConfig};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest, test_runner};

const CAPACITY: u64 = 1 << 20;

/// One thing done to a disk, about one of a few shards, records and values.
#[derive(Debug, Clone)]
enum Deed {
    Store { which: u8, flip: bool },
    Apply(Vec<Small>),
    Compact,
    Reopen,
}

#[derive(Debug, Clone)]
enum Small {
    State { which: u8, epoch: u64 },
    Delete { which: u8 },
    Record { which: u8, counter: u64, length: usize },
    DeleteRecord { which: u8 },
    Put { which: u8, value: u8 },
    Remove { which: u8 },
}

/// Seven shards of three stripes, of lengths around what makes a file; two don't fit
/// beside the others.
fn shard(which: u8) -> Sample {
    let file = usize::try_from(FILE_MIN).unwrap();
    let lengths = [1, 5000, file - 1, file, file + 70_000, 3 * file, 120_000];
    let which = usize::from(which);
    let index = ShardIndex(u8::try_from(which % 3).unwrap());
    Sample::of_index(which as u64 / 3 * 100 + which as u64, lengths[which], index)
}

impl Small {
    fn change(&self) -> Change {
        let key = |which: u8| StateKey(vec![b'k', which]);
        match *self {
            Self::State { which, epoch } => {
                let sample = shard(which);
                let epoch = Epoch(epoch);
                let state = ShardState { epoch, ..sample.state.clone() };
                Change::ShardState(sample.key(), state)
            }
            Self::Delete { which } => Change::DeleteShard(shard(which).key()),
            Self::Record { which, counter, length } => {
                let head = record(which.into(), 0, counter, length);
                Change::Record(head.body.key, vec![head])
            }
            Self::DeleteRecord { which } => {
                let head = deleted_record(which.into(), 0, 9);
                Change::Record(head.body.key, vec![head])
            }
            Self::Put { which, value } => Change::Put(key(which), vec![value]),
            Self::Remove { which } => Change::Remove(key(which)),
        }
    }
}

fn small() -> impl Strategy<Value = Small> {
    prop_oneof![
        (0_u8..7, 1_u64..5).prop_map(|(which, epoch)| Small::State { which, epoch }),
        (0_u8..7).prop_map(|which| Small::Delete { which }),
        (0_u8..3, 1_u64..9, 0_usize..200_000)
            .prop_map(|(which, counter, length)| { Small::Record { which, counter, length } }),
        (0_u8..3).prop_map(|which| Small::DeleteRecord { which }),
        (0_u8..3, any::<u8>()).prop_map(|(which, value)| Small::Put { which, value }),
        (0_u8..3).prop_map(|which| Small::Remove { which }),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0_u8..7, 0_u8..8).prop_map(|(which, flip)| Deed::Store { which, flip: flip == 0 }),
        4 => collection::vec(small(), 1..4).prop_map(Deed::Apply),
        1 => proptest::strategy::Just(Deed::Compact),
        1 => proptest::strategy::Just(Deed::Reopen),
    ]
}

fn open(folder: &std::path::Path) -> Store {
    let mut config = StoreConfig::new(folder.to_path_buf(), CAPACITY, NETWORK);
    config.segment_max = 400_000;
    Store::open(config).unwrap()
}

async fn store(disk: &impl Disk, which: u8, flip: bool) -> Result<(), String> {
    let sample = shard(which);
    let mut bytes = sample.sealed.to_vec();
    bytes[0] ^= u8::from(flip);
    sample.store_bytes(disk, bytes.into()).await.map_err(|error| error.to_string())
}

async fn apply(disk: &impl Disk, changes: &[Small]) -> Result<(), String> {
    let changes = changes.iter().map(Small::change).collect();
    disk.apply(changes).await.map_err(|error| error.to_string())
}

#[derive(Debug, PartialEq)]
struct Seen {
    shards: Vec<(ShardKey, StoredShard, ShardId)>,
    records: Vec<Vec<Arc<SignedRecord>>>,
    values: Vec<(StateKey, Bytes)>,
    usage: Usage,
}

/// All that can be seen of a disk.
async fn seen(disk: &impl Disk) -> Seen {
    let mut shards = Vec::new();
    for (key, stored) in disk.shards_after(None, 100).await.unwrap() {
        let bytes = disk.read(key, 0..stored.length).await.unwrap().collect().await.unwrap();
        shards.push((key, stored, defs_core::digest::shard_id(&bytes)));
    }
    let keys = (0_u64..3).map(|which| deleted_record(which, 0, 9).body.key).collect();
    let records = disk.records(keys).await.unwrap();
    let values = disk.scan(StateKey(vec![]), 100).await.unwrap();
    let usage = disk.usage();
    Seen { shards, records, values, usage }
}

proptest! {
    #![proptest_config(test_runner::Config { cases: 8, ..test_runner::Config::default() })]
    #[test]
    fn the_store_is_the_disk_in_memory(deeds in collection::vec(deed(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryDisk::new(CAPACITY, NETWORK);
        let mut real = open(folder.path());
        for deed in &deeds {
            match deed {
                Deed::Store { which, flip } => {
                    let expected = runtime.block_on(store(&memory, *which, *flip));
                    prop_assert_eq!(runtime.block_on(store(&real, *which, *flip)), expected);
                }
                Deed::Apply(changes) => {
                    let expected = runtime.block_on(apply(&memory, changes));
                    prop_assert_eq!(runtime.block_on(apply(&real, changes)), expected);
                }
                Deed::Compact => {
                    runtime.block_on(real.compact_step()).unwrap();
                }
                Deed::Reopen => {
                    real.close();
                    real = open(folder.path());
                }
            }
            prop_assert_eq!(runtime.block_on(seen(&real)), runtime.block_on(seen(&memory)));
        }
    }
}
