//! A stage for scenarios: a cluster in still weather, told step by step what happens.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use defs_client::{FileRef, GetError, Put, PutError, PutOptions, Source, Ticket};
use defs_core::ids::{NodeId, StripeId};
use defs_core::mode::{Durability, Mode, Wish};
use defs_core::network::PairRecord;
use defs_core::size::Size;
use defs_engine::Timings;
use defs_port_suite::Host;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::ledger::Content;
use crate::owner::{Owner, get};
use crate::pace::Pace;
use crate::ports::SimClient;
use crate::trace::Trace;

/// How long pairs may take to form, and anything that a scenario waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster whose pairs have formed.
#[derive(Debug)]
pub struct Scene {
    /// What happens to whom.
    pub cluster: Cluster,
    /// The pairs, in the order of their ids.
    pub pairs: Vec<PairRecord>,
    owners: u64,
}

/// An owner at work.
#[derive(Debug)]
pub struct Actor {
    /// The owner.
    pub owner: Owner,
    /// Its client.
    pub client: SimClient,
    /// The client's machine.
    pub host: Arc<Host>,
}

impl Scene {
    /// `nodes` at a twentieth of the usual times.
    pub async fn with(nodes: usize) -> Result<Self> {
        Self::timed(nodes, Pace::Fast.timings()).await
    }

    /// `nodes` that go by `timings`, over the fast network.
    pub async fn timed(nodes: usize, timings: Timings) -> Result<Self> {
        let weather = defs_port_suite::Weather { doubled: 0, ..Pace::Fast.weather() };
        let mut cluster = Cluster::new(nodes as u64, Trace::new(0, None), timings, weather);
        for _ in 0..nodes {
            cluster.add().await;
        }
        ensure!(cluster.pairs_form(nodes / 2, PATIENCE).await, "not all pairs formed");
        let pairs = cluster.pairs().values().cloned().collect();
        Ok(Self { cluster, pairs, owners: 0 })
    }

    /// Another owner.
    pub async fn owner(&mut self) -> Result<Actor> {
        self.owners += 1;
        let mut owner = Owner::new(self.owners, &self.cluster)?;
        let (client, host) = owner.open().await?;
        Ok(Actor { owner, client, host })
    }

    /// Waits until `holds`.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Cluster) -> bool) -> Result<()> {
        let over = Instant::now() + PATIENCE;
        while !holds(&self.cluster) {
            if Instant::now() >= over {
                bail!("{what}: not within {PATIENCE:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The pair that `node` is in.
    pub fn pair_of(&self, node: NodeId) -> Option<&PairRecord> {
        self.pairs.iter().find(|pair| pair.members.contains(&node))
    }

    /// Nodes that hold shards of `stripe`.
    #[must_use]
    pub fn holders(&self, stripe: StripeId) -> Vec<NodeId> {
        holders(&self.cluster, stripe)
    }

    /// Nothing passes between `some` and all others any more.
    pub fn cut_off(&self, some: &[NodeId]) {
        for one in some {
            for other in self.cluster.machines.keys().filter(|other| !some.contains(other)) {
                self.cluster.network.cut(*one, *other);
                self.cluster.network.cut(*other, *one);
            }
        }
    }
}

/// Nodes of `cluster` that hold shards of `stripe`.
#[must_use]
pub fn holders(cluster: &Cluster, stripe: StripeId) -> Vec<NodeId> {
    let has = |disk: &defs_port_suite::MemoryDisk| {
        disk.shards().iter().any(|(key, ..)| key.stripe == stripe)
    };
    let machines = cluster.machines.iter().filter(|(_, machine)| has(&machine.disk));
    machines.map(|(node, _)| *node).collect()
}

impl Actor {
    /// Puts `content` under `name`.
    pub async fn put(&self, name: &str, content: Content, wish: Wish) -> Result<Put, PutError> {
        let source = Source::Bytes(content.bytes());
        Box::pin(self.client.put(source, PutOptions::new(name, wish))).await
    }

    /// Gets what stands under `name`.
    pub async fn get(&self, name: &str) -> Result<Vec<u8>, GetError> {
        Box::pin(get(&self.client, FileRef::Name(name.to_owned()))).await
    }

    /// Gets what `put` stored, as its ticket finds it.
    pub async fn get_by(&self, put: &Put) -> Result<Result<Vec<u8>, GetError>> {
        let ticket = Ticket::from_str(&put.ticket.to_text()).context("a ticket is none")?;
        Ok(Box::pin(get(&self.client, FileRef::Ticket(ticket))).await)
    }

    /// Stripes of what stands under `name`, and the pairs that hold their shards.
    pub async fn stripes(&self, name: &str) -> Result<Vec<StripeId>> {
        let status = self.client.stat(FileRef::Name(name.to_owned()), false).await?;
        Ok(status.slices.into_iter().map(|slice| slice.stripe).collect())
    }

    /// The client's machine ends, and starts again.
    pub async fn starts_again(mut self) -> Result<Self> {
        self.host.switch_off();
        drop(self.client);
        let (client, host) = self.owner.open().await?;
        Ok(Self { owner: self.owner, client, host })
    }
}

/// What an owner asks for who asks for nothing but a mode, with small slices.
#[must_use]
pub fn wish(mode: Mode) -> Wish {
    Wish {
        mode,
        data: None,
        parity: None,
        parity_permille: 400,
        durability: Durability::ONE_PAIR,
        shard_size: Size::kib(64),
        slice_min: Size::kib(64),
        slice_max: Size::kib(256),
        unsafe_placement: false,
    }
}

/// `data` and `parity` shards of each slice.
#[must_use]
pub fn coded(data: u32, parity: u32) -> Wish {
    Wish { data: Some(data), parity: Some(parity), ..wish(Mode::RsSize) }
}
