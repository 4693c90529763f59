//! What a pair takes and what it refuses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{Epoch, PairId, ShardIndex};
use defs_core::message::{KeepStripe, Reason, Request, Response, ShardKey};
use defs_core::port::Disk as _;
use defs_core::receipt::Kept;
use defs_core::statement::{Commit, Statement as _};
use defs_core::stripe::{ShardHead, Watched};
use defs_identity::{Direct, sign_statement, verify_node};

use crate::network::{Net, reason};

#[tokio::test(start_paused = true)]
async fn an_acknowledged_shard_is_on_both_disks_and_both_receipts_are_genuine() {
    let net = Net::with(4).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (2, 1), 1);
    let Response::Receipts(receipts) = owner.put(&stripe, 1, &pair).await.unwrap() else {
        panic!("no receipts")
    };
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(1) };
    let signers: Vec<_> = receipts
        .iter()
        .map(|signed| {
            let root = signed.path.root(&signed.receipt.statement(&net.network));
            verify_node(&signed.by.key, &root, &signed.by.signature, &Direct).unwrap()
        })
        .collect();
    assert_eq!(signers, pair.members);
    for (signed, node) in receipts.iter().zip(pair.members) {
        let receipt = &signed.receipt;
        assert_eq!(receipt.kept, Kept::Shard(key.stripe, key.index));
        assert_eq!((receipt.pair, receipt.epoch, receipt.node), (pair.pair, pair.epoch, node));
        let body = net.disk(&node).read(key, 0..stripe.shards[1].bytes.len() as u64).await.unwrap();
        assert_eq!(body.collect().await.unwrap(), stripe.shards[1].bytes);
    }
    // The retry of an answer that was lost gets receipts again.
    assert!(matches!(owner.put(&stripe, 1, &pair).await, Ok(Response::Receipts(_))));
}

