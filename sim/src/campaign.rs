//! Many seeds, on as many threads as are asked for, each with a runtime of its own. What
//! was done is written down, so a campaign that was broken off goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use crate::run::{Outcome, run};

/// How often a seed may be seen under way: a hundred times as long as one needs, since
/// others may leave it a few hundredths of a processor.
const LOOKS_MAX: u32 = 240;

/// Between two looks for one that takes longer.
const LOOK: Duration = Duration::from_secs(5);

/// What a line of results says, in this order.
const COLUMNS: &str = "seed,result,trace,nodes,simulated_s,real_ms,claim";

/// Seeds that are to be run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// How many at once.
    pub jobs: usize,
    /// Where each gets a line.
    pub results: Option<&'a Path>,
}

/// How a campaign went.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run now.
    pub run: u64,
    /// Those of which a claim was false, with what showed it.
    pub failed: Vec<(u64, String)>,
    /// Virtual time of all.
    pub simulated: Duration,
    /// Real time of all, as one thread would have needed it.
    pub worked: Duration,
}

/// Runs what of `plan` has no result yet, and tells of each failure as it comes.
pub fn campaign(plan: &Plan<'_>, tell: &(dyn Fn(&str) + Sync)) -> Result<Summary> {
    let done = plan.results.map(seeds_in).transpose()?.unwrap_or_default();
    let results = Mutex::new(plan.results.map(to_add_to).transpose()?);
    let todo: Vec<_> = (plan.from..plan.from.saturating_add(plan.seeds))
        .filter(|one| !done.contains(one))
        .collect();
    let (next, summary) = (AtomicUsize::new(0), Mutex::new(Summary::default()));
    let simulated = AtomicU64::new(0);
    let under_way = Mutex::new(BTreeSet::new());
    let work = || -> Result<()> {
        while let Some(seed) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let is_under_way = || under_way.lock().unwrap_or_else(PoisonError::into_inner);
            is_under_way().insert(*seed);
            let outcome = run(*seed, None).with_context(|| format!("seed {seed} did not run"))?;
            let real = began.elapsed();
            is_under_way().remove(seed);
            let millis = u64::try_from(outcome.simulated.as_millis()).unwrap_or(u64::MAX);
            simulated.fetch_add(millis, Ordering::Relaxed);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(results) = results.as_mut() {
                write_line(results, &outcome, real).context("a result was not written")?;
            }
            drop(results);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.run += 1;
            summary.worked += real;
            if let Some(broken) = outcome.broken {
                tell(&format!("seed {seed} fails: {broken}\n  make sim SEED={seed}"));
                summary.failed.push((*seed, broken.to_string()));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let (all_done, waiting) = mpsc::channel::<()>();
        let under_way = &under_way;
        scope.spawn(move || watch(under_way, &waiting, tell));
        let workers: Vec<_> = (0..plan.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(_) => anyhow::bail!("a run panicked"),
        })?;
        drop(all_done);
        Ok::<_, anyhow::Error>(())
    })?;
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.simulated = Duration::from_millis(simulated.into_inner());
    summary.failed.sort_unstable();
    Ok(summary)
}

/// Ends the process when a seed takes so long that it will never end: code that waits for
/// nothing can't be broken off. Counted in looks, so that a process that was stopped for a
/// while is not blamed for it.
fn watch(
    under_way: &Mutex<BTreeSet<u64>>,
    waiting: &mpsc::Receiver<()>,
    tell: &(dyn Fn(&str) + Sync),
) {
    let mut looks: BTreeMap<u64, u32> = BTreeMap::new();
    while waiting.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|seed, _| under_way.contains(seed));
        for seed in under_way.iter() {
            let count = looks.entry(*seed).or_default();
            *count += 1;
            if *count > LOOKS_MAX {
                tell(&format!("seed {seed} fails: everything_ends: it does not"));
                std::process::exit(1);
            }
        }
    }
}

fn seeds_in(results: &Path) -> Result<BTreeSet<u64>> {
    let file = match File::open(results) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| format!("no {}", results.display())),
    };
    let mut seeds = BTreeSet::new();
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("{} can't be read", results.display()))?;
        // The first line names the columns.
        seeds.extend(line.split(',').next().and_then(|seed| seed.parse::<u64>().ok()));
    }
    Ok(seeds)
}

fn to_add_to(results: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(results);
    let mut file = opened.with_context(|| format!("no {}", results.display()))?;
    if file.metadata().context("no length of the results")?.len() == 0 {
        writeln!(file, "{COLUMNS}").context("the results can't be written")?;
    }
    Ok(file)
}

fn write_line(results: &mut File, outcome: &Outcome, real: Duration) -> std::io::Result<()> {
    let Outcome { seed, broken, hash, nodes, simulated, .. } = outcome;
    let (result, claim) = match broken {
        None => ("ok", ""),
        Some(broken) => ("failed", broken.claim),
    };
    let (simulated, real) = (simulated.as_secs(), real.as_millis());
    writeln!(results, "{seed},{result},{hash},{nodes},{simulated},{real},{claim}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_leaves_out_what_has_a_result_already() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results.csv");
        std::fs::write(&results, format!("{COLUMNS}\n7,ok,00,6,120,5,\n")).unwrap();
        let plan = Plan { from: 7, seeds: 1, jobs: 1, results: Some(&results) };
        assert_eq!(campaign(&plan, &|_| {}).unwrap().run, 0);
        let plan = Plan { from: 2, seeds: 1, ..plan };
        assert_eq!(campaign(&plan, &|_| {}).unwrap().run, 1);
        assert_eq!(seeds_in(&results).unwrap(), BTreeSet::from([2, 7]));
    }
}
