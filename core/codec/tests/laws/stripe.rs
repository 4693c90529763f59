//! The laws of a whole stripe: sealing, describing, opening.

use defs_codec::seal::HEAD;
use defs_codec::stripe::CodedStripe;
use defs_codec::{
    IncompleteStripe, OpenError, RebuildError, SealedPart, SealedStripe, Share, StripeSecret,
    Terms, UnsealedShard, open_shard, open_shard_into, open_shard_range, rebuild_shards, restore,
    seal_stripe,
};
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, ShardIndex};
use defs_core::statement::Lock;
use defs_core::stripe::StripeDescriptor;
use proptest::prelude::*;

use crate::{bytes, geometry, lengths, shuffled};

fn secret() -> StripeSecret {
    StripeSecret::from_bytes([4; 32])
}

fn terms() -> Terms {
    Terms { generation: 2, per_pair: 3, lock: Lock::new(vec![1, 2, 3]).unwrap() }
}

fn sealed(geometry: Geometry, length: usize) -> SealedStripe {
    seal_stripe(secret(), geometry, bytes(length), terms())
}

fn parts<'a>(stripe: &'a SealedStripe, indices: &[ShardIndex]) -> Vec<(Share, &'a [u8])> {
    let part = |index: &ShardIndex| {
        let shard = &stripe.shards[usize::from(index.0)];
        (Share::new(*index, *shard.share.bytes), &shard.bytes[..])
    };
    indices.iter().map(part).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_k_sealed_shards_open_and_restore_the_slice(
        length in lengths(), (geometry, order) in shuffled(14, 8),
    ) {
        let stripe = sealed(geometry, length);
        let opened: Vec<_> = order[..geometry.data()]
            .iter()
            .map(|index| {
                let sealed = &stripe.shards[usize::from(index.0)].bytes;
                (*index, open_shard(&secret(), *index, sealed).unwrap())
            })
            .collect();
        let shards: Vec<_> = opened.iter().map(|(index, shard)| (*index, &shard[..])).collect();
        prop_assert_eq!(restore(geometry, length as u64, &shards), Ok(bytes(length)));
    }

    #[test]
    fn k_holders_rebuild_every_shard_and_share_bit_for_bit_and_one_fewer_say_so(
        length in 0..100_000_usize, (geometry, order) in shuffled(8, 5),
    ) {
        let stripe = sealed(geometry, length);
        let parts = parts(&stripe, &order[..geometry.data()]);
        // One by one, and all together in whatever order.
        let one_by_one: Vec<_> = order.iter().map(|index| vec![*index]).collect();
        for wanted in one_by_one.into_iter().chain([order.clone()]) {
            let rebuilt = rebuild_shards(&stripe.descriptor, &parts, &wanted).unwrap();
            prop_assert_eq!(rebuilt.len(), wanted.len());
            for (index, (bytes, share)) in wanted.into_iter().zip(rebuilt) {
                let shard = &stripe.shards[usize::from(index.0)];
                prop_assert_eq!(bytes, &shard.bytes[..]);
                prop_assert_eq!((share.index, &share.bytes), (index, &shard.share.bytes));
            }
        }
        let refused =
            rebuild_shards(&stripe.descriptor, &parts[1..], &[ShardIndex(0)]).unwrap_err();
        let too_few = RebuildError::TooFew { have: geometry.data() - 1, need: geometry.data() };
        prop_assert_eq!(refused, too_few);
    }
}

#[test]
fn a_descriptor_says_what_was_sealed() {
    let geometry = geometry(3, 2);
    let SealedStripe { descriptor, shards } = sealed(geometry, 1001);
    assert_eq!(descriptor.tag, secret().tag());
    assert_eq!((descriptor.coded_length, descriptor.geometry), (1001, geometry));
    assert_eq!((descriptor.generation, descriptor.per_pair), (2, 3));
    assert_eq!(descriptor.lock, terms().lock);
    for shard in shards {
        assert_eq!(shard.bytes.len() as u64, descriptor.sealed_shard_length());
        let id = defs_core::digest::shard_id(&shard.bytes);
        assert_eq!(descriptor.shards[usize::from(shard.index.0)], id);
    }
}

