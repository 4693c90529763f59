//! How fast shards are stored durably and read back: large ones (files) and small ones
//! (segments), one at a time and sixteen at once.
#![expect(clippy::unwrap_used, reason = "a measurement that fails has no value")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use defs_core::port::{Change, Disk};
use defs_port_suite::disk::{NETWORK, Sample, noise};
use defs_store::{Store, StoreConfig};
use futures::future::try_join_all;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const SIZES: [(&str, usize); 2] = [("1.6 MiB", 1_677_722), ("4 KiB", 4096)];
const AT_ONCE: [u64; 2] = [1, 16];

struct Bench {
    store: Store,
    runtime: Runtime,
    seed: u64,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::new(folder.path().to_path_buf(), 1 << 36, NETWORK);
        let runtime = Runtime::new().unwrap();
        Self { store: Store::open(config).unwrap(), runtime, seed: 0, _folder: folder }
    }

    fn samples(&mut self, count: u64, base: &[u8]) -> Vec<Sample> {
        let first = self.seed;
        self.seed += count;
        let sample = |seed: u64| {
            let mut sealed = base.to_vec();
            sealed[..8].copy_from_slice(&seed.to_le_bytes());
            Sample::of_bytes(seed, sealed.into())
        };
        (first..self.seed).map(sample).collect()
    }

    fn store(&self, samples: &[Sample]) -> Duration {
        let begun = Instant::now();
        self.runtime
            .block_on(try_join_all(samples.iter().map(|sample| sample.store(&self.store))))
            .unwrap();
        begun.elapsed()
    }

    fn read(&self, samples: &[Sample]) -> Duration {
        let begun = Instant::now();
        let read = async |sample: &Sample| {
            let range = 0..sample.length();
            let mut body = self.store.read(sample.key(), range).await.unwrap();
            while let Some(frame) = body.next().await.unwrap() {
                black_box(frame);
            }
        };
        self.runtime.block_on(futures::future::join_all(samples.iter().map(read)));
        begun.elapsed()
    }

    fn delete(&self, samples: &[Sample]) {
        let changes = samples.iter().map(|sample| Change::DeleteShard(sample.key())).collect();
        self.runtime.block_on(self.store.apply(changes)).unwrap();
    }
}

fn store_and_read(criterion: &mut Criterion) {
    let mut bench = Bench::new();
    for (name, size) in SIZES {
        let base = noise(7, size);
        for at_once in AT_ONCE {
            let mut group = criterion.benchmark_group(format!("{name} x{at_once}"));
            group.throughput(Throughput::Bytes(size as u64 * at_once));
            group.measurement_time(Duration::from_secs(4)).sample_size(20);
            for reads in [false, true] {
                let id = BenchmarkId::from_parameter(if reads { "read" } else { "store" });
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| {
                        let mut total = Duration::ZERO;
                        for _ in 0..times {
                            let samples = bench.samples(at_once, &base);
                            let stored = bench.store(&samples);
                            total += if reads { bench.read(&samples) } else { stored };
                            bench.delete(&samples);
                        }
                        total
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, store_and_read);
criterion_main!(benches);
