//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use defs_core::size::Size;

const AFTER: &str = "Everything is written below TMPDIR (default /tmp) and removed at the end: \
set it to measure another disk. What the figures mean is written in docs/benchmarks.md.";

/// Measures what the parts can do alone, what the whole does on ten real nodes, and what
/// share of the parts' ceiling that is.
#[derive(Debug, Parser)]
#[command(name = "defs-bench", version, about, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// A small dose: 64 MiB, 500 files, one round
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measure only this; may be given several times or with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    pub(crate) only: Vec<What>,

    /// Size of the file that goes up and down (default 1GiB)
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,

    /// How often it goes up and down; the median counts (default 3)
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,

    /// Files of 4 KiB (default 10000)
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) files: Option<u32>,

    /// Measure the client's memory with one file of this size, and nothing else; 20GiB
    /// need 56 GB of disk
    #[arg(long, value_name = "SIZE", conflicts_with = "only")]
    pub(crate) large_file: Option<Size>,

    /// How long each part is measured (default 1000)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) part_ms: Option<u64>,

    /// Write the table to this file too, as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What this program starts itself as: a client that stays open
    #[command(hide = true)]
    Owner(OwnerArgs),
}

/// What a client that stays open is told.
#[derive(Debug, ClapArgs)]
pub(crate) struct OwnerArgs {
    /// The user's home, with the key
    #[arg(long)]
    pub(crate) home: PathBuf,
    /// Addresses of nodes
    #[arg(long, value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
    /// Files to put and get
    #[arg(long)]
    pub(crate) files: u32,
    /// Files to look up
    #[arg(long)]
    pub(crate) lookups: u32,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// What each part can do alone, and the ceilings that follow
    Parts,
    /// One large file up, down, and down without a pair; bytes stored
    Large,
    /// Many files of 4 KiB
    Small,
    /// Finding a file
    Lookups,
    /// A member replaced, a pair rebuilt, and what readers notice
    Healing,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dose {
    /// For each part.
    pub(crate) part: Duration,
    /// The file that goes up and down.
    pub(crate) size: Size,
    /// How often it does.
    pub(crate) rounds: u32,
    /// Small files.
    pub(crate) files: u32,
    /// Of these, how many are looked up.
    pub(crate) lookups: u32,
}

impl Args {
    pub(crate) fn dose(&self) -> Dose {
        let (part, size, rounds, files) = if self.quick {
            (300, Size::mib(64), 1, 500)
        } else {
            (1_000, Size::gib(1), 3, 10_000)
        };
        let files = self.files.unwrap_or(files);
        Dose {
            part: Duration::from_millis(self.part_ms.unwrap_or(part)),
            size: self.size.unwrap_or(size),
            rounds: self.rounds.unwrap_or(rounds),
            files,
            lookups: files.min(500),
        }
    }

    pub(crate) fn wants(&self, what: What) -> bool {
        self.only.is_empty() || self.only.contains(&what)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_named_alone_is_measured_alone() {
        let args = Args::parse_from(["defs-bench", "--quick", "--only", "parts,small"]);
        let wanted = [What::Parts, What::Large, What::Small, What::Lookups, What::Healing];
        assert_eq!(wanted.map(|what| args.wants(what)), [true, false, true, false, false]);
        assert_eq!((args.dose().size, args.dose().files), (Size::mib(64), 500));
    }
}
