//! The laws of erasure coding.

use defs_codec::erasure::padded_length;
use defs_codec::{RestoreError, Shards, encode, rebuild, restore};
use defs_core::ids::ShardIndex;
use proptest::prelude::*;

use crate::{bytes, geometry, lengths, shuffled};

fn pick<'a>(shards: &'a Shards, indices: &[ShardIndex]) -> Vec<(ShardIndex, &'a [u8])> {
    let all: Vec<_> = shards.iter().collect();
    indices.iter().map(|index| all[usize::from(index.0)]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_k_of_n_shards_restore_the_data_and_fewer_say_how_many_are_needed(
        length in lengths(), (geometry, order) in shuffled(24, 12),
    ) {
        let coded = bytes(length);
        let shards = encode(geometry, coded.clone());
        let chosen = pick(&shards, &order[..geometry.data()]);
        prop_assert_eq!(restore(geometry, length as u64, &chosen), Ok(coded));
        let refused = RestoreError::TooFew { have: geometry.data() - 1, need: geometry.data() };
        prop_assert_eq!(restore(geometry, length as u64, &chosen[1..]), Err(refused));
    }

    #[test]
    fn every_shard_is_rebuilt_bit_for_bit_from_any_k_others(
        length in 0..20_000_usize, (geometry, order) in shuffled(12, 8),
    ) {
        prop_assume!(geometry.parity() > 0);
        let shards = encode(geometry, bytes(length));
        let chosen = pick(&shards, &order[..geometry.data()]);
        let length = shards.shard_length() as u64;
        for (wanted, expected) in shards.iter() {
            let rebuilt = rebuild(geometry, length, &chosen, &[wanted]);
            prop_assert_eq!(rebuilt, Ok(vec![expected.to_vec()]));
        }
        // Some together, among them what is there already.
        let some = &order[order.len() / 2..];
        let all: Vec<_> = shards.iter().map(|(_, shard)| shard.to_vec()).collect();
        let expected = some.iter().map(|index| all[usize::from(index.0)].clone()).collect();
        prop_assert_eq!(rebuild(geometry, length, &chosen, some), Ok(expected));
    }
}

#[test]
fn the_largest_geometry_restores_from_parity_alone() {
    let geometry = geometry(100, 100);
    let coded = bytes(30_001);
    let shards = encode(geometry, coded.clone());
    let parity: Vec<_> = shards.iter().skip(100).collect();
    assert_eq!(restore(geometry, 30_001, &parity), Ok(coded));
}

#[test]
fn shards_longer_than_a_column_are_coded_as_by_the_library_in_one_piece() {
    let geometry = geometry(3, 2);
    let coded = bytes(3 * ((1 << 20) + 70));
    let shards = encode(geometry, coded.clone());
    let data: Vec<_> = shards.iter().take(3).map(|(_, shard)| shard).collect();
    let parity = reed_solomon_simd::encode(3, 2, &data).unwrap();
    assert!(shards.iter().skip(3).map(|(_, shard)| shard).eq(parity.iter().map(Vec::as_slice)));
    let chosen = pick(&shards, &[ShardIndex(4), ShardIndex(1), ShardIndex(3)]);
    assert_eq!(restore(geometry, coded.len() as u64, &chosen), Ok(coded));
}

#[test]
fn a_range_of_a_shard_is_rebuilt_from_the_same_range_of_others() {
    let geometry = geometry(4, 2);
    let shards = encode(geometry, bytes(40_010));
    let end = shards.shard_length();
    for range in [64..128, 0..640, 6400..end] {
        let part: Vec<_> =
            shards.iter().skip(2).map(|(index, shard)| (index, &shard[range.clone()])).collect();
        for (wanted, expected) in shards.iter().take(2) {
            let rebuilt = rebuild(geometry, range.len() as u64, &part, &[wanted]).unwrap();
            assert_eq!(rebuilt, [&expected[range.clone()]]);
        }
    }
}

#[test]
fn one_data_shard_means_replicas_and_no_parity_means_the_data() {
    let replicas = encode(geometry(1, 3), b"abc".to_vec());
    assert!(replicas.iter().map(|(_, shard)| shard).eq([b"abc\0"; 4]));
    let pieces = encode(geometry(2, 0), b"abcde".to_vec());
    assert!(pieces.iter().map(|(_, shard)| shard).eq([b"abcd", b"e\0\0\0"]));
}

#[test]
fn a_buffer_with_the_padded_capacity_is_not_copied() {
    let geometry = geometry(10, 4);
    let mut coded = Vec::with_capacity(padded_length(geometry, 12_345) as usize);
    coded.extend_from_slice(&bytes(12_345));
    let place = coded.as_ptr();
    let shards = encode(geometry, coded);
    assert_eq!(shards.iter().next().unwrap().1.as_ptr(), place);
}

#[test]
fn shards_that_do_not_belong_are_refused_by_name() {
    let geometry = geometry(2, 1);
    let good = [0; 2].as_slice();
    let [zero, one, three] = [0, 1, 3].map(ShardIndex);
    let refused = |shards: &[_]| restore(geometry, 4, shards).unwrap_err();
    assert_eq!(refused(&[(one, good), (one, good)]), RestoreError::Duplicate(one));
    assert_eq!(refused(&[(zero, good), (three, good)]), RestoreError::IndexOutside(three));
    let length = RestoreError::Length { index: one, have: 4, need: 2 };
    assert_eq!(refused(&[(zero, good), (one, &[0; 4])]), length);
    let shards = [(zero, good), (one, good)];
    assert_eq!(rebuild(geometry, 2, &shards, &[three]), Err(RestoreError::IndexOutside(three)));
    for odd in [0, 3] {
        let shards = [(zero, &[0; 3][..odd]), (one, &[0; 3][..odd])];
        let refused = rebuild(geometry, odd as u64, &shards, &[ShardIndex(2)]);
        assert_eq!(refused, Err(RestoreError::NoSuchLength(odd as u64)));
    }
}
