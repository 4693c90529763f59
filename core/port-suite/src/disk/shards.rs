//! Storing shards and reading them back.

use std::sync::Arc;

use defs_core::body::{Body, BodyError};
use defs_core::digest::stripe_locator;
use defs_core::ids::{Epoch, PairId, ShardIndex};
use defs_core::message::FRAME_MAX;
use defs_core::port::{Change, Disk, DiskError, ShardState};
use defs_core::statement::{Commit, Signed, Unlock};
use defs_core::stripe::{ShardHead, Watched};
use futures::future::join;

use super::{LENGTHS, NETWORK, Sample, noise, read, used};

/// Head, state and bytes, at every length, and the room that they take.
pub async fn what_was_stored_reads_back(disk: &impl Disk) {
    let mut total = 0;
    for (seed, length) in (0..).zip(LENGTHS) {
        let sample = Sample::new(seed, length);
        sample.store(disk).await.unwrap();
        assert!(sample.is_whole_on(disk).await.unwrap(), "{length} bytes");
        total += sample.length();
        assert_eq!(disk.usage(), used(seed + 1, 0, total));
    }
}

/// Also empty ones and the last byte; what lies outside is refused.
pub async fn every_range_reads_as_it_was_stored(disk: &impl Disk) {
    for (seed, length) in (0..).zip([5000, 2 * FRAME_MAX + 100]) {
        let sample = Sample::new(seed, length);
        sample.store(disk).await.unwrap();
        let end = length as u64;
        for (from, to) in [(0, 0), (0, 1), (17, 4913), (end - 1, end), (end, end), (1, end)] {
            let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
            assert_eq!(read(disk, sample.key(), from..to).await, sample.sealed[range]);
        }
        assert!(disk.read(sample.key(), 1..end + 1).await.is_err());
        assert!(disk.read(sample.key(), end + 1..end + 1).await.is_err());
    }
}

/// One flipped bit, one byte less: nothing is visible and no room is taken.
pub async fn other_bytes_than_named_are_refused_and_leave_nothing(disk: &impl Disk) {
    for (seed, length) in (0..).zip(LENGTHS) {
        let sample = Sample::new(seed, length);
        let mut flipped = sample.sealed.to_vec();
        flipped[length / 2] ^= 0x10;
        for wrong in [flipped, sample.sealed[1..].to_vec()] {
            let refused = sample.store_bytes(disk, wrong.into()).await;
            assert!(matches!(refused, Err(DiskError::WrongBytes)), "{refused:?}");
            assert_eq!(disk.shard(sample.key()).await.unwrap(), None);
            assert_eq!(disk.usage(), used(0, 0, 0));
        }
        // The name is not spoilt by it.
        sample.store(disk).await.unwrap();
        assert!(sample.is_whole_on(disk).await.unwrap());
        disk.apply(vec![Change::DeleteShard(sample.key())]).await.unwrap();
    }
}

/// A writer that goes away, and one that sends too much.
pub async fn bytes_that_break_off_leave_nothing(disk: &impl Disk) {
    for (seed, length) in (0..).zip([1000, 2 * FRAME_MAX]) {
        let sample = Sample::new(seed, length);
        let (writer, body) = Body::channel(length as u64);
        let store = disk.store(Arc::clone(&sample.head), sample.state.clone(), body);
        writer.send(sample.sealed.slice(..length / 4)).await.unwrap();
        drop(writer);
        let missing = (length - length / 4) as u64;
        let refused = store.await;
        assert!(
            matches!(&refused, Err(DiskError::Body(BodyError::BrokenOff { missing: m })) if *m == missing),
            "{refused:?}"
        );

        let (writer, body) = Body::channel(length as u64 - 1);
        let store = disk.store(Arc::clone(&sample.head), sample.state.clone(), body);
        let half = length / 2;
        writer.send(sample.sealed.slice(..half)).await.unwrap();
        writer.send(sample.sealed.slice(half..)).await.unwrap();
        let refused = store.await;
        assert!(matches!(refused, Err(DiskError::Body(BodyError::TooLong))), "{refused:?}");

        assert_eq!(disk.shard(sample.key()).await.unwrap(), None);
        assert_eq!(disk.usage(), used(0, 0, 0));
    }
}

/// The first state stays, and bytes are checked although they aren't needed.
pub async fn a_shard_stored_twice_is_kept_as_it_was(disk: &impl Disk) {
    for (seed, length) in (0..).zip([3000, FRAME_MAX + 9]) {
        let sample = Sample::new(seed, length);
        sample.store(disk).await.unwrap();
        let before = disk.usage();
        let mut again = sample.clone();
        again.state.epoch = Epoch(9);
        again.store(disk).await.unwrap();
        let refused = again.store_bytes(disk, noise(77, length)).await;
        assert!(matches!(refused, Err(DiskError::WrongBytes)), "{refused:?}");
        assert!(sample.is_whole_on(disk).await.unwrap());
        assert_eq!(disk.usage(), before);
    }
}

