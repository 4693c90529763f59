//! What healing takes: a member replaced, a pair rebuilt, and what readers notice of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use defs_core::size::Size;
use defs_e2e::{User, eventually, noise, noise_file};
use serde_json::Value;
use tokio::time::Instant;

use crate::large::RS_SIZE;
use crate::meter::as_figure;
use crate::say;
use crate::table::{Row, Wanted};

/// Five pairs and a spare.
const NODES: usize = 11;

/// As fast as the machine can.
const UNTHROTTLED: &str = "16Gi";

/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(900);

/// Between two looks at what healing has done.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Files that are read before the pair is lost, to compare with.
const CALM_READS: usize = 200;

/// A file that is read all the time.
const PROBE: usize = 1 << 20;

/// Nodes that give each other up within seconds, with one file.
struct Network {
    user: User,
    size: Size,
}

impl Network {
    /// `rate`: what a node may copy and rebuild a second; `None` is the default.
    fn start(size: Size, rate: Option<&str>) -> Result<Self> {
        let mut user = User::new()?;
        for (name, value) in [("SUSPECT", "1s"), ("FAIL", "2s"), ("REPLACE", "5s")] {
            user.set(&format!("DEFS_{name}_AFTER"), value);
        }
        if let Some(rate) = rate {
            user.set("DEFS_REPAIR_RATE", rate);
        }
        user.up(NODES)?;
        let source = user.home().join("source");
        noise_file(&source, 1, size.0)?;
        let mut put = vec!["put", source.to_str().context("TMPDIR is Unicode")?, "--name", "large"];
        put.extend(RS_SIZE);
        user.run(&put)?.succeeded()?;
        fs::remove_file(&source)?;
        user.put_bytes("probe", &noise(2, PROBE), &["--mode", "rs-proportion"])?;
        Ok(Self { user, size })
    }

    /// A healthy pair that doesn't have the first node, which alone admits others.
    fn victim(&self) -> Result<Value> {
        let nodes = self.user.events(&["status"])?;
        let first = nodes.iter().find(|node| node["name"] == "node-1").context("the first node")?;
        let is_other = |pair: &Value| {
            let members = ["primary", "mirror"].map(|member| &pair[member]["pid"]);
            pair["state"] == "healthy" && !members.contains(&&first["pid"])
        };
        self.user.pairs()?.into_iter().find(is_other).context("no healthy pair")
    }

    fn shards_of(&self, member: &Value) -> Result<PathBuf> {
        Ok(self.user.folder_of(&member["pid"])?.join("store/shards"))
    }

    /// Ends a node for ever.
    fn destroy(&self, member: &Value) -> Result<()> {
        let folder = self.user.folder_of(&member["pid"])?;
        self.user.kill(member["pid"].as_i64().context("a process id")?)?;
        Ok(fs::remove_dir_all(folder)?)
    }

    /// What the nodes say of their healing.
    fn why(&self) -> Result<Value> {
        let events = self.user.events(&["why", "large"])?;
        events.into_iter().find(|event| event["event"] == "why").context("no word on the file")
    }

    fn is_safe(&self) -> bool {
        self.why().is_ok_and(|why| is_safe(&why))
    }

    /// Reads the probe once.
    fn read(&self) -> Result<Duration> {
        let began = Instant::now();
        let got = self.user.get_bytes("probe")?;
        ensure!(got.len() == PROBE, "the probe came back with {} bytes", got.len());
        Ok(began.elapsed())
    }
}

/// Whether every piece of the file is there, and one pair may be lost.
fn is_safe(why: &Value) -> bool {
    why["survivesPairs"].as_u64() >= Some(1)
        && why["missing"].as_object().is_some_and(serde_json::Map::is_empty)
}

/// What was said of the time left, and when, since a repair began.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Duration,
    left: Duration,
}

/// By how much of the time that was really left the middle word was off, in percent. The last
/// second doesn't count: it is about as long as looking takes.
fn off(said: &[Said], took: Duration) -> Option<f64> {
    let one_off = |said: &Said| {
        let left = took.checked_sub(said.at).filter(|left| *left >= Duration::from_secs(1))?;
        Some(100.0 * (said.left.as_secs_f64() / left.as_secs_f64() - 1.0).abs())
    };
    let mut off: Vec<_> = said.iter().filter_map(one_off).collect();
    off.sort_by(f64::total_cmp);
    off.get(off.len() / 2).copied()
}

pub(crate) fn measure(size: Size) -> Result<Vec<Row>> {
    say("healing: eleven nodes, and a file on them")?;
    let network = Network::start(size, Some(UNTHROTTLED))?;
    let mut rows = take_over(&network)?;
    rows.extend(rebuild(&network)?);
    drop(network);
    say("healing at the default throttle, with a reader")?;
    rows.extend(noticed(&Network::start(size, None)?)?);
    Ok(rows)
}

/// A member is gone for ever: the spare takes over all that the pair has.
fn take_over(network: &Network) -> Result<Vec<Row>> {
    say("a member is gone for ever")?;
    let pair = network.victim()?;
    let shards = network.shards_of(&pair["primary"])?;
    network.destroy(&pair["mirror"])?;
    let now = |state: &str| {
        network.user.pairs().is_ok_and(|pairs| {
            pairs.iter().any(|now| {
                now["id"] == pair["id"]
                    && now["epoch"].as_u64() > pair["epoch"].as_u64()
                    && (state.is_empty() || now["state"] == state)
            })
        })
    };
    eventually("the pair has a new member", WITHIN, || now(""))?;
    let began = Instant::now();
    eventually("the new member has everything", WITHIN, || seldom(now("healthy")))?;
    let took = began.elapsed().as_secs_f64();
    let (bytes, copied) = copy(&shards, &network.user.home().join("copy"))?;
    let speed = as_figure(bytes) / 1e6;
    Ok(vec![
        Row::new("a new member takes over", speed / took.max(1e-3), "MB/s")
            .ceiling(Some(speed / copied.max(1e-3)))
            .wanted(Wanted::Share(0.7)),
    ])
}