#[test]
fn shards_sealed_out_of_order_make_the_same_stripe_and_a_missing_or_doubled_one_makes_none() {
    let geometry = geometry(3, 2);
    let coded = || CodedStripe::new(secret(), geometry, bytes(1001));
    let stripe = coded();
    let mut shards: Vec<_> = stripe.shards().map(UnsealedShard::seal).collect();
    shards.reverse();
    let finished = stripe.finish(shards.clone(), terms()).unwrap();
    assert_eq!(finished.descriptor, sealed(geometry, 1001).descriptor);
    shards.pop();
    let refused = coded().finish(shards.clone(), terms()).unwrap_err();
    assert_eq!(refused, IncompleteStripe { have: 4, need: 5 });
    shards.push(shards[0].clone());
    let refused = coded().finish(shards, terms()).unwrap_err();
    assert_eq!(refused, IncompleteStripe { have: 5, need: 5 });
}

#[test]
fn data_shards_opened_one_behind_the_other_are_the_slice() {
    let geometry = geometry(3, 2);
    let stripe = sealed(geometry, 100_001);
    let length = geometry.shard_length(100_001) as usize;
    let mut out = vec![0; 3 * length];
    for (shard, target) in stripe.shards.iter().zip(out.chunks_mut(length)) {
        open_shard_into(&secret(), shard.index, &[&shard.bytes], target).unwrap();
    }
    assert_eq!(out[..100_001], bytes(100_001));
}

#[test]
fn a_range_of_a_shard_opens_to_the_same_bytes_as_the_whole() {
    let stripe = sealed(geometry(2, 1), 300_000);
    let sealed = &stripe.shards[2].bytes;
    let whole = open_shard(&secret(), ShardIndex(2), sealed).unwrap();
    let (_, at) = defs_core::framing::sealed_range(150_000, &(70_000..140_000));
    let part = SealedPart {
        plain_length: 150_000,
        head: sealed.first_chunk::<HEAD>().unwrap(),
        chunks: &sealed[at.start as usize..at.end as usize],
    };
    let opened = open_shard_range(&secret(), ShardIndex(2), 70_000..140_000, part);
    assert_eq!(opened.as_deref(), Ok(&whole[70_000..140_000]));
}

#[test]
fn a_shard_does_not_open_as_its_sibling() {
    let stripe = sealed(geometry(1, 1), 100);
    let refused = open_shard(&secret(), ShardIndex(1), &stripe.shards[0].bytes);
    assert_eq!(refused, Err(OpenError::WrongKey));
}

fn refusal(descriptor: &StripeDescriptor, parts: &[(Share, &[u8])], wanted: u8) -> RebuildError {
    rebuild_shards(descriptor, parts, &[ShardIndex(wanted)]).unwrap_err()
}

#[test]
fn parts_that_are_not_the_descriptors_are_refused_by_name() {
    let stripe = sealed(geometry(2, 2), 1000);
    let descriptor = &stripe.descriptor;
    let [zero, one] = [ShardIndex(0), ShardIndex(1)];
    let good = || parts(&stripe, &[zero, one]);

    let mut forged = good();
    forged[1].0.bytes[31] ^= 1;
    assert_eq!(refusal(descriptor, &forged, 2), RebuildError::WrongShare(one));

    let mut rotten = stripe.shards[0].bytes.to_vec();
    rotten[100] ^= 1;
    let mut damaged = good();
    damaged[0].1 = &rotten;
    assert_eq!(refusal(descriptor, &damaged, 2), RebuildError::WrongBytes(zero));

    let twice = parts(&stripe, &[one, one]);
    assert_eq!(refusal(descriptor, &twice, 2), RebuildError::Duplicate(one));
    let mut outside = good();
    outside[0].0.index = ShardIndex(4);
    assert_eq!(refusal(descriptor, &outside, 2), RebuildError::IndexOutside(ShardIndex(4)));
    assert_eq!(refusal(descriptor, &good(), 4), RebuildError::IndexOutside(ShardIndex(4)));
}

#[test]
fn a_descriptor_that_lies_about_the_wanted_shard_gives_nothing() {
    let stripe = sealed(geometry(2, 2), 1000);
    let parts = parts(&stripe, &[ShardIndex(0), ShardIndex(1)]);
    let mut other_bytes = stripe.descriptor.clone();
    other_bytes.shards[3].0[0] ^= 1;
    assert_eq!(refusal(&other_bytes, &parts, 3), RebuildError::NotTheSame(ShardIndex(3)));
    let mut other_share = stripe.descriptor.clone();
    other_share.shares[3] = Digest([0; 32]);
    assert_eq!(refusal(&other_share, &parts, 3), RebuildError::NotTheSame(ShardIndex(3)));
    let mut without = stripe.descriptor.clone();
    without.shards.truncate(2);
    assert_eq!(refusal(&without, &parts, 3), RebuildError::NotTheSame(ShardIndex(3)));
}
