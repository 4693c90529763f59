//! The laws of threshold shares.

use defs_codec::{CombineError, Share, StripeSecret, combine, rebuild_share, share_digest};
use defs_core::geometry::Geometry;
use defs_core::ids::ShardIndex;
use proptest::prelude::*;

use crate::{geometry, shuffled};

fn secret(bytes: [u8; 32]) -> StripeSecret {
    StripeSecret::from_bytes(bytes)
}

fn plain(share: &Share) -> (ShardIndex, [u8; 32]) {
    (share.index, *share.bytes)
}

fn all(secret: &StripeSecret, geometry: Geometry) -> Vec<(ShardIndex, [u8; 32])> {
    secret.shares(geometry).iter().map(plain).collect()
}

fn picked(shares: &[Share], indices: &[ShardIndex]) -> Vec<Share> {
    indices.iter().map(|index| Share::new(*index, *shares[usize::from(index.0)].bytes)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_shares_give_the_secret_and_fewer_say_how_many_are_needed(
        bytes: [u8; 32], (geometry, order) in shuffled(20, 12),
    ) {
        let secret = secret(bytes);
        let (tag, shares) = (secret.tag(), secret.shares(geometry));
        let chosen = picked(&shares, &order[..geometry.data()]);
        let combined = combine(&tag, geometry, &chosen).unwrap();
        prop_assert_eq!(all(&combined, geometry), all(&secret, geometry));
        let refused = CombineError::TooFew { have: geometry.data() - 1, need: geometry.data() };
        prop_assert_eq!(combine(&tag, geometry, &chosen[1..]).unwrap_err(), refused);
    }

    #[test]
    fn a_lost_share_comes_back_equal_from_any_k_others(
        bytes: [u8; 32], (geometry, order) in shuffled(12, 8),
    ) {
        let secret = secret(bytes);
        let shares = secret.shares(geometry);
        let chosen = picked(&shares, &order[..geometry.data()]);
        for share in &shares {
            let rebuilt = rebuild_share(&secret.tag(), geometry, &chosen, share.index).unwrap();
            prop_assert_eq!(plain(&rebuilt), plain(share));
        }
    }

    #[test]
    fn one_share_too_few_with_a_guess_in_its_place_is_refused(bytes: [u8; 32], guess: [u8; 32]) {
        let (geometry, secret) = (geometry(3, 2), secret(bytes));
        let shares = secret.shares(geometry);
        prop_assume!(guess != *shares[2].bytes);
        let mut chosen = picked(&shares, &[ShardIndex(0), ShardIndex(4)]);
        chosen.push(Share::new(ShardIndex(2), guess));
        let refused = combine(&secret.tag(), geometry, &chosen).unwrap_err();
        prop_assert_eq!(refused, CombineError::WrongTag(secret.tag()));
    }
}

#[test]
fn secrets_that_begin_with_any_byte_and_those_of_one_byte_come_back_whole() {
    let geometry = geometry(3, 2);
    for first in 0..=255 {
        let mut leading = [9; 32];
        leading[0] = first;
        for bytes in [leading, [first; 32]] {
            let secret = secret(bytes);
            let shares = secret.shares(geometry);
            let combined = combine(&secret.tag(), geometry, &shares[1..4]).unwrap();
            assert_eq!(*combined.shares(self::geometry(1, 0))[0].bytes, bytes);
        }
    }
}

#[test]
fn two_hundred_shares_combine_from_the_last_hundred() {
    let geometry = geometry(100, 100);
    let secret = secret([3; 32]);
    let shares = secret.shares(geometry);
    let combined = combine(&secret.tag(), geometry, &shares[100..]).unwrap();
    assert_eq!(combined.tag(), secret.tag());
}

#[test]
fn shares_made_again_are_equal_and_differ_by_secret_index_and_threshold() {
    let ten_of_fourteen = geometry(10, 4);
    let shares = all(&secret([1; 32]), ten_of_fourteen);
    assert_eq!(shares, all(&secret([1; 32]), ten_of_fourteen));
    assert_ne!(shares, all(&secret([2; 32]), ten_of_fourteen));
    let nine = all(&secret([1; 32]), geometry(9, 5));
    for (place, (_, share)) in shares.iter().enumerate() {
        assert_ne!(*share, [1; 32]);
        assert!(shares[..place].iter().all(|(_, before)| before != share));
        assert!(nine.iter().all(|(_, other)| other != share));
    }
}

#[test]
fn with_one_data_shard_each_share_is_the_secret() {
    let geometry = geometry(1, 2);
    let secret = secret([5; 32]);
    let shares = secret.shares(geometry);
    assert!(shares.iter().all(|share| *share.bytes == [5; 32]));
    assert_eq!(combine(&secret.tag(), geometry, &shares[2..]).unwrap().tag(), secret.tag());
}

#[test]
fn shares_that_do_not_belong_are_refused_by_name() {
    let geometry = geometry(2, 1);
    let one = secret([1; 32]);
    let other = secret([2; 32]);
    let refused = |shares: &[Share]| combine(&one.tag(), geometry, shares).unwrap_err();
    let mut shares = one.shares(geometry);
    shares[1].index = ShardIndex(0);
    assert_eq!(refused(&shares), CombineError::Duplicate(ShardIndex(0)));
    shares[1].index = ShardIndex(3);
    assert_eq!(refused(&shares), CombineError::IndexOutside(ShardIndex(3)));
    shares[1].index = ShardIndex(255);
    assert_eq!(refused(&shares), CombineError::IndexOutside(ShardIndex(255)));
    assert_eq!(refused(&other.shares(geometry)), CombineError::WrongTag(one.tag()));
    let shares = one.shares(geometry);
    let outside = rebuild_share(&one.tag(), geometry, &shares, ShardIndex(3)).unwrap_err();
    assert_eq!(outside, CombineError::IndexOutside(ShardIndex(3)));
}

#[test]
fn a_share_under_another_index_is_refused() {
    let geometry = geometry(2, 2);
    let secret = secret([1; 32]);
    let mut shares = secret.shares(geometry);
    shares[0].index = ShardIndex(3);
    let refused = combine(&secret.tag(), geometry, &shares[..2]).unwrap_err();
    assert_eq!(refused, CombineError::WrongTag(secret.tag()));
}

#[test]
fn a_share_digest_depends_on_tag_index_and_share() {
    let (one, other) = (secret([1; 32]).tag(), secret([2; 32]).tag());
    let share = |index, byte| Share::new(ShardIndex(index), [byte; 32]);
    let digest = share_digest(&one, &share(0, 1));
    assert_ne!(digest, share_digest(&other, &share(0, 1)));
    assert_ne!(digest, share_digest(&one, &share(1, 1)));
    assert_ne!(digest, share_digest(&one, &share(0, 2)));
}

#[test]
fn secrets_and_shares_print_nothing_of_themselves() {
    let secret = secret([0x55; 32]);
    assert_eq!(format!("{secret:?}"), "StripeSecret(..)");
    assert_eq!(format!("{:?}", secret.shares(geometry(1, 0))), "[Share(0, ..)]");
}
