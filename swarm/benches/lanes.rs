//! What lanes cost: bulk bytes one way, and small exchanges, between two nodes of one
//! process over the loopback interface. The processor time is both ends' together.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports and stops")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{Gossip, ReadShard, Request, Response, ShardKey};
use defs_core::port::{Peers, Reply, Service, Verdict};
use defs_swarm::{Swarm, SwarmConfig, SwarmHandle};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

const SHARD: usize = 1_468_416;
const SHARDS: usize = 1000;
const SMALL: usize = 40_000;

/// Takes what is sent, and sends what is asked for.
struct Sink(Bytes);

impl Service for Sink {
    async fn serve(&self, _: NodeId, request: Request, mut body: Body) -> Reply {
        while body.next().await.unwrap().is_some() {}
        match request {
            Request::ReadShard(_) => Reply {
                response: Response::Shard { length: self.0.len() as u64 },
                body: Body::whole(self.0.clone()),
            },
            _ => Reply::bare(Response::Alive),
        }
    }

    fn hear(&self, _: Gossip) -> Verdict {
        Verdict::Ignore
    }

    fn gone(&self, _: NodeId) {}
}

fn config(seed: u8, at: &str) -> SwarmConfig {
    SwarmConfig::new(Zeroizing::new([seed; 32]), vec![at.parse().unwrap()])
}

/// Processor time of this process so far, in Linux's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn store() -> Request {
    // Any request may carry a body; a heartbeat costs the least besides.
    Request::ReadRecords { keys: Vec::new() }
}

fn read() -> Request {
    let key = ShardKey { stripe: StripeId([0; 32]), index: ShardIndex(0) };
    Request::ReadShard(ReadShard { key, range: None })
}

fn heartbeat() -> Request {
    Request::Heartbeat { pair: PairId([1; 16]), epoch: Epoch(1) }
}

/// Runs `count` calls over `lanes` tasks, and reports what they took.
async fn measure<F: Future<Output = ()> + Send>(
    name: &str,
    (count, lanes, bytes): (usize, usize, usize),
    call: impl Fn() -> F + Clone + Send + Sync + 'static,
) {
    let (began, cpu_before) = (Instant::now(), cpu());
    let mut calls = JoinSet::new();
    for _ in 0..lanes {
        let call = call.clone();
        calls.spawn(async move {
            for _ in 0..count / lanes {
                call().await;
            }
        });
    }
    calls.join_all().await;
    let (took, used) = (began.elapsed().as_secs_f64(), (cpu() - cpu_before).as_secs_f64());
    let (total, done) = ((count * bytes) as f64, count as f64);
    println!(
        "{name:<28} {:>7.0} MB/s {:>6.2} core-s/GiB {:>8.1} us/call {:>7.1} us CPU/call",
        total / took / 1e6,
        used / (total / f64::from(1 << 30)),
        took / done * 1e6,
        used / done * 1e6,
    );
}

async fn node(seed: u8, at: &str) -> (SwarmHandle, defs_swarm::Running) {
    let swarm = Swarm::start(config(seed, at)).await.unwrap();
    let shard = Bytes::from(vec![7; SHARD]);
    (swarm.handle(), swarm.serve(Arc::new(Sink(shard))))
}

async fn bench(transport: &str) {
    let ((asked, _one), (asking, _other)) =
        (node(1, "127.0.0.1:0").await, node(2, "127.0.0.1:0").await);
    let addresses: Vec<_> =
        asked.local_addresses().into_iter().filter(|address| address.contains(transport)).collect();
    asking.learn(asked.me(), &addresses);
    let to = asked.me();
    for lanes in [1, 2, 4] {
        let (asking, shard) = (asking.clone(), Bytes::from(vec![9; SHARD]));
        measure(&format!("{transport} up, {lanes} lanes"), (SHARDS, lanes, SHARD), move || {
            let (asking, body) = (asking.clone(), Body::whole(shard.clone()));
            async move { drop(asking.call(to, store(), body).await.unwrap()) }
        })
        .await;
    }
    for lanes in [1, 2, 4] {
        let asking = asking.clone();
        measure(&format!("{transport} down, {lanes} lanes"), (SHARDS, lanes, SHARD), move || {
            let asking = asking.clone();
            async move {
                let mut body = asking.call(to, read(), Body::empty()).await.unwrap().body;
                while body.next().await.unwrap().is_some() {}
            }
        })
        .await;
    }
    for lanes in [1, 4, 16] {
        let asking = asking.clone();
        measure(&format!("{transport} small, {lanes} lanes"), (SMALL, lanes, 1), move || {
            let asking = asking.clone();
            async move { drop(asking.call(to, heartbeat(), Body::empty()).await.unwrap()) }
        })
        .await;
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for transport in ["tcp", "quic"] {
        bench(transport).await;
    }
}
