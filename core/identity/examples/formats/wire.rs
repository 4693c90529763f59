//! One message of each kind between peers.

mod repair;

use std::sync::Arc;

use defs_core::format::Format;
use defs_core::ids::{Epoch, Locator, NodeId, ShardIndex, hex};
use defs_core::message::{
    Gossip, Hello, KeepStripe, Located, PairView, ReadShard, Reason, Refusal, Request, Response,
    Rung, ShardKey, StoreShard, Table,
};
use defs_core::statement::{Commit, Signed, Tombstone};
use defs_core::trace::{SpanId, TraceContext, TraceId};
use defs_wire::{encode_gossip, encode_request, encode_response};
use serde_json::{Value, json};

use super::cast::{by_owner, genesis, network, pair};
use super::network::{first_epoch, signed_card};
use super::{file, receipts, statements};

const LEASE_MS: u64 = 86_400_000;
const LOCATOR: Locator = Locator([0x33; 32]);
const ASKER: NodeId = NodeId([0x34; 32]);

fn commit() -> Signed<Commit> {
    by_owner(vec![Commit { stripe: file::stripe_id() }]).0.remove(0)
}

fn shard_key() -> ShardKey {
    ShardKey { stripe: file::stripe_id(), index: ShardIndex(0) }
}

fn sealed_length() -> u64 {
    file::head().descriptor.body.sealed_shard_length()
}

pub(crate) fn requests() -> Vec<Value> {
    let own = [hello(), open_session(), read_shard(), renew(), keep(), delete()];
    let stored = [store_shard(false), store_shard(true), write_records(), read_records()];
    let pairs = [stripe_status(), table(), propose(), heartbeat(), locate(), found()];
    let all = own.into_iter().chain(stored).chain(pairs).chain(repair::requests());
    all.map(|(request, body_length, message)| {
        json!({
            "message": with_length(body_length, message),
            "encoded": hex(&encode_request(&request, body_length, None)),
        })
    })
    .chain([traced()])
    .collect()
}

/// Every request may say where it stands in a trace.
fn traced() -> Value {
    let trace = trace();
    json!({
        "message": { "ping": {}, "trace": hex(&trace.to_bytes()) },
        "encoded": hex(&encode_request(&Request::Ping, 0, Some(trace))),
    })
}

pub(crate) fn trace() -> TraceContext {
    TraceContext {
        trace: TraceId::new([0x77; 16]).expect("an id"),
        span: SpanId::new([0x78; 8]).expect("an id"),
        sampled: true,
    }
}

fn with_length(body_length: u64, mut message: Value) -> Value {
    if body_length > 0 {
        message["body_length"] = json!(body_length);
    }
    message
}

/// A request, the bytes that follow it, and its fields.
type Sample = (Request, u64, Value);

fn hello() -> Sample {
    let request = Request::Hello(Hello { network: network(), version: 1 });
    (request, 0, json!({ "hello": { "network": network().full(), "version": 1 } }))
}

fn open_session() -> Sample {
    let session = by_owner(vec![statements::session()]).0.remove(0);
    let message = json!({ "open_session": hex(&session.encode()) });
    (Request::OpenSession(Box::new(session)), 0, message)
}

fn store_shard(mirror: bool) -> Sample {
    let head = file::head();
    let fields = json!({
        "head": hex(&head.encode()), "pair": pair(0xa1).full(), "epoch": 1, "lease_ms": LEASE_MS,
    });
    let store =
        StoreShard { head: Arc::new(head), pair: pair(0xa1), epoch: Epoch(1), lease_ms: LEASE_MS };
    if mirror {
        (Request::MirrorShard(store), sealed_length(), json!({ "mirror_shard": fields }))
    } else {
        (Request::StoreShard(store), sealed_length(), json!({ "store_shard": fields }))
    }
}

fn key_fields() -> Value {
    json!({ "stripe": file::stripe_id().full(), "index": 0 })
}

fn read_shard() -> Sample {
    let request = Request::ReadShard(ReadShard { key: shard_key(), range: Some(33..50) });
    let range = json!({ "start": 33, "end": 50 });
    (request, 0, json!({ "read_shard": { "key": key_fields(), "range": range } }))
}