/// Both stores succeed; the room is taken once.
pub async fn a_shard_stored_twice_at_once_is_kept_once(disk: &impl Disk) {
    for (seed, length) in (0..).zip([3000, FRAME_MAX + 9]) {
        let sample = Sample::new(seed, length);
        let before = disk.usage().used;
        let (one, body_one) = Body::channel(length as u64);
        let (two, body_two) = Body::channel(length as u64);
        let store = |body| disk.store(Arc::clone(&sample.head), sample.state.clone(), body);
        let send = async |writer: defs_core::body::BodyWriter| {
            writer.send(sample.sealed.slice(..length / 2)).await.unwrap();
            writer.send(sample.sealed.slice(length / 2..)).await.unwrap();
        };
        send(one).await;
        send(two).await;
        let (stored_one, stored_two) = join(store(body_one), store(body_two)).await;
        stored_one.unwrap();
        stored_two.unwrap();
        assert!(sample.is_whole_on(disk).await.unwrap());
        assert_eq!(disk.usage().used, before + length as u64);
    }
}

/// And its absence shows everywhere.
pub async fn a_deleted_shard_is_gone_and_can_come_back(disk: &impl Disk) {
    for (seed, length) in (0..).zip([3000, FRAME_MAX + 9]) {
        let sample = Sample::new(seed, length);
        for _ in 0..2 {
            sample.store(disk).await.unwrap();
            assert!(sample.is_whole_on(disk).await.unwrap());
            disk.apply(vec![Change::DeleteShard(sample.key())]).await.unwrap();
            assert_eq!(disk.shard(sample.key()).await.unwrap(), None);
            assert!(disk.read(sample.key(), 0..1).await.is_err());
            assert_eq!(disk.shards_after(None, 10).await.unwrap(), vec![]);
            assert_eq!(disk.usage(), used(0, 0, 0));
        }
    }
}

/// Whole, with a commit.
pub async fn a_state_is_changed_and_that_of_an_absent_shard_passed_over(disk: &impl Disk) {
    let (mut sample, absent) = (Sample::new(1, 100), Sample::new(2, 100));
    sample.store(disk).await.unwrap();
    let commit = Commit { stripe: sample.key().stripe };
    sample.state = ShardState {
        pair: PairId([8; 16]),
        epoch: Epoch(4),
        lease_until: sample.state.lease_until + std::time::Duration::from_nanos(1_000_000_001),
        commit: Some(Signed { body: commit, unlock: Unlock::default() }),
    };
    let change = |sample: &Sample| Change::ShardState(sample.key(), sample.state.clone());
    disk.apply(vec![change(&absent), change(&sample)]).await.unwrap();
    assert!(sample.is_whole_on(disk).await.unwrap());
    assert_eq!(disk.shard(absent.key()).await.unwrap(), None);
    let locator = stripe_locator(&NETWORK, &sample.head.descriptor.body.tag);
    assert_eq!(disk.holds(locator).await.unwrap(), Some(PairId([8; 16])));
}

/// Whoever read the state before others changed it takes back nothing that they said.
pub async fn a_commit_stays_and_a_lease_gets_no_shorter(disk: &impl Disk) {
    let mut sample = Sample::new(1, 100);
    sample.store(disk).await.unwrap();
    let read_before = sample.state.clone();
    let commit = Commit { stripe: sample.key().stripe };
    sample.state.commit = Some(Signed { body: commit, unlock: Unlock::default() });
    sample.state.lease_until += std::time::Duration::from_secs(1);
    for state in [sample.state.clone(), read_before] {
        disk.apply(vec![Change::ShardState(sample.key(), state)]).await.unwrap();
        assert!(sample.is_whole_on(disk).await.unwrap());
    }
}

/// Neither one that is kept by now, nor one whose lease is longer by now.
pub async fn only_what_nobody_keeps_or_renewed_expires(disk: &impl Disk) {
    let samples: Vec<_> = (1..=3).map(|seed| Sample::new(seed, 100)).collect();
    for sample in &samples {
        sample.store(disk).await.unwrap();
    }
    let deadline = samples[0].state.lease_until + std::time::Duration::from_nanos(1);
    let commit = Commit { stripe: samples[0].key().stripe };
    let commit = Some(Signed { body: commit, unlock: Unlock::default() });
    let kept = ShardState { commit, ..samples[0].state.clone() };
    let renewed = ShardState { lease_until: deadline, ..samples[1].state.clone() };
    let said = [(0, kept), (1, renewed)];
    let said =
        said.map(|(place, state): (usize, _)| Change::ShardState(samples[place].key(), state));
    disk.apply(said.to_vec()).await.unwrap();
    let expired = samples.iter().map(|sample| Change::ExpireShard(sample.key(), deadline));
    disk.apply(expired.collect()).await.unwrap();
    for (sample, stays) in samples.iter().zip([true, true, false]) {
        assert_eq!(disk.shard(sample.key()).await.unwrap().is_some(), stays);
    }
}

/// Other siblings to watch, and the rest as it was.
pub async fn a_head_is_replaced_and_that_of_an_absent_shard_passed_over(disk: &impl Disk) {
    let (mut sample, absent) = (Sample::new(1, 100), Sample::new(2, 100));
    sample.store(disk).await.unwrap();
    let watched = vec![Watched { index: ShardIndex(1), pair: PairId([9; 16]) }];
    sample.head = Arc::new(ShardHead { watched, ..sample.head.as_ref().clone() });
    let change = |sample: &Sample| Change::ShardHead(sample.key(), Arc::clone(&sample.head));
    disk.apply(vec![change(&absent), change(&sample)]).await.unwrap();
    assert!(sample.is_whole_on(disk).await.unwrap());
    assert_eq!(disk.shard(absent.key()).await.unwrap(), None);
    let gone = vec![Change::DeleteShard(sample.key()), change(&sample)];
    disk.apply(gone).await.unwrap();
    assert_eq!(disk.shard(sample.key()).await.unwrap(), None);
}
