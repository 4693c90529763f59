//! Many files of 4 KiB, 16 at a time, from one client process that stays open.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::large::memory;
use crate::machine::Machine;
use crate::meter::as_figure;
use crate::nodes::Nodes;
use crate::owner::Told;
use crate::process::{self, Ended, Output};
use crate::say;
use crate::table::{Row, Wanted};

/// What one small file takes of the disks, index and logs included, at most.
const ROOM_EACH: u64 = 64 << 10;

pub(crate) async fn measure(files: u32, machine: &Machine) -> Result<Vec<Row>> {
    let nodes = Nodes::start(u64::from(files) * ROOM_EACH).await?;
    say(&format!("{files} files of 4 KiB"))?;
    let before = nodes.cpu()?;
    let (told, ended) = owner(&nodes, files, 0).await?;
    let cpu = ended.cpu + nodes.cpu()? - before;
    // The fast machine's figures; a slow one is to reach half of them.
    let by = if machine.is_fast { 1.0 } else { 0.5 };
    let each = |seconds: f64| f64::from(files) / seconds.max(1e-9);
    Ok(vec![
        Row::new(format!("put {files} files of 4 KiB"), each(told.put_seconds), "files/s")
            .wanted(Wanted::AtLeast(1000.0 * by)),
        Row::new(format!("get {files} files of 4 KiB"), each(told.get_seconds), "files/s")
            .wanted(Wanted::AtLeast(5000.0 * by)),
        Row::new("both, client and nodes", cpu / as_figure(files.into()) * 1e3, "CPU ms a file"),
        memory("small files, client's peak", ended.peak, 400.0),
        memory("small files, node's peak", nodes.peak(), 256.0),
    ])
}

/// Runs a client that stays open, as a process of its own.
pub(crate) async fn owner(nodes: &Nodes, files: u32, lookups: u32) -> Result<(Told, Ended)> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let mut command = Command::new(program);
    command.arg("owner").arg("--home").arg(nodes.home());
    command.args(["--bootstrap", &nodes.addresses()?]);
    command.args(["--files", &files.to_string(), "--lookups", &lookups.to_string()]);
    let ended = process::run(command, Output::Kept).await?;
    let told = serde_json::from_slice(&ended.output).context("the client told something else")?;
    Ok((told, ended))
}
