//! One large file up, down, and down with a pair gone, by the `defs` command on ten nodes;
//! and what is stored for it.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use defs_core::size::Size;
use defs_e2e::noise_file;

use crate::args::Dose;
use crate::ceiling::Ceiling;
use crate::machine::Machine;
use crate::meter::{GIB, as_figure};
use crate::nodes::Nodes;
use crate::process::Ended;
use crate::run::Ceilings;
use crate::say;
use crate::table::{Row, Wanted};

pub(crate) const RS_SIZE: [&str; 6] = ["--mode", "rs-size", "--data", "10", "--parity", "4"];
const RS_PROPORTION: [&str; 2] = ["--mode", "rs-proportion"];

/// Files that are put to see what is stored of them: enough that what a node's index
/// takes by itself counts little.
const FILES_16M: u64 = 8;
const FILES_1M: u64 = 64;

/// Bytes of memory that figures are told in.
const MIB: u64 = 1 << 20;

/// One way of the file.
#[derive(Debug, Clone, Copy)]
struct Moved {
    wall: f64,
    client_cpu: f64,
    nodes_cpu: f64,
    client_peak: u64,
}

/// Rounds of one way.
struct Rounds {
    name: &'static str,
    size: Size,
    moved: Vec<Moved>,
}

impl Rounds {
    fn new(name: &'static str, size: Size) -> Self {
        Self { name, size, moved: Vec::new() }
    }

    fn rows(mut self, ceiling: Option<Ceiling>, share: f64) -> Vec<Row> {
        let Self { name, size, .. } = self;
        self.moved.sort_by(|one, other| one.wall.total_cmp(&other.wall));
        let Some(Moved { wall, client_cpu, nodes_cpu, .. }) =
            self.moved.get(self.moved.len() / 2).copied()
        else {
            return Vec::new();
        };
        let peak = self.moved.iter().map(|moved| moved.client_peak).max().unwrap_or(0);
        let bytes = as_figure(size.0);
        let each = |seconds: f64| seconds / bytes * GIB;
        let speed = Row::new(format!("{name} {size} in 10+4"), bytes / wall / 1e6, "MB/s")
            .cpu(each(client_cpu + nodes_cpu))
            .ceiling(ceiling.map(|ceiling| ceiling.speed / 1e6))
            .wanted(Wanted::Share(share));
        vec![
            speed,
            Row::new(format!("{name}, of it the client"), each(client_cpu), "CPU s/GiB"),
            Row::new(format!("{name}, of it the nodes"), each(nodes_cpu), "CPU s/GiB"),
            memory(format!("{name}, client's peak"), peak, 400.0),
        ]
    }

    fn cpu_each(&self) -> f64 {
        let cpu = self.moved.iter().map(|moved| moved.client_cpu + moved.nodes_cpu).sum::<f64>();
        cpu / as_figure(self.moved.len() as u64) / as_figure(self.size.0) * GIB
    }
}

pub(crate) async fn measure(
    dose: Dose,
    ceilings: &Ceilings,
    machine: &Machine,
) -> Result<Vec<Row>> {
    let Dose { size, rounds, .. } = dose;
    // The file; of each round what is stored and two copies.
    let room = size.0.saturating_mul(5).saturating_mul(u64::from(rounds) + 1);
    let mut nodes = Nodes::start(room).await?;
    let source = nodes.home().join("source");
    noise_file(&source, 1, size.0)?;
    File::open(&source)?.sync_all()?;
    let digest = digest_of(&source)?;
    let mut rows = vec![
        Row::new("`defs up` of ten new nodes, until all pairs stand", nodes.founded, "s"),
        Row::new("`defs up` again, until all are ready", nodes.ready, "s")
            .wanted(Wanted::AtMost(1.0)),
        memory("node, idle", nodes.idle, 48.0),
    ];

    let empty = nodes.stored()?;
    let mut upload = Rounds::new("upload", size);
    for round in 0..rounds {
        say(&format!("upload {} of {rounds}", round + 1))?;
        let mut args = vec!["put", path(&source)?, "--name"];
        let name = name_of(round);
        args.push(&name);
        args.extend(RS_SIZE);
        upload.moved.push(moved(&nodes, &args).await?);
    }
    let stored = (nodes.stored()? - empty) / as_figure(size.0) / f64::from(rounds);
    let mut download = Rounds::new("download", size);
    for round in 0..rounds {
        say(&format!("download {} of {rounds}", round + 1))?;
        download.moved.push(get(&nodes, round, "copy", &digest).await?);
    }
    let small_stored = stored_of_small(&nodes).await?;
    let peak = nodes.peak();

    say("killing a pair")?;
    nodes.kill_a_pair()?;
    let mut degraded = Rounds::new("download without a pair", size);
    for round in 0..rounds {
        say(&format!("download without a pair, {} of {rounds}", round + 1))?;
        degraded.moved.push(get(&nodes, round, "other", &digest).await?);
    }

    if machine.is_fast {
        let row = Row::new("upload, client and nodes", upload.cpu_each(), "CPU s/GiB");
        rows.push(row.wanted(Wanted::AtMost(8.0)));
    }
    rows.extend(upload.rows(ceilings.upload, 0.6));
    rows.extend(download.rows(ceilings.download, 0.6));
    rows.extend(degraded.rows(ceilings.degraded, 0.5));
    rows.push(memory("node, peak under load", peak.max(nodes.peak()), 256.0));
    rows.push(stored_row(format!("stored of {size} in rs-size"), stored, 2.8 * 1.02));
    rows.extend(small_stored);
    Ok(rows)
}

