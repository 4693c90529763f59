//! One file from its bytes to the signed record of its manifest, and its deletion.

use defs_codec::{SealedStripe, SealingKey, StripeSecret, Terms, derive, seal, seal_stripe};
use defs_core::digest::file_id;
use defs_core::format::Format;
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, PairId, ShardIndex, StripeId, hex};
use defs_core::manifest::{FileHead, ManifestPage, SliceEntry, content_digest, slice_digest};
use defs_core::mode::Mode;
use defs_core::record::{Content, Record, RecordKey, RecordSet, SignedRecord};
use defs_core::statement::Signed;
use defs_core::stripe::{ShardHead, StripeDescriptor, Watched};
use serde_json::{Value, json};

use super::cast::{by_owner, lock, network, pair};

/// Opens the file: 32 random bytes, here a constant.
const SECRET: [u8; 32] = [0x21; 32];
const FILE_RANDOM: [u8; 32] = [0x22; 32];
const SLICE_SALT: [u8; 32] = [0x23; 32];
const RECORD_SALTS: [[u8; 32]; 2] = [[0x24; 32], [0x25; 32]];
const LENGTH: usize = 100;

/// The pairs of the three shards, by index.
fn places() -> Vec<PairId> {
    [0xa1, 0xa2, 0xa3].map(pair).to_vec()
}

fn geometry() -> Geometry {
    Geometry::new(2, 1).expect("2 + 1 is a geometry")
}

fn plain() -> Vec<u8> {
    (0..251).cycle().take(LENGTH).collect()
}

/// The slice's frame under the inner layer.
fn coded() -> Vec<u8> {
    let key = derive(&SECRET, &[b"slice", &0_u32.to_le_bytes(), &SLICE_SALT]);
    seal(key.into(), b"defs/1 slice", &plain())
}

fn stripe_secret() -> [u8; 32] {
    *derive(&SECRET, &[b"stripe", &0_u32.to_le_bytes(), &SLICE_SALT])
}

fn stripe() -> SealedStripe {
    let terms = Terms { generation: 0, per_pair: 1, lock: lock() };
    seal_stripe(StripeSecret::from_bytes(stripe_secret()), geometry(), coded(), terms)
}

pub(crate) fn stripe_id() -> StripeId {
    stripe().descriptor.id()
}

/// The head of shard 0 at its holders.
pub(crate) fn head() -> ShardHead {
    let SealedStripe { descriptor, shards } = stripe();
    let (mut signed, _) = by_owner(vec![descriptor]);
    let watched = [1, 2]
        .map(|index| Watched { index: ShardIndex(index), pair: places()[usize::from(index)] });
    ShardHead {
        descriptor: signed.remove(0),
        index: ShardIndex(0),
        share: *shards[0].share.bytes,
        watched: watched.to_vec(),
    }
}

fn entry() -> SliceEntry {
    SliceEntry {
        length: LENGTH as u64,
        digest: slice_digest(&plain()),
        salt: SLICE_SALT,
        stripe: stripe_id(),
        pairs: places(),
    }
}

fn page() -> ManifestPage {
    let head = FileHead {
        name: "Grüße.txt".to_owned(),
        length: LENGTH as u64,
        digest: content_digest([&entry().digest]),
        mode: Mode::RsSize,
        geometry: geometry(),
        pages: 1,
        inline: None,
    };
    ManifestPage { head: Some(head), slices: vec![entry()] }
}

pub(crate) fn record_key() -> RecordKey {
    RecordKey::manifest(file_id(lock().script(), &FILE_RANDOM), 0)
}

/// The key that seals version 1 of the record.
fn record_secret() -> [u8; 32] {
    let (file, page) = (record_key().file, record_key().page.to_le_bytes());
    let counter = 1_u64.to_le_bytes();
    let parts: [&[u8]; 6] = [b"record", b"manifest", &file.0, &page, &counter, &RECORD_SALTS[0]];
    *derive(&SECRET, &parts)
}

fn record(counter: u64, parents: Vec<Digest>, salt: [u8; 32], content: Content) -> Record {
    Record {
        key: record_key(),
        counter,
        parents,
        set: RecordSet { pairs: places(), version: 1 },
        lock: lock(),
        file_random: FILE_RANDOM,
        salt,
        content,
    }
}

/// The page as it is stored, and the version that deletes it, with what is to be seen.
fn versions() -> [(SignedRecord, Value); 2] {
    let sealed = seal(SealingKey::from_bytes(record_secret()), b"defs/1 record", &page().encode());
    let first = record(1, Vec::new(), RECORD_SALTS[0], Content::Sealed(sealed));
    let last = record(2, vec![first.hash()], RECORD_SALTS[1], Content::Deleted);
    [first, last].map(|record| {
        let (mut signed, mut values) = by_owner(vec![record]);
        (signed.remove(0), values.remove(0))
    })
}

