//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Whole clusters in one process from one seed, with faults, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "defs-sim", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs many seeds and says which of them break a claim.
    Run(Campaign),
    /// Runs one seed and shows what happens, event by event.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Leaves out what is said between nodes all the time: gossip and heartbeats.
        #[arg(long)]
        brief: bool,
    },
    /// What a look-up costs in networks of several sizes, as a table.
    Lookups {
        /// Look-ups of each kind and size.
        #[arg(long, default_value_t = 200)]
        count: u64,
    },
}

/// Many seeds.
#[derive(Debug, clap::Args)]
pub struct Campaign {
    /// How many.
    #[arg(long)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// A line for each seed is added here; seeds that have one already are left out.
    #[arg(long)]
    pub results: Option<PathBuf>,
}
