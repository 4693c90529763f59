//! `defs-bench`: what the parts can do alone, what the whole does on ten real nodes, and
//! what share of the parts' ceiling that is. `make bench` runs it; docs/benchmarks.md says
//! what the figures mean.

mod args;
mod ceiling;
mod healing;
mod large;
mod lookups;
mod machine;
mod meter;
mod nodes;
mod owner;
mod parts;
mod process;
mod run;
mod small;
mod table;
mod warm;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use defs_launch::signals::stop_requested;
use tokio_util::sync::CancellationToken;

use crate::args::{Args, Command};

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may read any more; the exit code still tells.
            say(&format!("failed: {error:#}")).ok();
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: Args) -> Result<()> {
    if let Some(Command::Owner(owner)) = &args.command {
        return owner::run(owner).await;
    }
    let stop = CancellationToken::new();
    // What was begun is dropped, and with it go the nodes and all that was written.
    let work = Box::pin(stop.run_until_cancelled(run::run(&args)));
    tokio::select! {
        never = stop_requested(stop.clone())? => match never {},
        done = work => match done {
            Some(outcome) => outcome,
            None => bail!("stopped before the end: nothing is left behind"),
        },
    }
}

/// What is being done, for people who wait.
fn say(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "== {text}")?;
    Ok(())
}