fn renew() -> Sample {
    let request = Request::Renew { shards: vec![shard_key()], lease_ms: LEASE_MS, both: true };
    let fields = json!({ "shards": [key_fields()], "lease_ms": LEASE_MS, "both": true });
    (request, 0, json!({ "renew": fields }))
}

fn keep() -> Sample {
    let indices = vec![ShardIndex(0), ShardIndex(2)];
    let stripes = json!([{ "commit": hex(&commit().encode()), "indices": "0002" }]);
    let request =
        Request::Commit { stripes: vec![KeepStripe { commit: commit(), indices }], both: true };
    (request, 0, json!({ "commit": { "stripes": stripes, "both": true } }))
}

fn delete() -> Sample {
    let (tombstones, _) = by_owner(vec![Tombstone { stripe: file::stripe_id() }]);
    let encoded: Vec<_> = tombstones.iter().map(|stone| hex(&stone.encode())).collect();
    let request = Request::Delete { tombstones, both: true };
    (request, 0, json!({ "delete": { "tombstones": encoded, "both": true } }))
}

fn write_records() -> Sample {
    let record = file::stored_record();
    let fields = json!({
        "pair": pair(0xa1).full(), "epoch": 1, "records": [hex(&record.encode())], "forward": true,
    });
    let request = Request::WriteRecords {
        pair: pair(0xa1),
        epoch: Epoch(1),
        records: vec![Arc::new(record)],
        forward: true,
    };
    (request, 0, json!({ "write_records": fields }))
}

fn read_records() -> Sample {
    let key = file::record_key();
    let message = json!({ "read_records": { "keys": [hex(&key.encode())] } });
    (Request::ReadRecords { keys: vec![key] }, 0, message)
}

fn stripe_status() -> Sample {
    let stripe = file::stripe_id();
    (Request::StripeStatus { stripe }, 0, json!({ "stripe_status": stripe.full() }))
}

fn table() -> Sample {
    (Request::Table { from: 3 }, 0, json!({ "table": 3 }))
}

fn propose() -> Sample {
    let record = first_epoch();
    let message = json!({ "propose": hex(&record.encode()) });
    (Request::Propose(Box::new(record)), 0, message)
}

fn heartbeat() -> Sample {
    let message = json!({ "heartbeat": { "pair": pair(0xa1).full(), "epoch": 1 } });
    (Request::Heartbeat { pair: pair(0xa1), epoch: Epoch(1) }, 0, message)
}

fn locate() -> Sample {
    (Request::Locate { locator: LOCATOR }, 0, json!({ "locate": LOCATOR.full() }))
}

fn found() -> Sample {
    let request = Request::Found { locator: LOCATOR, query: 7, pair: pair(0xa2) };
    let fields = json!({ "locator": LOCATOR.full(), "query": 7, "pair": pair(0xa2).full() });
    (request, 0, json!({ "found": fields }))
}

pub(crate) fn responses() -> Vec<Value> {
    let plain = [agreed(), done(), shard(), held(), alive(), located(), refused()];
    let signed = [receipts(), written(), records(), stripe(), network_table(), signed_pair()];
    plain
        .into_iter()
        .chain(signed)
        .chain(repair::responses())
        .map(|(response, body_length, message)| {
            json!({
                "message": with_length(body_length, message),
                "encoded": hex(&encode_response(&response, body_length)),
            })
        })
        .collect()
}

/// A response, the bytes that follow it, and its fields.
type Answer = (Response, u64, Value);

fn agreed() -> Answer {
    let response = Response::Hello { genesis: genesis(), version: 1, challenge: [0x44; 32] };
    let fields = json!({
        "genesis": hex(&genesis().encode()), "version": 1, "challenge": hex(&[0x44; 32]),
    });
    (response, 0, json!({ "hello": fields }))
}

fn done() -> Answer {
    (Response::Done, 0, json!({ "done": {} }))
}

fn shard() -> Answer {
    let response = Response::Shard { length: sealed_length() };
    (response, 17, json!({ "shard": sealed_length() }))
}