/// Whether it holds; if not, after a pause. To look starts a process, and one after the other would
/// take a sixth of the processors that are measured.
#[expect(clippy::disallowed_methods, reason = "what is measured runs in real time")]
fn seldom(holds: bool) -> bool {
    if !holds {
        std::thread::sleep(LOOK_EVERY);
    }
    holds
}

/// Bytes of the files below `from`, and the seconds in which they are copied and synced.
fn copy(from: &Path, to: &Path) -> Result<(u64, f64)> {
    fs::create_dir_all(to)?;
    let (began, mut bytes) = (Instant::now(), 0);
    for folder in fs::read_dir(from)? {
        for file in fs::read_dir(folder?.path())? {
            let file = file?;
            let mut copy = File::create(to.join(file.file_name()))?;
            bytes += io::copy(&mut File::open(file.path())?, &mut copy)?;
            copy.sync_data()?;
        }
    }
    let took = began.elapsed().as_secs_f64();
    fs::remove_dir_all(to)?;
    Ok((bytes, took))
}

/// Both members are gone for ever: their shards are rebuilt at other pairs.
fn rebuild(network: &Network) -> Result<Vec<Row>> {
    say("a pair is gone for ever")?;
    let pair = network.victim()?;
    let before = network.why()?;
    network.destroy(&pair["primary"])?;
    network.destroy(&pair["mirror"])?;
    eventually("the pair is given up", WITHIN, || {
        network.why().is_ok_and(|why| why["lostPairs"].as_array().is_some_and(|l| !l.is_empty()))
    })?;
    let began = Instant::now();
    let mut said = Vec::new();
    eventually("all is rebuilt", WITHIN, || {
        let Ok(why) = network.why() else { return false };
        let at = began.elapsed();
        let left = why["etaMs"].as_u64().map(Duration::from_millis);
        said.extend(left.filter(|left| !left.is_zero()).map(|left| Said { at, left }));
        seldom(is_safe(&why))
    })?;
    let took = began.elapsed();
    let off = off(&said, took);
    let took = took.as_secs_f64();
    let after = network.why()?;
    let grown = |field: &str| {
        let of = |why: &Value| why[field].as_u64().unwrap_or(0);
        as_figure(of(&after).saturating_sub(of(&before)))
    };
    let (read, rebuilt) = (grown("bytesRead"), grown("bytesRebuilt"));
    ensure!(rebuilt > 0.0, "nothing was rebuilt");
    let name = format!("a lost pair is rebuilt, {} in 10+4", network.size);
    let mut rows = vec![
        Row::new(name, rebuilt / took.max(1e-3) / 1e6, "MB/s"),
        Row::new("a lost pair is rebuilt", took, "s"),
        Row::new("read for each byte rebuilt", read / rebuilt, "bytes")
            .wanted(Wanted::AtMost(10.0 * 1.02)),
    ];
    rows.extend(off.map(|off| {
        Row::new("the time left as told, off by", off, "%").wanted(Wanted::AtMost(20.0))
    }));
    Ok(rows)
}

/// What a reader notices while a pair dies and is rebuilt.
fn noticed(network: &Network) -> Result<Vec<Row>> {
    let calm = (0..CALM_READS).map(|_| network.read()).collect::<Result<Vec<_>>>()?;
    let pair = network.victim()?;
    network.destroy(&pair["primary"])?;
    network.destroy(&pair["mirror"])?;
    let mut silent = Vec::new();
    while network.why()?["lostPairs"].as_array().is_none_or(Vec::is_empty) {
        silent.push(network.read()?);
    }
    let mut healing = Vec::new();
    while healing.len() < CALM_READS / 4 || !network.is_safe() {
        for _ in 0..10 {
            healing.push(network.read()?);
        }
    }
    let most = |times: &[Duration]| within(times, 99).as_secs_f64();
    Ok(vec![
        Row::new("1 MiB read, 99 of 100 within", most(&calm) * 1e3, "ms"),
        Row::new("the same just after a pair died", most(&silent) * 1e3, "ms")
            .wanted(Wanted::AtMost(2000.0)),
        Row::new("the same while it is rebuilt", most(&healing) * 1e3, "ms")
            .wanted(Wanted::AtMost(most(&calm) * 1.2 * 1e3)),
    ])
}

/// Within what time `share` of a hundred were.
fn within(times: &[Duration], share: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let place = times.len().saturating_mul(share).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_within_a_time_leaves_out_the_slowest() {
        let times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(within(&times, 99), Duration::from_millis(198));
        assert_eq!(within(&times, 100), Duration::from_millis(200));
        assert_eq!(within(&times[..1], 99), Duration::from_millis(200));
        assert_eq!(within(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_forecast_is_off_by_the_middle_of_what_was_said() {
        let said = |at, left| {
            let [at, left] = [at, left].map(Duration::from_secs);
            Said { at, left }
        };
        let took = Duration::from_secs(10);
        let all = [said(0, 15), said(5, 5), said(6, 5), said(10, 100)];
        assert_eq!(off(&all, took), Some(25.0));
        assert_eq!(off(&all[3..], took), None);
    }

    #[test]
    fn what_is_copied_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("shards/ab")).unwrap();
        fs::write(folder.path().join("shards/ab/one"), [1; 10]).unwrap();
        let (bytes, _) = copy(&folder.path().join("shards"), &folder.path().join("copy")).unwrap();
        assert_eq!(bytes, 10);
        assert!(!folder.path().join("copy").exists());
    }
}
