//! The laws of [`Disk`], each a function that fails when the disk breaks it. A disk
//! proves that it keeps them all with [`disk_laws!`](crate::disk_laws).
#![expect(clippy::unwrap_used, reason = "a law that is broken fails the test that states it")]

pub mod finding;
pub mod room;
mod sample;
pub mod shards;
pub mod small;

use defs_core::message::{FRAME_MAX, ShardKey};
use defs_core::port::{Disk, StateKey, Usage};

pub use sample::{NETWORK, PAIR, Sample, deleted_record, noise, record};

/// The capacity of a disk that is put to the laws.
pub const CAPACITY: u64 = 4 << 20;

/// Sealed lengths on both sides of every border that a disk may know: a byte, a frame,
/// a shard that is a file of its own, several frames.
const LENGTHS: [usize; 6] = [1, 4096, FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 1, 3 * FRAME_MAX + 17];

/// States one test for each law of [`Disk`](defs_core::port::Disk). The argument names a
/// function from a capacity and a network to an empty disk and whatever must live as
/// long as it does. The caller depends on `tokio`.
#[macro_export]
macro_rules! disk_laws {
    ($make:path) => {
        $crate::disk_laws!(@each
            $make, shards what_was_stored_reads_back;
            $make, shards every_range_reads_as_it_was_stored;
            $make, shards other_bytes_than_named_are_refused_and_leave_nothing;
            $make, shards bytes_that_break_off_leave_nothing;
            $make, shards a_shard_stored_twice_is_kept_as_it_was;
            $make, shards a_shard_stored_twice_at_once_is_kept_once;
            $make, shards a_deleted_shard_is_gone_and_can_come_back;
            $make, shards a_state_is_changed_and_that_of_an_absent_shard_passed_over;
            $make, shards a_commit_stays_and_a_lease_gets_no_shorter;
            $make, shards only_what_nobody_keeps_or_renewed_expires;
            $make, shards a_head_is_replaced_and_that_of_an_absent_shard_passed_over;
            $make, room a_full_disk_refuses_with_numbers_while_reads_and_deletes_go_on;
            $make, room stores_under_way_count;
            $make, room small_stores_that_wait_for_bytes_hold_nobody_up;
            $make, room records_take_room_and_their_deletion_needs_none;
            $make, room a_refused_batch_changes_nothing;
            $make, finding shards_are_paged_in_key_order;
            $make, finding files_are_paged_in_order_and_told_once;
            $make, finding records_are_paged_by_file_and_told_once;
            $make, finding a_stripe_tells_its_indices;
            $make, finding a_locator_finds_a_stripes_shards_while_they_are_there;
            $make, finding a_locator_finds_a_files_records_while_they_are_there;
            $make, finding what_is_not_there_is_told;
            $make, small a_records_heads_are_replaced_and_counted;
            $make, small small_values_are_set_scanned_in_order_and_removed;
            $make, small a_batch_is_made_in_its_order;
        );
    };
    (@each $($make:path, $module:ident $law:ident;)*) => {
        $(
            #[tokio::test]
            async fn $law() {
                let (disk, _keep) = $make($crate::disk::CAPACITY, $crate::disk::NETWORK);
                $crate::disk::$module::$law(&disk).await;
            }
        )*
    };
}

pub(crate) async fn read(disk: &impl Disk, key: ShardKey, range: std::ops::Range<u64>) -> Vec<u8> {
    disk.read(key, range).await.unwrap().collect().await.unwrap()
}

pub(crate) fn used(shards: u64, records: u64, used: u64) -> Usage {
    Usage { capacity: CAPACITY, used, shards, records }
}

pub(crate) fn state(key: &[u8]) -> StateKey {
    StateKey(key.to_vec())
}