fn held() -> Answer {
    (Response::Held(vec![true, false]), 0, json!({ "held": { "held": [true, false] } }))
}

fn alive() -> Answer {
    (Response::Alive, 0, json!({ "alive": {} }))
}

fn located() -> Answer {
    let located = Located {
        pairs: vec![pair(0xa1), pair(0xa2)],
        rung: Rung::Broadcast,
        messages: 12,
        round_trips: 2,
    };
    let pairs = [pair(0xa1), pair(0xa2)].map(|pair| pair.full());
    let fields =
        json!({ "pairs": pairs, "rung": "RUNG_BROADCAST", "messages": 12, "round_trips": 2 });
    (Response::Located(located), 0, json!({ "located": fields }))
}

fn refusal() -> (Refusal, Value) {
    let refusal = Refusal::new(Reason::WrongEpoch, "the pair is in epoch 2");
    (refusal, json!({ "reason": 9, "detail": "the pair is in epoch 2" }))
}

fn refused() -> Answer {
    let (refusal, fields) = refusal();
    (Response::Refused(refusal), 0, json!({ "refused": fields }))
}

fn receipts() -> Answer {
    let receipts = receipts::of_shard(file::stripe_id(), ShardIndex(0));
    let encoded: Vec<_> = receipts.iter().map(|receipt| hex(&receipt.encode())).collect();
    (Response::Receipts(receipts), 0, json!({ "receipts": { "receipts": encoded } }))
}

fn written() -> Answer {
    let receipts = receipts::of_record(file::stored_record().body.hash());
    let encoded: Vec<_> = receipts.iter().map(|receipt| hex(&receipt.encode())).collect();
    let (refusal, refused) = refusal();
    let items = json!([{ "receipts": { "receipts": encoded } }, { "refused": refused }]);
    (
        Response::Written(vec![Ok(receipts), Err(refusal)]),
        0,
        json!({ "written": { "items": items } }),
    )
}

fn records() -> Answer {
    let record = file::stored_record();
    let (refusal, refused) = refusal();
    let heads = json!({ "heads": { "records": [hex(&record.encode())] } });
    let items = json!([heads, { "heads": {} }, { "refused": refused }]);
    let response =
        Response::Records(vec![Ok(vec![Arc::new(record)]), Ok(Vec::new()), Err(refusal)]);
    (response, 0, json!({ "records": { "items": items } }))
}

fn stripe() -> Answer {
    let indices = vec![ShardIndex(0), ShardIndex(2)];
    let fields = json!({ "indices": "0002", "commit": hex(&commit().encode()) });
    (
        Response::Stripe { indices, commit: Some(commit()), tombstone: None },
        0,
        json!({ "stripe": fields }),
    )
}

fn network_table() -> Answer {
    let view = PairView { record: first_epoch(), alive: [true, false] };
    let fields = json!({
        "cards": [hex(&signed_card().encode())],
        "pairs": [{ "record": hex(&first_epoch().encode()), "primary_alive": true }],
        "next": 2,
    });
    let table = Table { cards: vec![signed_card()], pairs: vec![view], next: Some(2) };
    (Response::Table(Box::new(table)), 0, json!({ "table": fields }))
}

fn signed_pair() -> Answer {
    let message = json!({ "pair": hex(&first_epoch().encode()) });
    (Response::Pair(Box::new(first_epoch())), 0, message)
}

pub(crate) fn gossip() -> Vec<Value> {
    let query = json!({ "query": {
        "locator": LOCATOR.full(), "asker": ASKER.full(), "query": 7,
    } });
    let told = [
        (Gossip::Card(Box::new(signed_card())), json!({ "card": hex(&signed_card().encode()) })),
        (Gossip::Pair(Box::new(first_epoch())), json!({ "pair": hex(&first_epoch().encode()) })),
        (Gossip::Query { locator: LOCATOR, asker: ASKER, query: 7 }, query),
    ];
    let vector = |(gossip, message): (Gossip, Value)| {
        json!({
            "message": message,
            "encoded": hex(&encode_gossip(&gossip)),
            "message_id": gossip.id().full(),
        })
    };
    told.into_iter().chain(repair::gossip()).map(vector).collect()
}
