//! Numbers that no honest peer sends, in every request that has one: each is answered, and
//! the node lives.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::ids::{Epoch, Locator, NetworkId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    Gossip, Hello, KeepStripe, ReadShard, Reason, Request, Response, ShardKey, StoreShard,
};
use defs_core::network::{
    Activity, Admission, Labels, NodeCard, PairRecord, Reach, SignedCard, SignedPairRecord,
};
use defs_core::port::{Service as _, Verdict};
use defs_core::record::{Content, RecordKey, RecordSet};
use defs_core::statement::{Commit, Session, Statement as _, Tombstone};
use defs_identity::{SecretKey, sign_statement};

use crate::network::{Net, Owner};

const EXTREMES: [u64; 6] = [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];

fn byte(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Requests about shards, with `number` wherever a number goes.
fn about_shards(owner: &Owner, pair: &PairRecord, key: ShardKey, number: u64) -> Vec<Request> {
    let stripe = owner.stripe(b"hostile", (2, 1), 1);
    let (mut store, _) = owner.store(&stripe, 0, pair);
    store.lease_ms = number;
    let of_epoch = StoreShard { epoch: Epoch(number), ..store.clone() };
    let mut head = store.head.as_ref().clone();
    head.index = ShardIndex(byte(number));
    let mut outside = store.clone();
    outside.head = Arc::new(head);
    let commit = sign_statement(&owner.key, &owner.network, Commit { stripe: key.stripe });
    let kept = KeepStripe { commit, indices: vec![ShardIndex(byte(number))] };
    let tombstone = Tombstone { stripe: StripeId([9; 32]) };
    let tombstone = sign_statement(&owner.key, &owner.network, tombstone);
    let read = |range| Request::ReadShard(ReadShard { key, range });
    let index = ShardIndex(byte(number));
    vec![
        Request::StoreShard(of_epoch.clone()),
        Request::MirrorShard(of_epoch),
        Request::StoreShard(outside),
        Request::MirrorShard(store.clone()),
        Request::StoreShard(store),
        read(Some(number..u64::MAX)),
        read(Some(u64::MAX..number)),
        read(Some(number..number)),
        Request::ReadShard(ReadShard { key: ShardKey { index, ..key }, range: None }),
        Request::Renew { shards: vec![key], lease_ms: number, both: true },
        Request::Renew { shards: vec![key; 257], lease_ms: number, both: false },
        Request::Commit { stripes: vec![kept], both: true },
        Request::Delete { tombstones: vec![tombstone], both: true },
        Request::StripeStatus { stripe: key.stripe },
    ]
}

/// Requests about records, with `number` wherever a number goes.
fn about_records(owner: &Owner, pair: &PairRecord, number: u64) -> Vec<Request> {
    let mut record = owner.record(1, number, Content::Sealed(vec![1]), &[pair.pair]);
    record.key.page = word(number);
    record.set = RecordSet { pairs: vec![pair.pair], version: word(number) };
    let (key, records) = (record.key, vec![owner.sign(record)]);
    let write = |epoch, forward| Request::WriteRecords {
        pair: pair.pair,
        epoch,
        records: records.clone(),
        forward,
    };
    vec![
        write(pair.epoch, true),
        write(Epoch(number), true),
        write(Epoch(number), false),
        Request::ReadRecords { keys: vec![RecordKey::manifest(key.file, word(number))] },
        Request::ReadRecords { keys: vec![key; 257] },
    ]
}

/// All other requests, with `number` wherever a number goes.
fn about_nodes(owner: &Owner, pair: &PairRecord, number: u64) -> Vec<Request> {
    let proposal = PairRecord { epoch: Epoch(number), ..pair.clone() };
    let session = Session { not_after_ms: number, ..owner.session(pair.primary(), [0; 32]) };
    let locator = Locator([byte(number); 32]);
    vec![
        Request::Hello(Hello { network: owner.network, version: word(number) }),
        Request::Hello(Hello { network: NetworkId([byte(number); 32]), version: 1 }),
        Request::OpenSession(Box::new(sign_statement(&owner.key, &owner.network, session))),
        Request::Table { from: word(number) },
        Request::Propose(Box::new(SignedPairRecord { record: proposal, signatures: vec![] })),
        Request::Heartbeat { pair: pair.pair, epoch: Epoch(number) },
        Request::Locate { locator },
        Request::Found { locator, query: number, pair: PairId([byte(number); 16]) },
    ]
}

#[tokio::test(start_paused = true)]
async fn every_request_is_answered_whatever_its_numbers_are() {
    let net = Net::with(2).await;
    let (owner, pair) = (net.owner(77), net.pairs().remove(0));
    let stripe = owner.stripe(b"some bytes", (1, 0), 1);
    owner.put(&stripe, 0, &pair).await.unwrap();
    let key = ShardKey { stripe: stripe.descriptor.id(), index: ShardIndex(0) };
    for node in pair.members {
        owner.log_in(node).await;
        for number in EXTREMES {
            let mut requests = about_shards(&owner, &pair, key, number);
            requests.extend(about_records(&owner, &pair, number));
            requests.extend(about_nodes(&owner, &pair, number));
            for request in requests {
                let asked = format!("{request:?}");
                let body = Body::whole(vec![0; usize::from(byte(number))].into());
                // A service that panics is no answer.
                if let Err(refusal) = owner.send(node, request, body).await {
                    assert_ne!(refusal.reason, Reason::ShuttingDown, "{refusal}: {asked}");
                }
            }
        }
        let hello = owner.hello(node).await;
        assert_eq!(hello, owner.hello(node).await);
    }
    // A range that is none, and a lease that is for ever.
    let read = Request::ReadShard(ReadShard { key, range: Some(0..u64::MAX) });
    let refused = owner.ask(pair.primary(), read).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Malformed);
    let renew = Request::Renew { shards: vec![key], lease_ms: u64::MAX, both: true };
    assert_eq!(owner.ask(pair.primary(), renew).await, Ok(Response::Held(vec![true])));
}