#[tokio::test(start_paused = true)]
async fn who_is_told_of_other_siblings_before_the_commit_watches_these_and_not_after_it() {
    let net = Net::with(4).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let watch = async |other: u8| {
        let watched = vec![Watched { index: ShardIndex(1), pair: PairId([other; 16]) }];
        let (mut store, body) = owner.store(&stripe, 0, &pair);
        store.head = Arc::new(ShardHead { watched, ..store.head.as_ref().clone() });
        owner.send(pair.primary(), Request::StoreShard(store), body).await.unwrap();
        let mut watched = Vec::new();
        for node in pair.members {
            let stored = net.disk(&node).shard(key).await.unwrap().unwrap();
            watched.push(stored.head.watched[0].pair.0[0]);
        }
        watched
    };
    assert_eq!(watch(1).await, [1, 1]);
    assert_eq!(watch(2).await, [2, 2], "the sibling went elsewhere");
    let commit = sign_statement(&owner.key, &net.network, Commit { stripe: key.stripe });
    let stripes = vec![KeepStripe { commit, indices: vec![key.index] }];
    let kept = owner.ask(pair.primary(), Request::Commit { stripes, both: true }).await;
    assert_eq!(kept, Ok(Response::Held(vec![true])));
    assert_eq!(watch(3).await, [2, 2], "what is finished is not told anew");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_what_their_name_says_are_stored_nowhere() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    let (store, _) = owner.store(&stripe, 0, &pair);
    let wrong = vec![7; stripe.shards[0].bytes.len()];
    let answer =
        owner.send(pair.primary(), Request::StoreShard(store), Body::whole(Bytes::from(wrong)));
    assert_eq!(reason(answer.await), Reason::WrongBytes);
    for node in pair.members {
        assert_eq!(net.disk(&node).usage().shards, 0);
        assert_eq!(net.disk(&node).usage().used, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_descriptor_that_its_lock_does_not_open_to_is_refused() {
    let net = Net::with(2).await;
    let (owner, thief, pair) = (net.owner(77), net.owner(78), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    // Signed by somebody else under the owner's lock.
    let (mut store, body) = thief.store(&stripe, 0, &pair);
    let answer = thief.send(pair.primary(), Request::StoreShard(store.clone()), body).await;
    assert_eq!(reason(answer), Reason::NotAuthorised);
    // The owner's signature over another descriptor.
    let (genuine, body) = owner.store(&stripe, 0, &pair);
    let mut head = genuine.head.as_ref().clone();
    head.descriptor.body.generation += 1;
    store.head = Arc::new(head);
    let answer = owner.send(pair.primary(), Request::StoreShard(store), body).await;
    assert_eq!(reason(answer), Reason::NotAuthorised);
}

#[tokio::test(start_paused = true)]
async fn a_share_that_is_not_the_descriptors_is_refused() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (2, 1), 1);
    let (mut store, body) = owner.store(&stripe, 0, &pair);
    let mut head = store.head.as_ref().clone();
    head.share[0] ^= 1;
    store.head = Arc::new(head);
    let answer = owner.send(pair.primary(), Request::StoreShard(store), body).await;
    assert_eq!(reason(answer), Reason::WrongBytes);
}

#[tokio::test(start_paused = true)]
async fn a_pair_takes_no_more_shards_of_a_stripe_than_its_owner_allows() {
    let net = Net::with(4).await;
    let (owner, pairs) = (net.owner(77), net.pairs());
    let stripe = owner.stripe(b"some bytes", (2, 1), 1);
    owner.put(&stripe, 0, &pairs[0]).await.unwrap();
    assert_eq!(reason(owner.put(&stripe, 1, &pairs[0]).await), Reason::TooMany);
    owner.put(&stripe, 1, &pairs[1]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_shards_that_arrive_at_once_are_both_counted() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(&vec![1; 100_000], (2, 1), 1);
    let (first, second) = tokio::join!(owner.put(&stripe, 0, &pair), owner.put(&stripe, 1, &pair));
    assert_eq!(usize::from(first.is_ok()) + usize::from(second.is_ok()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pair_with_one_member_takes_no_new_shards_and_serves_the_old() {
    let mut net = Net::with(4).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 1), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let disk = net.kill(&pair.mirror());
    let other = owner.stripe(b"other bytes", (1, 1), 1);
    assert_eq!(reason(owner.put(&other, 0, &pair).await), Reason::Degraded);
    owner.log_in(pair.primary()).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let read = Request::ReadShard(defs_core::message::ReadShard { key, range: None });
    let reply = owner.send(pair.primary(), read, Body::empty()).await.unwrap();
    assert_eq!(reply.body.collect().await.unwrap(), stripe.shards[0].bytes);
    // Nothing of the refused one counts as stored, and the pair takes shards again later.
    let seed = (1..=4).find(|seed| {
        defs_identity::SecretKey::from_seed(&[*seed; 32]).public().node_id() == pair.mirror()
    });
    net.start(seed.unwrap(), disk).await;
    net.pass(Duration::from_secs(5)).await;
    assert!(matches!(owner.put(&other, 0, &pair).await, Ok(Response::Receipts(_))));
}

#[tokio::test(start_paused = true)]
async fn another_pair_another_epoch_and_the_mirror_are_refused_by_name() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    let ask = async |node, pair: PairId, epoch: Epoch, mirror: bool| {
        let (mut store, body) = owner.store(&stripe, 0, &net.pairs()[0]);
        (store.pair, store.epoch) = (pair, epoch);
        let request = if mirror { Request::MirrorShard(store) } else { Request::StoreShard(store) };
        reason(owner.send(node, request, body).await)
    };
    assert_eq!(ask(pair.primary(), PairId([9; 16]), pair.epoch, false).await, Reason::WrongEpoch);
    assert_eq!(ask(pair.primary(), pair.pair, Epoch(2), false).await, Reason::WrongEpoch);
    assert_eq!(ask(pair.mirror(), pair.pair, pair.epoch, false).await, Reason::WrongEpoch);
    // A stranger may not speak as the primary.
    assert_eq!(ask(pair.mirror(), pair.pair, pair.epoch, true).await, Reason::NotAllowed);
}

#[tokio::test(start_paused = true)]
async fn a_full_mirror_refuses_for_the_pair_and_the_primary_keeps_no_room_for_it() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let mut stored = 0;
    let full = loop {
        let stripe = owner.stripe(&vec![stored; 8 << 20], (1, 0), 1);
        match owner.put(&stripe, 0, &pair).await {
            Ok(_) => stored += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(full.reason, Reason::Full);
    assert_eq!(stored, 7);
    for node in pair.members {
        assert_eq!(net.disk(&node).usage().shards, 7);
    }
}
