//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;

const AFTER: &str = "First steps:
  defs up --detach          start ten storage nodes on this machine
  defs key new              make the key that opens your files; keep a copy of it
  defs put film.mkv         cut, encrypt, code and store a file
  defs ls                   what is stored
  defs get film.mkv -o -    read it back, here to the standard output
  defs stat film.mkv        where its pieces lie and what it would survive
  defs down                 stop the nodes; nothing is lost

Environment:
  DEFS_HOME   all that you have: key, catalogue, tasks, local nodes
              (default ~/.local/share/defs)
  DEFS_…      every setting, such as DEFS_BOOTSTRAP_PEERS; see `defs settings`

Exit codes:
  0 done   1 failed   2 wrong usage   3 name, ticket, task or file unknown
  4 network not reached   5 refused: too few pairs, no room, name taken
  6 data lost or damaged beyond repair   7 key missing or wrong
  8 a local file could not be read or written";

/// Stores files for people who do not trust the machines that hold them.
#[derive(Debug, Parser)]
#[command(name = "defs", version, about, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    /// Print one JSON object a line instead of text and progress bars
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Set any setting, such as --set bootstrapPeers=/ip4/192.0.2.1/tcp/4001
    #[arg(long = "set", value_name = "NAME=VALUE", global = true, value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,

    /// A YAML file with settings
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// A file that holds the passphrase of your key, instead of being asked for it
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) passphrase_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start storage nodes on this machine, or start them again
    Up(Up),
    /// Stop the storage nodes of this machine; what they hold stays
    Down,
    /// Show how the storage nodes of this machine are
    Status,
    /// Make, show, save and load your key
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Store files
    Put(Put),
    /// Read a file back, by name or ticket
    Get(Get),
    /// List what is stored
    Ls {
        /// Only names that begin with this
        prefix: Option<String>,
    },
    /// Show how a file is stored, where, and what it would survive
    Stat {
        /// A name or ticket
        name: String,
        /// Ask every holder whether it still has its pieces
        #[arg(long)]
        ask: bool,
        /// Show the ticket: whoever has it and your key can read the file
        #[arg(long)]
        ticket: bool,
    },
    /// Show what is missing of a file, what is being done about it, and when it will be whole
    Why {
        /// A name or ticket
        name: String,
    },
    /// Let a node leave, or give up one that will never come back
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Delete files
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List the nodes of the network
    Nodes {
        /// Show how good this node is as a partner, and every measurement that this follows from
        #[arg(long, value_name = "ID")]
        explain: Option<String>,
    },
    /// List the pairs of the network
    Pairs {
        /// Show which pairs would be better and why; changes nothing
        #[arg(long, conflicts_with = "apply")]
        plan: bool,
        /// Make the better pairs, one member after the other, and wait for each
        #[arg(long, conflicts_with = "auto")]
        apply: bool,
        /// Go on until interrupted: look again and again, and make what became better
        #[arg(long, conflicts_with = "plan")]
        auto: bool,
        /// With --auto: seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "auto",
            value_parser = clap::value_parser!(u32).range(1..=604_800))]
        every: u32,
    },
    /// List, resume and cancel uploads and downloads that were cut off
    Tasks {
        #[command(subcommand)]
        command: Option<TaskCommand>,
    },
    /// List every setting with its default, bounds and effect
    Settings,
    /// Print completions for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// Nodes to run; two make a pair. More can be added later
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(crate) nodes: Option<u16>,
    /// Return when they run, instead of staying until Ctrl-C
    #[arg(long)]
    pub(crate) detach: bool,
    /// Room that each node offers (default: an equal part of nine tenths of what is free)
    #[arg(long, value_name = "SIZE")]
    pub(crate) capacity: Option<defs_core::size::Size>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Move everything off a node, so that it can be stopped
    Drain {
        /// The node's id, or the beginning of it
        id: String,
    },
    /// Take a drain back
    Stay {
        /// The node's id, or the beginning of it
        id: String,
    },
    /// Give up a node that will never return; shows first which files are at risk
    Remove {
        /// The node's id, or the beginning of it
        #[arg(long, value_name = "ID")]
        lost: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new key. Without it nobody can ever open your files: keep a copy
    New {
        /// Protect it with a passphrase, which is asked for
        #[arg(long)]
        passphrase: bool,
    },
    /// Show the address of your key; no secret
    Show,
    /// Write the secret key itself, to keep a copy in a safe place
    Export {
        /// Where to (default: the standard output)
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Take a key that `export` wrote
    Import {
        /// Where from (default: the standard input)
        path: Option<PathBuf>,
        /// Protect it with a passphrase, which is asked for
        #[arg(long)]
        passphrase: bool,
    },
}

#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Put {
    /// Files; with -r also folders; `-` is the standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The name it gets (default: the file's own); for a folder, what its names begin with
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Store folders with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Let the name stand for this file if it is taken
    #[arg(long)]
    pub(crate) replace: bool,
    /// auto, file, slice, rs-size or rs-proportion
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// Shards that carry data, for rs-size (default 10)
    #[arg(long, value_name = "K")]
    pub(crate) data: Option<String>,
    /// Shards of a stripe that may be lost, for rs-size (default 4)
    #[arg(long, value_name = "M")]
    pub(crate) parity: Option<String>,
    /// Whole pairs that may vanish without loss (default 1); `pair`: one node of each pair
    #[arg(long, value_name = "N")]
    pub(crate) durability: Option<String>,
    /// Place pieces even where the loss of one pair could destroy the file
    #[arg(long)]
    pub(crate) unsafe_placement: bool,
    /// Only say how it would be stored, and why
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// A name or ticket; with -r what the names begin with
    pub(crate) name: String,
    /// Where to: a file, a folder, or `-` for the standard output (default: its own name)
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Only bytes A to B, both included and counted from 0; `A-`: to the end
    #[arg(long, value_name = "A-B", value_parser = range)]
    pub(crate) range: Option<ByteRange>,
    /// Get everything whose name begins with NAME
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List them
    List,
    /// Go on with a task that was cut off
    Resume {
        /// Its number, or nothing for all that can go on
        task: Option<i64>,
    },
    /// Give a task up
    Cancel {
        /// Its number
        task: i64,
    },
}

/// The bytes from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write NAME=VALUE".to_owned()),
    }
}

fn range(text: &str) -> Result<ByteRange, String> {
    let wrong = || format!("`{text}` is not a range: write A-B or A-, such as 0-99");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first = first.parse().ok().ok_or_else(wrong)?;
    let last = match last {
        "" => None,
        last => Some(last.parse().ok().filter(|last| *last >= first).ok_or_else(wrong)?),
    };
    Ok(ByteRange { first, last })
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
    fn ranges_are_inclusive_and_nonsense_is_refused() {
        assert_eq!(range("0-99"), Ok(ByteRange { first: 0, last: Some(99) }));
        assert_eq!(range("5-"), Ok(ByteRange { first: 5, last: None }));
        for text in ["", "-", "-5", "9-1", "a-b", "1"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
