//! The process that is killed, and how it is started and killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use defs_core::port::{Change, Disk};
use defs_port_suite::disk::{NETWORK, Sample, record};
use defs_store::{FILE_MIN, Store, StoreConfig};
use futures::future::join_all;

/// Sealed bytes of every record of the campaign.
pub(crate) const RECORD_LENGTH: usize = 700;

/// Tasks that store and delete at once.
const TASKS: u64 = 4;

/// Seeds of a round, so that rounds don't meet.
const ROUND: u64 = 1 << 20;

/// A store with segments so small that they are rolled and compacted all the time.
pub(crate) fn open(folder: &Path) -> Store {
    let mut config = StoreConfig::new(folder.to_path_buf(), 1 << 30, NETWORK);
    config.segment_max = 256 << 10;
    Store::open(config).unwrap()
}

/// Numbers without a pattern, the same for the same seed.
pub(crate) fn random(mut seed: u64) -> impl FnMut(u64) -> u64 {
    // SplitMix64.
    move |below| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// What the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Storing { seed: u64, length: usize },
    Stored { seed: u64 },
    Deleting { seed: u64 },
    Deleted { seed: u64 },
    Writing { seed: u64, counter: u64 },
    Written { seed: u64, counter: u64 },
}

impl Said {
    pub(crate) fn seed(&self) -> u64 {
        match *self {
            Self::Storing { seed, .. }
            | Self::Stored { seed }
            | Self::Deleting { seed }
            | Self::Deleted { seed }
            | Self::Writing { seed, .. }
            | Self::Written { seed, .. } => seed,
        }
    }

    pub(crate) fn is_acknowledgement(&self) -> bool {
        matches!(self, Self::Stored { .. } | Self::Deleted { .. } | Self::Written { .. })
    }

    fn line(self) -> String {
        let (word, seed, number) = match self {
            Self::Storing { seed, length } => ("storing", seed, length as u64),
            Self::Stored { seed } => ("stored", seed, 0),
            Self::Deleting { seed } => ("deleting", seed, 0),
            Self::Deleted { seed } => ("deleted", seed, 0),
            Self::Writing { seed, counter } => ("writing", seed, counter),
            Self::Written { seed, counter } => ("written", seed, counter),
        };
        format!("@ {word} {seed} {number} .\n")
    }

    /// `None` for what the test harness says, and for a line that was cut.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line[line.find("@ ")?..].trim_end().split(' ').collect();
        let [_, word, seed, number, "."] = words[..] else { return None };
        let (seed, number) = (seed.parse().ok()?, number.parse().ok()?);
        Some(match word {
            "storing" => Self::Storing { seed, length: usize::try_from(number).ok()? },
            "stored" => Self::Stored { seed },
            "deleting" => Self::Deleting { seed },
            "deleted" => Self::Deleted { seed },
            "writing" => Self::Writing { seed, counter: number },
            "written" => Self::Written { seed, counter: number },
            _ => return None,
        })
    }
}

/// Writes a line in one piece: it arrives whole or not at all.
pub(crate) fn tell(line: &str) {
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// When a process is killed.
#[derive(Debug)]
pub(crate) struct Cut {
    round: u64,
    seed: u64,
    /// After this many lines,
    lines: usize,
    /// and then this long.
    delay: Duration,
}

impl Cut {
    pub(crate) fn draw(random: &mut impl FnMut(u64) -> u64, round: u64) -> Self {
        // One in eight while it starts.
        let lines = if random(8) == 0 { 0 } else { usize::try_from(random(150)).unwrap() };
        let delay = Duration::from_micros(random(if lines == 0 { 40_000 } else { 4_000 }));
        Self { round, seed: random(u64::MAX), lines, delay }
    }
}

/// Starts a process, kills it, and answers with what it said.
pub(crate) fn cut(folder: &Path, cut: &Cut) -> Vec<Said> {
    let mut child = start();
    let order = format!("{}\n{}\n{}\n", folder.display(), cut.round, cut.seed);
    child.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut line = String::new();
    while said.len() < cut.lines {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the process ended by itself");
        said.extend(Said::parse(&line));
    }
    // The moment of the cut must not hang on what the process does.
    spin(cut.delay);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    // A last line without its end was not said.
    let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
    said.extend(whole.lines().filter_map(Said::parse));
    said
}

fn spin(time: Duration) {
    let (waker, waiting) = std::sync::mpsc::channel::<()>();
    let timed_out = waiting.recv_timeout(time);
    drop(waker);
    assert!(timed_out.is_err());
}

fn start() -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["process_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The life of the process.
pub(crate) fn work_until_killed() {
    let mut lines = std::io::stdin().lines().map(Result::unwrap);
    let Some(folder) = lines.next() else { return };
    let round: u64 = lines.next().unwrap().parse().unwrap();
    let seed: u64 = lines.next().unwrap().parse().unwrap();
    let store = open(Path::new(&folder));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| {
            let first = (round * TASKS + task) * ROUND;
            change_things(&store, first, random(seed ^ task))
        });
        futures::future::join(join_all(tasks), compact(&store)).await;
    });
}

async fn compact(store: &Store) {
    loop {
        store.compact_step().await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Stores, deletes and writes records, without end. Seeds of shards count up from
/// `first`; records are those of the task.
async fn change_things(store: &Store, first: u64, mut random: impl FnMut(u64) -> u64) {
    let (mut seed, mut counter) = (first, 0);
    let mut held = Vec::new();
    loop {
        match random(20) {
            0..12 => {
                let large = random(4) == 0;
                let least = if large { FILE_MIN } else { 1 };
                let length = usize::try_from(least + random(40_000)).unwrap();
                say(Said::Storing { seed, length });
                Sample::alone(seed, length).store(store).await.unwrap();
                say(Said::Stored { seed });
                held.push((seed, length));
                seed += 1;
            }
            12..17 if !held.is_empty() => {
                let chosen = usize::try_from(random(held.len() as u64)).unwrap();
                let (seed, length) = held.swap_remove(chosen);
                say(Said::Deleting { seed });
                let key = Sample::alone(seed, length).key();
                store.apply(vec![Change::DeleteShard(key)]).await.unwrap();
                say(Said::Deleted { seed });
            }
            _ => {
                counter += 1;
                say(Said::Writing { seed: first, counter });
                let version = record(first, 0, counter, RECORD_LENGTH);
                let change = Change::Record(version.body.key, vec![Arc::clone(&version)]);
                store.apply(vec![change]).await.unwrap();
                say(Said::Written { seed: first, counter });
            }
        }
    }
}

fn say(said: Said) {
    tell(&said.line());
}

/// Files directly in `folder`.
pub(crate) fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Files in the folders of `folder`.
pub(crate) fn count_below(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder).unwrap();
    folders.map(|entry| count(&entry.unwrap().path())).sum()
}