/// The client's memory with one file of `size`, which takes no room itself: it has a
/// length and no bytes, and comes back into nothing.
pub(crate) async fn measure_memory(size: Size) -> Result<Vec<Row>> {
    let nodes = Nodes::start(size.0.saturating_mul(3)).await?;
    let source = nodes.home().join("source");
    File::create(&source)?.set_len(size.0)?;
    let mut upload = Rounds::new("upload", size);
    say(&format!("upload of {size}"))?;
    let mut args = vec!["put", path(&source)?, "--name", "large"];
    args.extend(RS_SIZE);
    upload.moved.push(moved(&nodes, &args).await?);
    let mut download = Rounds::new("download", size);
    say(&format!("download of {size}"))?;
    let cpu = nodes.cpu()?;
    let ended = nodes.run_silent(&["get", "large", "-o", "-"]).await?;
    download.moved.push(Moved::of(&ended, nodes.cpu()? - cpu));
    let mut rows = upload.rows(None, 0.6);
    rows.extend(download.rows(None, 0.6));
    rows.push(memory("node, peak under load", nodes.peak(), 256.0));
    Ok(rows)
}

impl Moved {
    fn of(ended: &Ended, nodes_cpu: f64) -> Self {
        let Ended { wall, cpu, peak, .. } = ended;
        Self { wall: *wall, client_cpu: *cpu, nodes_cpu, client_peak: *peak }
    }
}

async fn moved(nodes: &Nodes, args: &[&str]) -> Result<Moved> {
    let before = nodes.cpu()?;
    let ended = nodes.run(args).await?;
    Ok(Moved::of(&ended, nodes.cpu()? - before))
}

async fn get(nodes: &Nodes, round: u32, copy: &str, digest: &blake3::Hash) -> Result<Moved> {
    let name = name_of(round);
    // Each stays to the end: what is removed gives memory back that the next would touch
    // anew (see `warm`).
    let target = nodes.home().join(format!("{copy}-{round}"));
    let moved = moved(nodes, &["get", &name, "-o", path(&target)?]).await?;
    ensure!(digest_of(&target)? == *digest, "{name} came back with other bytes than were put");
    Ok(moved)
}

/// What is stored of files of 16 and of 1 MiB.
async fn stored_of_small(nodes: &Nodes) -> Result<Vec<Row>> {
    say("putting files of 16 MiB and of 1 MiB")?;
    let of_16m = stored_of(nodes, "16Mi", (FILES_16M, 16 * MIB), &RS_SIZE).await?;
    let of_1m = stored_of(nodes, "1Mi", (FILES_1M, MIB), &RS_PROPORTION).await?;
    Ok(vec![
        stored_row("stored of 16Mi in rs-size".to_owned(), of_16m, 2.8 * 1.02),
        stored_row("stored of 1Mi in rs-proportion".to_owned(), of_1m, 3.0),
    ])
}

/// Bytes that the nodes store for each byte of `count` files of `length`.
async fn stored_of(
    nodes: &Nodes,
    name: &str,
    (count, length): (u64, u64),
    mode: &[&str],
) -> Result<f64> {
    let folder = nodes.home().join(name);
    fs::create_dir_all(&folder)?;
    for file in 0..count {
        noise_file(&folder.join(file.to_string()), file, length)?;
    }
    let before = nodes.stored()?;
    let mut args = vec!["put", "-r", path(&folder)?];
    args.extend(mode);
    nodes.run(&args).await?;
    Ok((nodes.stored()? - before) / as_figure(count * length))
}

fn stored_row(figure: String, value: f64, most: f64) -> Row {
    Row::new(figure, value, "bytes a byte").wanted(Wanted::AtMost(most))
}

/// A row in MiB.
pub(crate) fn memory(figure: impl Into<String>, bytes: u64, most: f64) -> Row {
    Row::new(figure, as_figure(bytes) / as_figure(MIB), "MiB").wanted(Wanted::AtMost(most))
}

fn name_of(round: u32) -> String {
    format!("large-{round}")
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not Unicode: set TMPDIR", path.display()))
}

fn digest_of(path: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    hasher.update_reader(file).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(wall: f64) -> Moved {
        Moved { wall, client_cpu: 1.0, nodes_cpu: 3.0, client_peak: MIB }
    }

    #[test]
    fn the_median_round_counts_and_all_figures_are_for_a_gib() {
        let mut rounds = Rounds::new("upload", Size::mib(512));
        rounds.moved = vec![moved(9.0), moved(0.5), moved(2.0)];
        let ceiling = Ceiling { speed: 1e9, cpu: 1.0, by_disk: false };
        let rows = rounds.rows(Some(ceiling), 0.6);
        let speed = Row::new("upload 512Mi in 10+4", 536.870_912 / 2.0, "MB/s")
            .cpu(8.0)
            .ceiling(Some(1000.0))
            .wanted(Wanted::Share(0.6));
        assert_eq!(rows[0], speed);
        assert_eq!(rows[1], Row::new("upload, of it the client", 2.0, "CPU s/GiB"));
        assert_eq!(rows[2], Row::new("upload, of it the nodes", 6.0, "CPU s/GiB"));
    }
}
