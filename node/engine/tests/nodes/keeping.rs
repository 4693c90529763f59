//! Leases, commits, deletions.

use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::ShardIndex;
use defs_core::message::{KeepStripe, Reason, Request, Response, Rung, ShardKey};
use defs_core::port::{Change, Disk as _};
use defs_core::statement::{Commit, Tombstone};
use defs_engine::Timings;
use defs_identity::{sign_statement, sign_statements};

use crate::healing::put;
use crate::network::{HOUR_MS, Net, reason};

/// Leases as short as their owner asks for.
fn hourly() -> Timings {
    Timings { lease_min: Duration::from_hours(1), ..Timings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_commit_reaches_both_members_and_only_the_owner_can_make_it() {
    let net = Net::with(2).await;
    let (owner, thief, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let commit = Commit { stripe: stripe.descriptor.id() };
    let forged = sign_statement(&thief.key, &net.network, commit);
    let keep = |commit, index| KeepStripe { commit, indices: vec![ShardIndex(index)] };
    let request = Request::Commit { stripes: vec![keep(forged, 0)], both: true };
    assert_eq!(reason(owner.ask(pair.primary(), request).await), Reason::NotAuthorised);
    let absent = Commit { stripe: owner.stripe(b"other", (1, 0), 1).descriptor.id() };
    let signed = sign_statements(&owner.key, &net.network, vec![commit, absent]);
    // A shard of the stripe that isn't here doesn't count as held because another is.
    let kept = [(0, 0), (1, 0), (0, 1)].map(|(one, index)| keep(signed[one].clone(), index));
    let request = Request::Commit { stripes: kept.to_vec(), both: true };
    let answer = owner.ask(pair.primary(), request).await;
    assert_eq!(answer, Ok(Response::Held(vec![true, false, false])));
    let key = ShardKey { stripe: commit.stripe, index: ShardIndex(0) };
    for node in pair.members {
        let stored = net.disk(&node).shard(key).await.unwrap().unwrap();
        assert_eq!(stored.state.commit.map(|signed| signed.body), Some(commit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_keeps_the_shards_that_it_names_and_no_others() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 1), 2);
    for place in [0, 1] {
        owner.put(&stripe, place, &pair).await.unwrap();
    }
    let commit = Commit { stripe: stripe.descriptor.id() };
    let commit = sign_statement(&owner.key, &net.network, commit);
    let stripes = vec![KeepStripe { commit, indices: vec![ShardIndex(0)] }];
    let answer = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
    assert_eq!(answer, Ok(Response::Held(vec![true])));
    for (index, is_kept) in [(0, true), (1, false)] {
        let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(index) };
        for node in pair.members {
            let stored = net.disk(&node).shard(key).await.unwrap().unwrap();
            assert_eq!(stored.state.commit.is_some(), is_kept);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_upload_expires_and_a_committed_one_stays() {
    let net = Net::timed(4, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let (kept, lost) = (owner.stripe(b"kept", (1, 1), 1), owner.stripe(b"lost", (1, 1), 1));
    for (place, pair) in pairs.iter().enumerate() {
        owner.put(&kept, place, pair).await.unwrap();
        owner.put(&lost, place, pair).await.unwrap();
    }
    // The client dies after committing at one of the two pairs.
    let commit = Commit { stripe: kept.descriptor.id() };
    let commit = sign_statement(&owner.key, &net.network, commit);
    let stripes = vec![KeepStripe { commit, indices: vec![ShardIndex(0)] }];
    owner.ask(pairs[0].primary(), Request::Commit { stripes, both: true }).await.unwrap();
    net.pass(Duration::from_millis(HOUR_MS) + Duration::from_mins(5)).await;
    assert!(net.nodes.values().all(|node| node.disk.usage().shards == 2), "collected too early");
    net.pass(Duration::from_mins(20)).await;
    for node in net.nodes.values() {
        let indices = |stripe| node.disk.indices(stripe);
        assert_eq!(indices(kept.descriptor.id()).await.unwrap().len(), 1);
        assert_eq!(indices(lost.descriptor.id()).await.unwrap(), vec![]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_put_left_at_one_pair_expires_when_another_keeps_the_shard() {
    let net = Net::timed(6, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"placed twice", (1, 1), 1);
    owner.put(&stripe, 0, &pairs[2]).await.unwrap();
    put(&net, &owner, &stripe, &[&pairs[0], &pairs[1]]).await;
    let is_there = |pair: usize| {
        let held = pairs[pair].members.map(|node| net.disk(&node).usage().shards);
        held == [1, 1]
    };
    assert!((0..3).all(is_there));
    net.pass(Duration::from_millis(HOUR_MS) + Duration::from_mins(40)).await;
    assert!(is_there(0) && is_there(1));
    assert_eq!(pairs[2].members.map(|node| net.disk(&node).usage().shards), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_not_collected_while_too_few_siblings_can_be_asked() {
    let mut net = Net::timed(4, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    for (place, pair) in pairs.iter().enumerate() {
        owner.put(&stripe, place, pair).await.unwrap();
    }
    for node in pairs[1].members {
        net.kill(&node);
    }
    net.pass(Duration::from_millis(3 * HOUR_MS)).await;
    for node in pairs[0].members {
        assert_eq!(net.disk(&node).usage().shards, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_lasts_from_the_renewal() {
    let net = Net::timed(4, hourly()).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    for (place, pair) in pairs.iter().enumerate() {
        owner.put(&stripe, place, pair).await.unwrap();
    }
    net.pass(Duration::from_mins(50)).await;
    for (place, pair) in (0..).zip(&pairs) {
        let shards = vec![ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(place) }];
        let renew = Request::Renew { shards, lease_ms: HOUR_MS, both: true };
        assert_eq!(reason(owner.ask(pair.primary(), renew.clone()).await), Reason::NoSession);
        owner.log_in(pair.primary()).await;
        assert_eq!(owner.ask(pair.primary(), renew).await, Ok(Response::Held(vec![true])));
    }
    net.pass(Duration::from_mins(55)).await;
    assert!(net.nodes.values().all(|node| node.disk.usage().shards == 1));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_takes_the_owners_word_reaches_both_and_stays() {
    let net = Net::with(2).await;
    let (owner, thief, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let tombstone = Tombstone { stripe: stripe.descriptor.id() };
    let forged = sign_statement(&thief.key, &net.network, tombstone);
    let request = Request::Delete { tombstones: vec![forged], both: true };
    assert_eq!(reason(thief.ask(pair.primary(), request).await), Reason::NotAuthorised);
    let signed = sign_statement(&owner.key, &net.network, tombstone);
    let request = Request::Delete { tombstones: vec![signed], both: true };
    assert_eq!(owner.ask(pair.primary(), request.clone()).await, Ok(Response::Done));
    assert!(net.nodes.values().all(|node| node.disk.usage().shards == 0));
    assert_eq!(owner.ask(pair.primary(), request).await, Ok(Response::Done));
    assert_eq!(reason(owner.put(&stripe, 0, &pair).await), Reason::Deleted);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_reaches_the_mirror_of_a_primary_that_lacks_the_shard() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    net.disk(&pair.primary()).apply(vec![Change::DeleteShard(key)]).await.unwrap();
    let tombstone = Tombstone { stripe: stripe.descriptor.id() };
    let tombstones = vec![sign_statement(&owner.key, &net.network, tombstone)];
    let deleted = owner.ask(pair.primary(), Request::Delete { tombstones, both: true }).await;
    assert_eq!(deleted, Ok(Response::Done));
    assert!(net.nodes.values().all(|node| node.disk.usage().shards == 0));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_reaches_a_mirror_that_was_away() {
    let mut net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let disk = net.kill(&pair.mirror());
    let tombstone = Tombstone { stripe: stripe.descriptor.id() };
    let tombstones = vec![sign_statement(&owner.key, &net.network, tombstone)];
    let deleted = owner.ask(pair.primary(), Request::Delete { tombstones, both: true }).await;
    assert_eq!(deleted, Ok(Response::Done));
    assert_eq!(disk.usage().shards, 1);
    net.start_again(pair.mirror(), Arc::clone(&disk)).await;
    net.until("the mirror heard of the deletion", |_| disk.usage().shards == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_found_by_one_broadcast_whoever_is_asked() {
    let net = Net::with(6).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pairs[0]).await.unwrap();
    let locator = defs_core::digest::stripe_locator(&net.network, &stripe.descriptor.tag);
    let ask = async |node| match owner.ask(node, Request::Locate { locator }).await.unwrap() {
        Response::Located(located) => located,
        other => panic!("{other:?}"),
    };
    let here = ask(pairs[0].mirror()).await;
    assert_eq!((here.pairs, here.rung, here.messages), (vec![pairs[0].pair], Rung::Local, 0));
    let there = ask(pairs[1].primary()).await;
    assert_eq!(
        (there.pairs, there.rung, there.round_trips),
        (vec![pairs[0].pair], Rung::Broadcast, 1)
    );
    let locator = defs_core::ids::Locator([1; 32]);
    let nowhere = owner.ask(pairs[1].primary(), Request::Locate { locator }).await.unwrap();
    let Response::Located(nowhere) = nowhere else { panic!("{nowhere:?}") };
    assert_eq!((nowhere.pairs, nowhere.rung), (vec![], Rung::Nowhere));
}
