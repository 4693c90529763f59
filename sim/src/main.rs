//! `defs-sim`: runs simulated clusters from seeds, and replays one. `make sim` calls it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use defs_sim::args::{Args, Campaign, Command};
use defs_sim::campaign::{Plan, Summary, campaign};
use defs_sim::run::run;
use tokio::time::Instant;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(asked) => run_many(&asked),
        Command::Replay { seed, brief } => replay(seed, brief),
        Command::Lookups { count } => lookups(count),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Nobody may read any more; the exit code still tells.
            writeln!(io::stderr(), "failed: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run_many(asked: &Campaign) -> Result<ExitCode> {
    let began = Instant::now();
    let plan = Plan {
        from: asked.from,
        seeds: asked.seeds,
        jobs: asked.jobs,
        results: asked.results.as_deref(),
    };
    let tell = |text: &str| drop(writeln!(io::stdout(), "{text}"));
    let Summary { run, failed, simulated, worked } = campaign(&plan, &tell)?;
    let rate = simulated.as_secs_f64() / worked.as_secs_f64().max(f64::EPSILON);
    writeln!(
        io::stdout(),
        "{run} seeds, {} failed; {:.0} s simulated in {:.0} s, {rate:.0} × real time on each core",
        failed.len(),
        simulated.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    )
    .context("nobody reads")?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn replay(seed: u64, brief: bool) -> Result<ExitCode> {
    let out = io::BufWriter::new(io::stdout());
    let reader: Box<dyn Write + Send> = if brief { Box::new(Brief(out)) } else { Box::new(out) };
    let outcome = run(seed, Some(reader))?;
    writeln!(io::stdout(), "{outcome}\n{:?}", outcome.counts).context("nobody reads")?;
    Ok(if outcome.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Passes on what is not said all the time. Each write is one line.
struct Brief<W>(W);

impl<W: Write> Write for Brief<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let is_noise = text.contains(" gossip ") || text.contains(" heartbeat ");
        if !is_noise {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn lookups(count: u64) -> Result<ExitCode> {
    let table = defs_sim::lookups::table(&[10, 100, 1000, 10_000], count);
    io::stdout().write_all(table.as_bytes()).context("nobody reads")?;
    Ok(ExitCode::SUCCESS)
}
