//! What heals.

use std::sync::Arc;

use defs_core::format::Format;
use defs_core::ids::{Digest, Epoch, PairId, ShardIndex, hex};
use defs_core::message::{
    Gossip, Item, ItemKind, Request, Response, SUMMARY_PARTS, ShardCopy, Summary,
};
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::statement::{Statement, Tombstone};
use defs_core::stripe::Watched;
use defs_core::wish::{SignedWish, Want, Wish};
use serde_json::{Value, json};

use super::super::cast::{INVITE, MIRROR, WITNESSES, by_node, by_owner, network, node, pair};
use super::super::network::first_epoch;
use super::super::{file, receipts};
use super::{Answer, LEASE_MS, LOCATOR, Sample, commit, key_fields, sealed_length, shard_key};

const EPOCH: Epoch = Epoch(1);

fn own() -> PairId {
    pair(0xa1)
}

pub(super) fn requests() -> Vec<Sample> {
    let asked = [ping(), probe(), confirm(), history(), summary()];
    let copied = [copy_shard(), copy_records(), copy_tombstones()];
    let rebuilt = [release(), stand_in(), take_records(), moved(), challenge()];
    asked.into_iter().chain(copied).chain(rebuilt).collect()
}

fn ping() -> Sample {
    (Request::Ping, 0, json!({ "ping": {} }))
}

fn probe() -> Sample {
    let silent = node(MIRROR);
    (Request::Probe { node: silent }, 0, json!({ "probe": silent.full() }))
}

fn confirm() -> Sample {
    let message = json!({ "confirm": { "pair": own().full(), "epoch": 1 } });
    (Request::Confirm { pair: own(), epoch: EPOCH }, 0, message)
}

fn history() -> Sample {
    let message = json!({ "history": { "pair": own().full(), "epoch": 1 } });
    (Request::History { pair: own(), after: EPOCH }, 0, message)
}

fn summary() -> Sample {
    let fields = json!({
        "pair": own().full(), "epoch": 1, "kind": "ITEM_KIND_RECORD", "prefix": "0a0b",
    });
    let (kind, prefix) = (ItemKind::Record, vec![0x0a, 0x0b]);
    let request = Request::Summary { pair: own(), epoch: EPOCH, kind, prefix };
    (request, 0, json!({ "summary": fields }))
}

fn copy_shard() -> Sample {
    let fields = json!({ "pair": own().full(), "epoch": 1, "key": key_fields() });
    let request = Request::CopyShard { pair: own(), epoch: EPOCH, key: shard_key() };
    (request, 0, json!({ "copy_shard": fields }))
}

fn copy_records() -> Sample {
    let key = file::record_key();
    let fields = json!({ "pair": own().full(), "epoch": 1, "keys": [hex(&key.encode())] });
    let request = Request::CopyRecords { pair: own(), epoch: EPOCH, keys: vec![key] };
    (request, 0, json!({ "copy_records": fields }))
}

fn copy_tombstones() -> Sample {
    let stripe = file::stripe_id();
    let fields = json!({ "pair": own().full(), "epoch": 1, "stripes": [stripe.full()] });
    let request = Request::CopyTombstones { pair: own(), epoch: EPOCH, stripes: vec![stripe] };
    (request, 0, json!({ "copy_tombstones": fields }))
}

fn release() -> Sample {
    let lost = pair(0xa2);
    let fields = json!({ "key": key_fields(), "lost": [{ "index": 1, "pair": lost.full() }] });
    let lost = vec![Watched { index: ShardIndex(1), pair: lost }];
    (Request::Release { key: shard_key(), lost }, 0, json!({ "release": fields }))
}

fn stand_in() -> Sample {
    let (key, lost, by) = (file::record_key(), pair(0xa2), pair(0xa3));
    let fields = json!({
        "keys": [hex(&key.encode())], "lost": lost.full(), "by": by.full(), "both": true,
    });
    let request = Request::StandIn { keys: vec![key], lost, by, both: true };
    (request, 0, json!({ "stand_in": fields }))
}