/// The page as it is stored.
pub(crate) fn stored_record() -> SignedRecord {
    let [(first, _), _] = versions();
    first
}

pub(crate) fn vector() -> Value {
    let versions = versions().map(|(record, signed)| record_vector(&record, &signed));
    json!({
        "network": network().full(),
        "file_key": hex(&SECRET),
        "file_random": hex(&FILE_RANDOM),
        "file": record_key().file.full(),
        "content": format!("pattern({LENGTH})"),
        "slice": slice_vector(),
        "stripe": stripe_vector(),
        "head_of_shard_0": hex(&head().encode()),
        "manifest_page": hex(&page().encode()),
        "records": versions,
    })
}

fn slice_vector() -> Value {
    json!({
        "number": 0,
        "salt": hex(&SLICE_SALT),
        "digest": slice_digest(&plain()).full(),
        "content_digest": content_digest([&slice_digest(&plain())]).full(),
        "key": hex(&*derive(&SECRET, &[b"slice", &0_u32.to_le_bytes(), &SLICE_SALT])),
        "label": hex(b"defs/1 slice"),
        "frame": hex(&coded()),
    })
}

fn stripe_vector() -> Value {
    let SealedStripe { descriptor, shards } = stripe();
    let shard = |shard: &defs_codec::SealedShard| {
        json!({
            "share": hex(&*shard.share.bytes),
            "pair": places()[usize::from(shard.index.0)].full(),
            "sealed": hex(&shard.bytes),
        })
    };
    json!({
        "secret": hex(&stripe_secret()),
        "geometry": [2, 1],
        "generation": 0,
        "shards_per_pair": 1,
        "tag": descriptor.tag.full(),
        "shards": shards.iter().map(shard).collect::<Vec<_>>(),
        "stripe_id": descriptor.id().full(),
        "descriptor": descriptor_vector(descriptor),
    })
}

fn descriptor_vector(descriptor: StripeDescriptor) -> Value {
    let (_, mut values) = by_owner(vec![descriptor]);
    values.remove(0)
}

fn record_vector(signed: &Signed<Record>, value: &Value) -> Value {
    let record = &signed.body;
    let content = match record.content {
        Content::Sealed(_) => {
            json!({ "key": hex(&record_secret()), "label": hex(b"defs/1 record") })
        }
        Content::Deleted => json!("deleted"),
    };
    json!({
        "kind": "manifest",
        "page": record.key.page,
        "counter": record.counter,
        "parents": record.parents.iter().map(|parent| parent.full()).collect::<Vec<_>>(),
        "set": {
            "pairs": record.set.pairs.iter().map(|pair| pair.full()).collect::<Vec<_>>(),
            "version": record.set.version,
        },
        "salt": hex(&record.salt),
        "content": content,
        "record_key": hex(&record.key.encode()),
        "record_id": record.hash().full(),
        "signed": value,
    })
}

/// Pages that the file above doesn't need: one that carries a small file, and one of a
/// longer file whose slices share pairs.
pub(crate) fn page_vectors() -> Value {
    let content: Vec<u8> = (0..251).cycle().take(5).collect();
    let head = FileHead {
        name: "small".to_owned(),
        length: 5,
        digest: content_digest([&slice_digest(&content)]),
        mode: Mode::File,
        geometry: Geometry::new(1, 1).expect("1 + 1 is a geometry"),
        pages: 1,
        inline: Some(content),
    };
    let later = |number: u8, pairs: [u8; 3]| SliceEntry {
        length: 1 << 20,
        digest: Digest([number; 32]),
        salt: [number + 1; 32],
        stripe: StripeId([number + 2; 32]),
        pairs: pairs.map(pair).to_vec(),
    };
    let slices = vec![later(0x60, [3, 1, 2]), later(0x70, [4, 3, 1])];
    json!([
        page_vector("inline", &ManifestPage { head: Some(head), slices: Vec::new() }),
        page_vector("a later page", &ManifestPage { head: None, slices }),
    ])
}

fn page_vector(name: &str, page: &ManifestPage) -> Value {
    let head = page.head.as_ref().map(|head| {
        let (data, parity): (u8, u8) = head.geometry.into();
        json!({
            "name": head.name,
            "length": head.length,
            "content_digest": head.digest.full(),
            "mode": head.mode.to_string(),
            "geometry": [data, parity],
            "pages": head.pages,
            "inline": head.inline.as_ref().map(|bytes| hex(bytes)),
        })
    });
    let slice = |slice: &SliceEntry| {
        json!({
            "length": slice.length,
            "digest": slice.digest.full(),
            "salt": hex(&slice.salt),
            "stripe": slice.stripe.full(),
            "pairs": slice.pairs.iter().map(|pair| pair.full()).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": name,
        "head": head,
        "slices": page.slices.iter().map(slice).collect::<Vec<_>>(),
        "encoded": hex(&page.encode()),
    })
}
