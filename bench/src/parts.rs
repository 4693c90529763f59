//! Each part alone, in the sizes in which the whole uses it.

mod compute;
mod disk;
mod network;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::ceiling::{Part, Parts, Shape};
use crate::say;

/// Measures all of them, each for `dose`. What the disk's are written to lies in `folder`.
pub(crate) async fn measure(dose: Duration, shape: Shape, folder: &Path) -> Result<Parts> {
    let mut parts = Parts::new();
    say("the parts alone: sealing, coding, hashing, signing")?;
    // On a thread of its own, so that Ctrl-C is heard.
    let computing = tokio::task::spawn_blocking(move || compute::measure(dose, shape));
    parts.extend(computing.await??);
    say("the parts alone: a libp2p connection over loopback")?;
    parts.extend(network::measure(dose, shape).await?);
    say("the parts alone: disk")?;
    parts.extend(disk::measure_store(dose, shape, folder).await?);
    let folder = folder.to_owned();
    let writing = tokio::task::spawn_blocking(move || disk::measure_file(dose, &folder));
    parts.insert(Part::WriteFile, writing.await??);
    Ok(parts)
}
