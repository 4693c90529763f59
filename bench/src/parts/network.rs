//! One lane of one connection over loopback, through TCP, Noise and Yamux, with shards as
//! bodies. Both ends are in this process, so the processor time is both's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use defs_core::body::Body;
use defs_core::ids::{NodeId, ShardIndex, StripeId};
use defs_core::message::{Gossip, ReadShard, Request, Response, ShardKey};
use defs_core::port::{Peers, Reply, Service, Verdict};
use defs_port_suite::disk::noise;
use defs_swarm::{Running, Swarm, SwarmConfig, SwarmHandle};
use zeroize::Zeroizing;

use crate::ceiling::{Part, Parts, Shape};
use crate::meter::{Meter, Spent};

/// Shards in a lap: long enough for the clock of the processor time.
const SHARDS: usize = 64;

/// Takes what is sent, and sends its shard to whoever asks.
struct Holder(Bytes);

impl Service for Holder {
    async fn serve(&self, _: NodeId, request: Request, mut body: Body) -> Reply {
        // A body that breaks off fails its sender's call too.
        while let Ok(Some(_)) = body.next().await {}
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

pub(super) async fn measure(dose: Duration, shape: Shape) -> Result<Parts> {
    let shard = noise(2, usize::try_from(shape.sealed_shard())?);
    let (holder, serves) = node(1, &shard).await?;
    let (owner, asks) = node(2, &shard).await?;
    let addresses = holder.local_addresses();
    let tcp: Vec<_> = addresses.into_iter().filter(|address| address.contains("/tcp/")).collect();
    owner.learn(holder.me(), &tcp);
    let to = holder.me();
    let sent = laps(dose, shard.len(), async || send(&owner, to, &shard).await).await?;
    let fetched = laps(dose, shard.len(), async || fetch(&owner, to).await).await?;
    asks.shutdown().await;
    serves.shutdown().await;
    Ok([(Part::Send, sent), (Part::Fetch, fetched)].into())
}

async fn node(seed: u8, shard: &Bytes) -> Result<(SwarmHandle, Running)> {
    let listen = "127.0.0.1:0".parse().context("an address")?;
    let config = SwarmConfig::new(Zeroizing::new([seed; 32]), vec![listen]);
    let swarm = Swarm::start(config).await?;
    Ok((swarm.handle(), swarm.serve(Arc::new(Holder(shard.clone())))))
}

/// One exchange after the other, so that one lane carries them.
async fn laps(
    dose: Duration,
    length: usize,
    exchange: impl AsyncFn() -> Result<()>,
) -> Result<Spent> {
    // The first one connects.
    exchange().await?;
    let mut meter = Meter::new(dose);
    while meter.goes_on() {
        let lap = Meter::begin()?;
        for _ in 0..SHARDS {
            exchange().await?;
        }
        meter.end(&lap, SHARDS * length)?;
    }
    Ok(meter.spent())
}

async fn send(from: &SwarmHandle, to: NodeId, shard: &Bytes) -> Result<()> {
    // Any request may carry a body; this one is the shortest.
    let request = Request::ReadRecords { keys: Vec::new() };
    from.call(to, request, Body::whole(shard.clone())).await?;
    Ok(())
}

async fn fetch(from: &SwarmHandle, to: NodeId) -> Result<()> {
    let key = ShardKey { stripe: StripeId([0; 32]), index: ShardIndex(0) };
    let request = Request::ReadShard(ReadShard { key, range: None });
    let mut body = from.call(to, request, Body::empty()).await?.body;
    while body.next().await?.is_some() {}
    Ok(())
}
