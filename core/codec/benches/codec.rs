//! Throughput of each step that a byte passes, on one core:
//! `cargo bench -p defs-codec`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use defs_codec::stripe::CodedStripe;
use defs_codec::{
    SealingKey, Share, StripeSecret, Terms, UnsealedShard, combine, crc32, encode, open_into,
    rebuild_shards, restore, seal_into, seal_stripe,
};
use defs_core::digest::shard_id;
use defs_core::geometry::Geometry;
use defs_core::ids::ShardIndex;
use defs_core::statement::Lock;

const SLICE: usize = 16 << 20;

fn key() -> SealingKey {
    SealingKey::from_bytes([7; 32])
}

fn secret() -> StripeSecret {
    StripeSecret::from_bytes([7; 32])
}

fn slice() -> Vec<u8> {
    (0..=255).cycle().take(SLICE).collect()
}

#[expect(clippy::expect_used, reason = "10+4 is a geometry")]
fn geometry() -> Geometry {
    Geometry::new(10, 4).expect("10+4 is a geometry")
}

#[expect(clippy::expect_used, reason = "one byte is a lock")]
fn terms() -> Terms {
    Terms { generation: 0, per_pair: 4, lock: Lock::new(vec![1]).expect("one byte is a lock") }
}

fn sealing(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("slice of 16 MiB");
    group.throughput(Throughput::Bytes(SLICE as u64));
    let plain = slice();
    let mut sealed = Vec::new();
    group.bench_function("seal", |bench| {
        bench.iter(|| {
            sealed.clear();
            seal_into(key(), b"bench", black_box(&plain), &mut sealed);
        });
    });
    let mut opened = vec![0; SLICE];
    group.bench_function("open", |bench| {
        bench.iter(|| open_into(&key(), b"bench", black_box(&sealed), &mut opened));
    });
    group.bench_function("BLAKE3", |bench| bench.iter(|| shard_id(black_box(&plain))));
    group.bench_function("CRC32", |bench| bench.iter(|| crc32(black_box(&plain))));
    group.finish();
}

fn coding(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("slice of 16 MiB in 10+4");
    group.throughput(Throughput::Bytes(SLICE as u64));
    let padded = || {
        let mut slice = slice();
        slice.reserve(64);
        slice
    };
    group.bench_function("encode", |bench| {
        bench.iter_batched(padded, |slice| encode(geometry(), slice), BatchSize::LargeInput);
    });
    let shards = encode(geometry(), slice());
    let all: Vec<_> = shards.iter().collect();
    for lost in [0, 1, 4] {
        group.bench_function(format!("restore with {lost} data shards lost"), |bench| {
            bench.iter(|| restore(geometry(), SLICE as u64, black_box(&all[lost..])));
        });
    }
    group.finish();
}

fn stripes(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("stripe of 16 MiB in 10+4");
    group.throughput(Throughput::Bytes(SLICE as u64));
    group.bench_function("encode, seal and name", |bench| {
        bench.iter_batched(
            slice,
            |slice| {
                let stripe = CodedStripe::new(secret(), geometry(), slice);
                let sealed = stripe.shards().map(UnsealedShard::seal).collect();
                stripe.finish(sealed, terms())
            },
            BatchSize::LargeInput,
        );
    });
    let stripe = seal_stripe(secret(), geometry(), slice(), terms());
    let part = |place: usize| {
        let shard = &stripe.shards[place];
        (Share::new(shard.index, *shard.share.bytes), &shard.bytes[..])
    };
    let parts: Vec<_> = (4..14).map(part).collect();
    group.bench_function("rebuild one shard", |bench| {
        bench.iter(|| rebuild_shards(&stripe.descriptor, &parts, &[ShardIndex(0)]));
    });
    group.bench_function("rebuild three shards", |bench| {
        bench.iter(|| rebuild_shards(&stripe.descriptor, &parts, &[0, 1, 2].map(ShardIndex)));
    });
    group.finish();
}

fn shares(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("shares of 10+4");
    group.bench_function("split", |bench| bench.iter(|| secret().shares(geometry())));
    let shares = secret().shares(geometry());
    group.bench_function("combine", |bench| {
        bench.iter(|| combine(&secret().tag(), geometry(), &shares[4..]));
    });
    group.finish();
}

criterion_group!(benches, sealing, coding, stripes, shares);
criterion_main!(benches);
