//! The codec's published vectors, made from the code: the example prints them, the test
//! compares them with the file.

use defs_codec::{
    SealedStripe, SealingKey, Shards, StripeSecret, Terms, derive, encode, seal, seal_stripe,
    share_digest,
};
use defs_core::digest::shard_id;
use defs_core::format::Format;
use defs_core::geometry::Geometry;
use defs_core::ids::{ShardIndex, hex};
use defs_core::statement::Lock;
use serde_json::{Value, json};

const ABOUT: &str = "Binary values are hexadecimal. `pattern(n)` is the n bytes i mod 251, i from \
    0. `id` is plain BLAKE3. Made by `cargo run -p defs-codec --example codec_vectors`.";

/// Everything, in the order in which a reader implements it.
#[must_use]
pub(crate) fn document() -> Value {
    json!({
        "about": ABOUT,
        "derive": derivations(),
        "seal": frames(),
        "erasure": [coded(2, 1, 11), coded(10, 4, 150), coded(1, 2, 3), coded(3, 2, 600)],
        "stripe secret": [secret(2, 1), secret(10, 4), secret(1, 2)],
        "stripe": [stripe(2, 1, 11), stripe(10, 4, 1000), stripe(1, 2, 5)],
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

fn geometry(data: u32, parity: u32) -> Geometry {
    Geometry::new(data, parity).expect("a geometry of the vectors")
}

fn derivations() -> Value {
    let lists: [&[&[u8]]; 5] = [&[], &[b""], &[b"commit"], &[b"shard", &[3]], &[b"shar", b"d\x03"]];
    let derivation = |parts: &[&[u8]]| {
        json!({
            "secret": hex(&pattern(32)),
            "parts": parts.iter().map(|part| hex(part)).collect::<Vec<_>>(),
            "derived": hex(&*derive(&pattern(32), parts)),
        })
    };
    lists.into_iter().map(derivation).collect()
}

fn frames() -> Value {
    let frame = |length: usize| {
        let key = || SealingKey::from_bytes([7; 32]);
        let label = b"defs/1 test";
        let sealed = seal(key(), label, &pattern(length));
        json!({
            "key": hex(&[7; 32]),
            "commitment": hex(&key().commitment()),
            "label": hex(label),
            "plain": format!("pattern({length})"),
            "sealed length": sealed.len(),
            "sealed": if sealed.len() < 256 { json!(hex(&sealed)) } else { Value::Null },
            "id": shard_id(&sealed).full(),
        })
    };
    [0, 1, 100, 65_535, 65_536, 65_537, 200_000].into_iter().map(frame).collect()
}

fn coded(data: u32, parity: u32, length: usize) -> Value {
    let shards: Shards = encode(geometry(data, parity), pattern(length));
    json!({
        "geometry": [data, parity],
        "coded": format!("pattern({length})"),
        "shard length": shards.shard_length(),
        "shards": shards.iter().map(|(_, shard)| hex(shard)).collect::<Vec<_>>(),
    })
}

fn secret(data: u32, parity: u32) -> Value {
    let secret = StripeSecret::from_bytes([0x51; 32]);
    let tag = secret.tag();
    let shares = secret.shares(geometry(data, parity));
    let keys = [0, data + parity - 1].map(|index| {
        let index = ShardIndex(u8::try_from(index).expect("at most 200 shards"));
        json!({ "index": index, "commitment": hex(&secret.shard_key(index).commitment()) })
    });
    json!({
        "secret": hex(&[0x51; 32]),
        "geometry": [data, parity],
        "tag": tag.full(),
        "shard keys": keys,
        "shares": shares.iter().map(|share| hex(&*share.bytes)).collect::<Vec<_>>(),
        "share digests": shares.iter().map(|share| share_digest(&tag, share).full()).collect::<Vec<_>>(),
    })
}

fn stripe(data: u32, parity: u32, length: usize) -> Value {
    let lock = Lock::new(vec![0x51, 0x87]).expect("a lock of the vectors");
    let terms = Terms { generation: 1, per_pair: 2, lock };
    let secret = StripeSecret::from_bytes([0x51; 32]);
    let SealedStripe { descriptor, shards } =
        seal_stripe(secret, geometry(data, parity), pattern(length), terms.clone());
    json!({
        "secret": hex(&[0x51; 32]),
        "geometry": [data, parity],
        "coded": format!("pattern({length})"),
        "generation": terms.generation,
        "shards per pair": terms.per_pair,
        "lock": hex(terms.lock.script()),
        "first sealed shard": hex(&shards[0].bytes),
        "shard ids": descriptor.shards.iter().map(|id| id.full()).collect::<Vec<_>>(),
        "descriptor": hex(&descriptor.encode()),
        "stripe id": descriptor.id().full(),
    })
}
