//! The network's own formats: genesis, admission, card, pair record, locator.

use defs_core::digest::{file_locator, stripe_locator};
use defs_core::format::Format;
use defs_core::ids::{Digest, Epoch, FileId, StripeTag, hex};
use defs_core::network::{
    Activity, Admission, Labels, NodeCard, PairRecord, Reach, SignedCard, SignedPairRecord,
};
use defs_core::statement::Statement;
use serde_json::{Value, json};

use super::cast::{
    INVITE, MIRROR, NEWCOMER, PRIMARY, WITNESSES, by_node, genesis, key, network, node, pair,
};

pub(crate) fn genesis_vector() -> Value {
    let genesis = genesis();
    json!({
        "random": hex(&genesis.random),
        "invite_key": hex(&genesis.invite_key),
        "encoded": hex(&genesis.encode()),
        "network": genesis.network().full(),
        "network_file": format!("{}\n", hex(&genesis.encode())),
    })
}

fn admission(number: u8) -> (Digest, [u8; 64]) {
    let statement = Admission { node: node(number) }.statement(&network());
    let signature = key(INVITE).sign(&statement).0;
    (statement, signature)
}

pub(crate) fn admission_vector() -> Value {
    let (statement, signature) = admission(PRIMARY);
    json!({
        "network": network().full(),
        "node": node(PRIMARY).full(),
        "by": "invite",
        "statement": statement.full(),
        "signed_digest": statement.full(),
        "signature": hex(&signature),
    })
}

pub(crate) fn signed_card() -> SignedCard {
    let card = NodeCard {
        key: key(PRIMARY).public().to_bytes(),
        sequence: 1_800_000_000_123,
        addresses: vec![
            "/ip4/192.0.2.1/tcp/4001".to_owned(),
            "/ip4/192.0.2.1/udp/4001/quic-v1".to_owned(),
        ],
        labels: Labels { host: "oak".to_owned(), zone: "rack-1".to_owned(), region: String::new() },
        capacity: 10 << 30,
        used: 3 << 20,
        activity: Activity::default(),
        reach: Reach::default(),
        admission: admission(PRIMARY).1,
    };
    let signature = key(PRIMARY).sign(&card.statement(&network())).0;
    SignedCard { card, signature }
}

pub(crate) fn card_vector() -> Value {
    let signed = signed_card();
    let (card, statement) = (&signed.card, signed.card.statement(&network()));
    json!({
        "network": network().full(),
        "key": hex(&card.key),
        "sequence": card.sequence,
        "addresses": card.addresses,
        "host": card.labels.host,
        "zone": card.labels.zone,
        "region": card.labels.region,
        "capacity": card.capacity,
        "used": card.used,
        "activity": "ready",
        "reach": "open",
        "admission": hex(&card.admission),
        "encoded": hex(&card.encode()),
        "statement": statement.full(),
        "signed_digest": statement.full(),
        "signature": hex(&signed.signature),
        "signed": hex(&signed.encode()),
    })
}

/// Epoch 1, signed by both members.
pub(crate) fn first_epoch() -> SignedPairRecord {
    let record = PairRecord {
        pair: pair(0xa1),
        epoch: Epoch(1),
        members: [node(PRIMARY), node(MIRROR)],
        witnesses: WITNESSES.map(node).to_vec(),
        previous: None,
    };
    signed_pair(record, &[PRIMARY, MIRROR])
}

/// Epoch 2: the mirror was lost. Both new members sign, and of epoch 1 the member that is
/// left and two witnesses.
fn second_epoch() -> SignedPairRecord {
    let before = first_epoch().record;
    let record = PairRecord {
        epoch: Epoch(2),
        members: [node(PRIMARY), node(NEWCOMER)],
        previous: Some(before.digest()),
        ..before
    };
    signed_pair(record, &[PRIMARY, NEWCOMER, WITNESSES[0], WITNESSES[1]])
}

fn signed_pair(record: PairRecord, by: &[u8]) -> SignedPairRecord {
    let statement = record.statement(&network());
    let signatures = by.iter().map(|number| by_node(*number, &statement)).collect();
    SignedPairRecord { record, signatures }
}

pub(crate) fn pair_vectors() -> Value {
    [first_epoch(), second_epoch()].iter().map(pair_vector).collect()
}

fn pair_vector(signed: &SignedPairRecord) -> Value {
    let (record, statement) = (&signed.record, signed.record.statement(&network()));
    let signatures = signed
        .signatures
        .iter()
        .map(|by| json!({ "key": hex(&by.key), "signature": hex(&by.signature) }));
    json!({
        "network": network().full(),
        "pair": record.pair.full(),
        "epoch": record.epoch.0,
        "primary": record.primary().full(),
        "mirror": record.mirror().full(),
        "witnesses": record.witnesses.iter().map(|node| node.full()).collect::<Vec<_>>(),
        "previous": record.previous.map(|digest| digest.full()),
        "encoded": hex(&record.encode()),
        "pair_record_id": record.digest().full(),
        "statement": statement.full(),
        "signed_digest": statement.full(),
        "signatures": signatures.collect::<Vec<_>>(),
        "signed": hex(&signed.encode()),
    })
}

pub(crate) fn locator_vectors() -> Value {
    let (file, tag) = (FileId([0x31; 32]), StripeTag([0x32; 16]));
    json!([
        {
            "network": network().full(),
            "file": file.full(),
            "locator": file_locator(&network(), &file).full(),
        },
        {
            "network": network().full(),
            "stripe_tag": tag.full(),
            "locator": stripe_locator(&network(), &tag).full(),
        },
    ])
}
