//! The command line and the environment: the only place that reads them.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, Command, value_parser};
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

/// The settings of this process. Prints help and ends the process where that was asked for.
pub(crate) fn parse() -> Result<Settings> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A YAML file with settings (`name: value`)");
    let matches = Command::new("defs-node")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .arg(config)
        .args(flags::arguments(Side::Node))
        .get_matches();
    let file = matches.get_one::<PathBuf>("config");
    let given = flags::given(&matches, Side::Node);
    Ok(load_settings(file.map(PathBuf::as_path), environment(), given)?)
}