fn take_records() -> Sample {
    let (record, lost) = (file::stored_record(), pair(0xa2));
    let fields = json!({
        "pair": own().full(), "epoch": 1, "lost": lost.full(),
        "records": [hex(&record.encode())], "forward": true,
    });
    let records = vec![Arc::new(record)];
    let request = Request::TakeRecords { pair: own(), epoch: EPOCH, lost, records, forward: true };
    (request, 0, json!({ "take_records": fields }))
}

fn challenge() -> Sample {
    let fields = json!({
        "key": key_fields(), "nonce": hex(&[0x35; 32]), "range": { "start": 7, "end": 33 },
    });
    let request = Request::Challenge { key: shard_key(), nonce: [0x35; 32], range: 7..33 };
    (request, 0, json!({ "challenge": fields }))
}

fn moved() -> Sample {
    let notes = moved_notes();
    let encoded = hex(&notes.encode());
    (Request::Moved(Box::new(notes)), 0, json!({ "moved": encoded }))
}

fn moved_notes() -> MovedNotes {
    let receipts = receipts::of_shard(file::stripe_id(), ShardIndex(0));
    let receipts = [receipts[0].clone(), receipts[1].clone()];
    MovedNotes(vec![MovedNote { locator: LOCATOR, receipts }])
}

pub(super) fn responses() -> Vec<Answer> {
    let told = [reached(), epochs(), items(), parts()];
    told.into_iter().chain([copy(), tombstones(), released(), proof()]).collect()
}

fn reached() -> Answer {
    (Response::Reached(true), 0, json!({ "reached": true }))
}

fn epochs() -> Answer {
    let message = json!({ "history": { "records": [hex(&first_epoch().encode())] } });
    (Response::History(vec![first_epoch()]), 0, message)
}

fn items() -> Answer {
    let name = file::stripe_id().0.to_vec();
    let items = json!([{ "name": hex(&name), "digest": hex(&[0x36; 16]) }]);
    let summary = Summary::Items(vec![Item { name, digest: [0x36; 16] }]);
    (Response::Summary(summary), 0, json!({ "summary": { "items": { "items": items } } }))
}

fn parts() -> Answer {
    let parts: Vec<_> = (0_u8..=u8::MAX).map(|part| [part; 16]).collect();
    assert_eq!(parts.len(), SUMMARY_PARTS);
    let message = json!({ "summary": { "parts": hex(&parts.concat()) } });
    (Response::Summary(Summary::Parts(parts)), 0, message)
}

fn copy() -> Answer {
    let (head, commit) = (file::head(), commit());
    let fields = json!({
        "head": hex(&head.encode()), "lease_ms": LEASE_MS, "commit": hex(&commit.encode()),
    });
    let copy = ShardCopy { head: Arc::new(head), lease_ms: LEASE_MS, commit: Some(commit) };
    (Response::Copy(Box::new(copy)), sealed_length(), json!({ "copy": fields }))
}

fn tombstones() -> Answer {
    let (tombstones, _) = by_owner(vec![Tombstone { stripe: file::stripe_id() }]);
    let encoded: Vec<_> = tombstones.iter().map(|stone| hex(&stone.encode())).collect();
    (Response::Tombstones(tombstones), 0, json!({ "tombstones": { "tombstones": encoded } }))
}

fn released() -> Answer {
    let message = json!({ "released": hex(&[0x37; 32]) });
    (Response::Released { share: [0x37; 32] }, sealed_length(), message)
}

fn proof() -> Answer {
    let proof = Digest([0x38; 32]);
    (Response::Proof(proof), 0, json!({ "proof": proof.full() }))
}

pub(super) fn gossip() -> [(Gossip, Value); 3] {
    let notes = moved_notes();
    let wish = Wish { node: node(WITNESSES[0]), want: Want::Drain, sequence: 1_800_000_000_000 };
    let wish =
        SignedWish { wish, signature: by_node(INVITE, &wish.statement(&network())).signature };
    let (moved, wished) = (hex(&notes.encode()), hex(&wish.encode()));
    let (trace, wish) = (super::trace(), Box::new(wish));
    let in_trace = json!({ "wish": wished, "trace": hex(&trace.to_bytes()) });
    [
        (Gossip::Moved(Box::new(notes)), json!({ "moved": moved })),
        (Gossip::Wish { wish: wish.clone(), trace: None }, json!({ "wish": wished })),
        (Gossip::Wish { wish, trace: Some(trace) }, in_trace),
    ]
}
