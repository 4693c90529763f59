//! The command line and the environment: the only place that reads them.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgAction, Command, value_parser};
use defs_core::settings::{Settings, Side};
use defs_launch::{environment, flags, load_settings};

const ABOUT: &str = "A storage node of a DeFS network: keeps sealed shards and records with a \
partner node, and holds no key to any of them";

const AFTER: &str = "Every setting can be given as a flag, as an environment variable \
(DEFS_STATUS_PORT for --status-port) or in the YAML file of --config; flags win over the \
environment, and that over the file.

The first node of a network: defs-node --bootstrap --data-dir /var/lib/defs
It writes two files to its data folder: `network`, which names the network and is public, and
`invite`, which admits nodes and is secret. Another node takes both:
  defs-node --network-file network --invite-file invite \\
            --bootstrap-peers /ip4/192.0.2.1/tcp/4001";

const FSCK_ABOUT: &str = "Checks what a stopped node stores";

const FSCK_AFTER: &str =
    "Reads every stored byte and compares it with the index. Without --repair \
nothing is changed. With it, a lost or damaged index is rebuilt from the shards (a damaged one is \
put aside as index.damaged-N), and entries whose bytes are gone are forgotten; damaged shards are \
left where they are. Commits, records, tombstones and the pair are in the index only: what a \
rebuilt one lacks of them is lost here.

Exit codes: 0 nothing to complain of; 1 the check could not be made; 2 wrong usage; 3 something is
wrong and still is; 4 the index was wrong and is mended.";

const HAND_OVER_ABOUT: &str = "Tells the node that runs here that it is about to stop";

const HAND_OVER_AFTER: &str = "Its pair takes nothing new from then on, and who reads asks its \
partner; only a start takes it back. Returns when that was heard. Meant for what is run before a \
node is stopped, such as a preStop hook or ExecStop.";

/// What this process is to do.
pub(crate) enum Asked {
    /// Run a node.
    Serve(Settings),
    /// Tell a running node that it is about to stop.
    HandOver(Settings),
    /// Check a stopped node's store.
    Fsck {
        /// They name the folder.
        settings: Settings,
        /// Whether to mend the index.
        repair: bool,
    },
}

/// What the command line and the environment ask for. Prints help and ends the process
/// where that was asked for.
pub(crate) fn parse() -> Result<Asked> {
    let matches = command().get_matches();
    let (command, matches) = match matches.subcommand() {
        Some((command, matches)) => (command, matches),
        None => ("", &matches),
    };
    let file = matches.get_one::<PathBuf>("config");
    let given = flags::given(matches, Side::Node);
    let settings = load_settings(file.map(PathBuf::as_path), environment(), given)?;
    Ok(match command {
        "fsck" => Asked::Fsck { settings, repair: matches.get_flag("repair") },
        "hand-over" => Asked::HandOver(settings),
        _ => Asked::Serve(settings),
    })
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("A YAML file with settings (`name: value`)");
    let repair = Arg::new("repair")
        .long("repair")
        .action(ArgAction::SetTrue)
        .help("Mend the index, or rebuild it where it is lost");
    let fsck = Command::new("fsck").about(FSCK_ABOUT).after_help(FSCK_AFTER).arg(repair);
    let hand_over = Command::new("hand-over").about(HAND_OVER_ABOUT).after_help(HAND_OVER_AFTER);
    Command::new("defs-node")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .arg(config)
        .args(flags::arguments(Side::Node))
        .subcommand(fsck)
        .subcommand(hand_over)
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_finds_no_fault_with_the_command() {
        super::command().debug_assert();
    }
}
