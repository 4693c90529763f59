//! What a node's store takes in and gives out, and a plain file that is synced, as the one
//! that a download ends in.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use defs_core::ids::StripeTag;
use defs_core::port::{Change, Disk};
use defs_port_suite::disk::{NETWORK, Sample, noise};
use defs_store::{Store, StoreConfig};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::ceiling::{Part, Parts, Shape};
use crate::meter::{Meter, Spent};

/// Shards in a lap.
const SHARDS: u64 = 64;

/// Shards that are stored side by side, as nodes do.
const AT_ONCE: usize = 16;

/// A file of a lap, and each write to it.
const FILE: usize = 128 << 20;
const WRITE: usize = 16 << 20;

pub(super) async fn measure_store(dose: Duration, shape: Shape, folder: &Path) -> Result<Parts> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = Store::open(StoreConfig::new(folder.path().to_owned(), 1 << 36, NETWORK))?;
    let shard = Sample::of_bytes(0, noise(3, usize::try_from(shape.sealed_shard())?));
    let (mut stored, mut read) = (Meter::new(dose), Meter::new(dose));
    let mut stripe = 0;
    while stored.goes_on() {
        let shards: Vec<_> = (stripe..stripe + SHARDS).map(|tag| of_stripe(&shard, tag)).collect();
        stripe += SHARDS;
        let bytes = shards.len() * shard.sealed.len();
        let lap = Meter::begin()?;
        all(&shards, async |shard| Ok(shard.store(&store).await?)).await?;
        stored.end(&lap, bytes)?;
        let lap = Meter::begin()?;
        all(&shards, async |shard| drain(&store, shard).await).await?;
        read.end(&lap, bytes)?;
        let delete = |shard: &Sample| Change::DeleteShard(shard.key());
        store.apply(shards.iter().map(delete).collect()).await?;
    }
    Ok([(Part::StoreShards, stored.spent()), (Part::ReadShards, read.spent())].into())
}

/// The same bytes in another stripe: nothing need be hashed to make it.
fn of_stripe(shard: &Sample, tag: u64) -> Sample {
    let mut head = (*shard.head).clone();
    let mut bytes = [1; StripeTag::SIZE];
    bytes[..8].copy_from_slice(&tag.to_le_bytes());
    head.descriptor.body.tag = StripeTag(bytes);
    Sample { head: Arc::new(head), ..shard.clone() }
}

async fn all(shards: &[Sample], step: impl AsyncFn(&Sample) -> Result<()>) -> Result<()> {
    let steps = futures::stream::iter(shards).map(|shard| step(shard));
    steps.buffer_unordered(AT_ONCE).try_collect().await
}

async fn drain(store: &Store, shard: &Sample) -> Result<()> {
    let mut body = store.read(shard.key(), 0..shard.length()).await?;
    while body.next().await?.is_some() {}
    Ok(())
}

pub(super) fn measure_file(dose: Duration, folder: &Path) -> Result<Spent> {
    let folder = tempfile::tempdir_in(folder)?;
    let (bytes, path) = (noise(4, WRITE), folder.path().join("file"));
    let mut meter = Meter::new(dose);
    while meter.goes_on() {
        let lap = Meter::begin()?;
        write(&path, &bytes)?;
        meter.end(&lap, FILE)?;
        std::fs::remove_file(&path)?;
    }
    Ok(meter.spent())
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for _ in 0..FILE / WRITE {
        file.write_all(bytes)?;
    }
    file.sync_all()
}
