//! What a node holds itself and its callers to.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::{Body, BodyWriter};
use defs_core::ids::ShardIndex;
use defs_core::message::{MESSAGE_MAX, ReadShard, Reason, Refusal, Request, Response, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{Disk as _, Reply};
use defs_core::record::{CONTENT_MAX, Content, SignedRecord};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::network::{Net, Owner, reason};

/// What one client may have on its way in, and all of them together.
const CALLER_STORES: usize = 24;
const PRIMARY_STORES: usize = 64;

/// A shard whose bytes have not come yet.
struct Slow {
    bytes: BodyWriter,
    shard: bytes::Bytes,
    answer: JoinHandle<Result<Reply, Refusal>>,
}

impl Slow {
    async fn begin(owner: &Arc<Owner>, number: usize, pair: &PairRecord) -> Self {
        let plain = [owner.me.0.as_slice(), &number.to_le_bytes()].concat();
        let stripe = owner.stripe(&plain, (1, 0), 1);
        let (store, _) = owner.store(&stripe, 0, pair);
        let shard = stripe.shards[0].bytes.clone();
        let (bytes, body) = Body::channel(shard.len() as u64);
        let (owner, primary) = (Arc::clone(owner), pair.primary());
        let request = Request::StoreShard(store);
        let send = async move { owner.send(primary, request, body).await };
        let answer = TaskTracker::new().spawn(send);
        // It gets as far as it can.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        Self { bytes, shard, answer }
    }

    async fn end(self) -> Result<Reply, Refusal> {
        // A refused one reads nothing.
        self.bytes.send(self.shard).await.ok();
        self.answer.await.unwrap()
    }
}

async fn slow(owner: &Arc<Owner>, pair: &PairRecord, count: usize) -> Vec<Slow> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(Slow::begin(owner, number, pair).await);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn one_slow_client_is_held_to_its_share_and_others_store_on() {
    let net = Net::with(2).await;
    let (sly, other, pair) = (Arc::new(net.owner(77)), net.owner(78), net.pairs().remove(0));
    let held = slow(&sly, &pair, CALLER_STORES).await;
    let stripe = sly.stripe(b"one more", (1, 0), 1);
    assert_eq!(reason(sly.put(&stripe, 0, &pair).await), Reason::Busy);
    let stripe = other.stripe(b"another's", (1, 0), 1);
    other.put(&stripe, 0, &pair).await.unwrap();
    for store in held {
        store.end().await.unwrap();
    }
    sly.put(&sly.stripe(b"one more", (1, 0), 1), 0, &pair).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_its_place_occupies_nothing_at_the_mirror_and_gets_its_turn() {
    let net = Net::with(2).await;
    let pair = net.pairs().remove(0);
    let owners: Vec<_> = (70..74).map(|seed| Arc::new(net.owner(seed))).collect();
    let mut held = Vec::new();
    for owner in &owners {
        held.extend(slow(owner, &pair, PRIMARY_STORES / owners.len()).await);
    }
    let before = net.disk(&pair.mirror()).usage().used;
    let last = Arc::new(net.owner(75));
    let refused = slow(&last, &pair, 1).await.remove(0);
    assert_eq!(net.disk(&pair.mirror()).usage().used, before);
    // Nobody makes room in time.
    net.pass(Duration::from_secs(6)).await;
    assert_eq!(reason(refused.end().await), Reason::Busy);
    // Somebody does.
    let waits = slow(&last, &pair, 1).await.remove(0);
    for store in held {
        store.end().await.unwrap();
    }
    waits.end().await.unwrap();
    assert_eq!(net.disk(&pair.mirror()).usage().shards, 65);
}

#[tokio::test(start_paused = true)]
async fn a_peer_reads_so_many_shards_at_once_and_more_when_it_has_read_some() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    owner.log_in(pair.primary()).await;
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    let read = async || {
        let request = Request::ReadShard(ReadShard { key, range: None });
        owner.send(pair.primary(), request, Body::empty()).await
    };
    let mut replies = Vec::new();
    for _ in 0..32 {
        replies.push(read().await.unwrap());
    }
    assert_eq!(reason(read().await), Reason::Busy);
    let done = replies.pop().unwrap();
    assert_eq!(done.body.collect().await.unwrap(), stripe.shards[0].bytes);
    assert!(read().await.is_ok());
}

async fn write(owner: &Owner, pair: &PairRecord, file: u8, versions: u8) -> Arc<SignedRecord> {
    let mut last = None;
    for version in 1..=versions {
        let content = Content::Sealed(vec![version; CONTENT_MAX]);
        // Without parents: they stand side by side.
        let record = owner.sign(owner.record(file, version.into(), content, &[pair.pair]));
        owner.write(&record, pair).await.unwrap();
        last = Some(record);
    }
    last.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_stays_within_a_message_and_says_what_to_ask_for_again() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let mut keys = Vec::new();
    for file in 1..=5 {
        keys.push(write(&owner, &pair, file, 1).await.body.key);
    }
    owner.log_in(pair.mirror()).await;
    let ask = Request::ReadRecords { keys: keys.clone() };
    let Response::Records(items) = owner.ask(pair.mirror(), ask).await.unwrap() else { panic!() };
    let got: Vec<_> = items.into_iter().map(|item| item.map_err(|why| why.reason)).collect();
    let heads = |item: &Result<Vec<Arc<SignedRecord>>, Reason>| item.as_ref().map(Vec::len).ok();
    assert_eq!(got.iter().map(heads).collect::<Vec<_>>(), [Some(1), Some(1), Some(1), None, None]);
    assert_eq!(got[4], Err(Reason::Busy));
    let ask = Request::ReadRecords { keys: keys.split_off(3) };
    let Response::Records(rest) = owner.ask(pair.mirror(), ask).await.unwrap() else { panic!() };
    assert!(rest.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn of_a_record_whose_versions_fill_a_message_the_newest_are_answered() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let (large, small) =
        (write(&owner, &pair, 1, 8).await, write(&owner, &pair, 2, 1).await.body.key);
    owner.log_in(pair.mirror()).await;
    let keys = vec![large.body.key, small];
    let ask = Request::ReadRecords { keys };
    let Response::Records(mut items) = owner.ask(pair.mirror(), ask).await.unwrap() else {
        panic!()
    };
    let second = items.pop().unwrap().map(|heads| heads.len());
    assert_eq!(second.map_err(|refusal| refusal.reason), Err(Reason::Busy));
    let heads = items.pop().unwrap().unwrap();
    let counters: Vec<_> = heads.iter().map(|head| head.body.counter).collect();
    assert_eq!(counters, [8, 7, 6]);
    assert!(counters.len() * CONTENT_MAX < MESSAGE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_touches_more_than_is_held_in_memory_is_kept_all_the_same() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    for file in 1..=12 {
        write(&owner, &pair, file, 7).await;
    }
    let small = |file| owner.record(file, 9, Content::Sealed(vec![9]), &[pair.pair]);
    let mut records: Vec<_> = (1..=12).map(|file| owner.sign(small(file))).collect();
    // One of them again, after it may have been written.
    records.push(Arc::clone(&records[0]));
    let request = Request::WriteRecords {
        pair: pair.pair,
        epoch: pair.epoch,
        records: records.clone(),
        forward: true,
    };
    let answer = owner.ask(pair.primary(), request).await.unwrap();
    let Response::Written(items) = answer else { panic!("{answer:?}") };
    assert!(items.iter().all(|item| item.as_ref().is_ok_and(|receipts| receipts.len() == 2)));
    for node in pair.members {
        let keys = records.iter().map(|record| record.body.key).collect();
        for heads in net.disk(&node).records(keys).await.unwrap() {
            assert_eq!(heads.len(), 8);
        }
    }
}
