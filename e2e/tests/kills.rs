//! Kill runs: while files are put and got, nodes die, stall and come back, over and over. What
//! was acknowledged is always there, and while one pair at most is away no read fails.
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "whoever asks for many runs reads how they went")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use defs_e2e::{User, eventually, noise};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Runs in the test suite; `make kills RUNS=200` asks for more.
const RUNS: u64 = 4;

const NODES: usize = 10;

const WITHIN: Duration = Duration::from_secs(120);

/// What happens to the network in one run.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Primary,
    Mirror,
    Both,
    Stall,
    Everything,
}

impl Blow {
    fn drawn(draw: u64) -> Self {
        [Self::Primary, Self::Mirror, Self::Both, Self::Stall, Self::Everything]
            [usize::try_from(draw % 5).unwrap()]
    }
}

/// What was acknowledged, and how reading it went.
#[derive(Default)]
struct History {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    puts_tried: AtomicU64,
    reads: Mutex<Vec<Duration>>,
    /// Held while nothing can be read, since every node is down.
    readable: RwLock<()>,
    is_over: AtomicBool,
}

impl History {
    /// Puts files of all kinds until it is over. One that fails was not acknowledged.
    fn write(&self, user: &User, seed: u64) {
        let mut number = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let draw = draw(seed, number);
            let mode = ["file", "slice", "rs-size", "rs-proportion", "auto"];
            let mode = mode[usize::try_from(draw % 5).unwrap()];
            let bytes = noise(draw, usize::try_from(draw >> 8).unwrap() % 3_000_000);
            let name = format!("{seed}-{number}");
            if user.put_bytes(&name, &bytes, &["--mode", mode]).is_ok() {
                self.files.lock().unwrap().insert(name, bytes);
            }
            self.puts_tried.fetch_add(1, Ordering::Relaxed);
            number += 1;
        }
    }

    /// Gets files that were acknowledged until it is over.
    fn read(&self, user: &User, seed: u64) {
        for number in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let _readable = self.readable.read().unwrap();
            let Some((name, bytes)) = self.any(draw(seed, number)) else { continue };
            let began = now();
            let got = user.get_bytes(&name);
            self.reads.lock().unwrap().push(began.elapsed());
            if !got.as_ref().is_ok_and(|got| *got == bytes) {
                // The other threads end too, and the test says why.
                self.is_over.store(true, Ordering::Relaxed);
            }
            assert!(got.unwrap() == bytes, "{name} differs");
        }
    }

    fn any(&self, draw: u64) -> Option<(String, Vec<u8>)> {
        let files = self.files.lock().unwrap();
        let place = usize::try_from(draw).unwrap().checked_rem(files.len())?;
        files.iter().nth(place).map(|(name, bytes)| (name.clone(), bytes.clone()))
    }

    fn counts(&self) -> (u64, usize) {
        (self.puts_tried.load(Ordering::Relaxed), self.reads.lock().unwrap().len())
    }

    /// Until so many puts and reads more were tried.
    fn goes_on(&self, puts: u64, reads: usize) {
        let before = self.counts();
        eventually("files are put and got", WITHIN, || {
            let now = self.counts();
            let enough = now.0 >= before.0 + puts && now.1 >= before.1 + reads;
            enough || self.is_over.load(Ordering::Relaxed)
        })
        .unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no arguments of its own")]
fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn draw(seed: u64, number: u64) -> u64 {
    u64::from_le_bytes(noise(seed << 20 | number, 8).try_into().unwrap()) >> 1
}

#[expect(clippy::disallowed_methods, reason = "how long a user waits is what is told")]
fn now() -> Instant {
    Instant::now()
}

fn pid(member: &Value) -> i64 {
    member["pid"].as_i64().unwrap()
}

fn signal(pid: i64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn all_are_healthy(user: &User) {
    eventually("all pairs are healthy", WITHIN, || {
        let pairs = user.pairs().unwrap_or_default();
        pairs.len() == NODES / 2 && pairs.iter().all(|pair| pair["state"] == "healthy")
    })
    .unwrap();
}

/// One blow, some puts and reads under it, and the way back.
fn strike(user: &User, history: &History, blow: Blow, draw: u64) {
    let pairs = user.pairs().unwrap();
    let pair = &pairs[usize::try_from(draw).unwrap() % pairs.len()];
    match blow {
        Blow::Primary => user.kill(pid(&pair["primary"])).unwrap(),
        Blow::Mirror => user.kill(pid(&pair["mirror"])).unwrap(),
        Blow::Both => user.kill_pair(pair).unwrap(),
        Blow::Stall => {
            signal(pid(&pair["primary"]), Signal::STOP);
            history.goes_on(1, 2);
            return signal(pid(&pair["primary"]), Signal::CONT);
        }
        Blow::Everything => {
            let _unreadable = history.readable.write().unwrap();
            for pid in user.pids().unwrap() {
                user.kill(pid).unwrap();
            }
            user.up(NODES).unwrap();
            return all_are_healthy(user);
        }
    }
    history.goes_on(1, 3);
    user.up(NODES).unwrap();
}

#[test]
fn what_was_acknowledged_is_read_through_every_blow_and_there_after_all_of_them() {
    let (runs, seed) =
        (asked("DEFS_KILL_RUNS").unwrap_or(RUNS), asked("DEFS_KILL_SEED").unwrap_or(1));
    let mut user = User::new().unwrap();
    user.set("DEFS_SUSPECT_AFTER", "1s");
    user.up(NODES).unwrap();
    let history = History::default();
    std::thread::scope(|scope| {
        scope.spawn(|| history.write(&user, seed));
        scope.spawn(|| history.read(&user, seed + 1));
        history.goes_on(3, 1);
        for run in 0..runs {
            if history.is_over.load(Ordering::Relaxed) {
                break;
            }
            let draw = draw(seed + 2, run);
            let blow = Blow::drawn(draw);
            println!("run {run}: {blow:?}");
            strike(&user, &history, blow, draw >> 4);
            all_are_healthy(&user);
        }
        history.is_over.store(true, Ordering::Relaxed);
    });
    let files = history.files.into_inner().unwrap();
    for (name, bytes) in &files {
        assert!(user.get_bytes(name).unwrap() == *bytes, "{name} differs at the end");
    }
    let mut reads = history.reads.into_inner().unwrap();
    reads.sort_unstable();
    let at = |share: usize| reads.get(reads.len() * share / 100).or(reads.last()).copied();
    println!(
        "{runs} runs, {} files acknowledged, {} reads: half within {:.2?}, 99 % within {:.2?}, all within {:.2?}",
        files.len(),
        reads.len(),
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        reads.last().copied().unwrap_or_default(),
    );
}