#[tokio::test(start_paused = true)]
async fn gossip_with_extreme_numbers_is_judged() {
    let net = Net::with(2).await;
    let pair = net.pairs().remove(0);
    let node = &net.nodes[&pair.primary()];
    for number in EXTREMES {
        let record = PairRecord { epoch: Epoch(number), ..pair.clone() };
        let signed = SignedPairRecord { record, signatures: vec![] };
        node.engine.hear(Gossip::Pair(Box::new(signed)));
        for mut card in node.engine.table().cards {
            card.card.sequence = number;
            card.card.capacity = number;
            node.engine.hear(Gossip::Card(Box::new(card)));
        }
        let locator = Locator([byte(number); 32]);
        node.engine.hear(Gossip::Query { locator, asker: pair.mirror(), query: number });
    }
    assert_eq!(net.pairs(), [pair]);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_nobody_admitted_do_not_count_for_a_majority() {
    let net = Net::with(4).await;
    let node = net.pairs()[0].primary();
    let before = net.nodes[&node].engine.reach();
    assert_eq!((before.nodes.reached, before.nodes.all), (4, 4));
    for seed in 50..200 {
        let key = SecretKey::from_seed(&[seed; 32]);
        let admission = Admission { node: key.public().node_id() }.statement(&net.network);
        let labels = Labels { host: format!("sybil-{seed}"), ..Labels::default() };
        let card = NodeCard {
            key: key.public().to_bytes(),
            sequence: 1,
            addresses: Vec::new(),
            labels,
            capacity: 1 << 40,
            used: 0,
            activity: Activity::default(),
            reach: Reach::default(),
            // By itself, not by whoever may invite.
            admission: key.sign(&admission).0,
        };
        let signature = key.sign(&card.statement(&net.network)).0;
        let card = Gossip::Card(Box::new(SignedCard { card, signature }));
        assert_eq!(net.nodes[&node].engine.hear(card), Verdict::Ignore);
    }
    assert_eq!(net.nodes[&node].engine.reach(), before);
}
