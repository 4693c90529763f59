//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use defs_core::size::Size;
use defs_crds::Interval;

const AFTER: &str = "Examples:
  kubectl defs status                how the clusters are, and what is not as it should be
  kubectl defs tree demo             its pairs, their members, and the spares
  kubectl defs why demo-3            why a cluster, pair or node is as it is, what is done about
                                     it, and when that will be done
  kubectl defs node replace demo-3   let another node take its place
  kubectl defs plan demo             which pairs would be better; `approve demo` lets it happen
  kubectl defs check --create        put, get and repair a real object in a small new cluster

What has become of a stored object says the owner's command: `defs why NAME`.

Exit codes:
  0 done   1 failed   2 wrong usage   3 name unknown
  4 no cluster reached, or DeFS not installed in it   5 not allowed";

/// What a person typed.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-defs",
    bin_name = "kubectl defs",
    version,
    about,
    after_help = AFTER,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,

    /// How to say it: table for people, json for programs
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        default_value_t = Output::Table
    )]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where to look, as kubectl has it.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Target {
    /// The namespace to look in (default: the one of the kubeconfig's context)
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,

    /// Look in all namespaces
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,

    /// The context of the kubeconfig (default: the current one)
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,

    /// The kubeconfig (default: KUBECONFIG, else ~/.kube/config; in a pod its own account)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// How to say things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how clusters are: a line each, and what is not as it should be
    Status {
        /// A DefsCluster (default: all)
        cluster: Option<String>,
    },
    /// Show clusters with their pairs, members and spares
    Tree {
        /// A DefsCluster (default: all)
        cluster: Option<String>,
    },
    /// Explain why a cluster, pair or node is as it is, what is done about it, and until when
    #[command(after_help = "`defs why NAME` explains a stored object.")]
    Why {
        /// A DefsCluster, DefsPair or DefsNode; `pair/NAME` where several have the name
        name: String,
    },
    /// List pairs, or show one
    Pair {
        #[command(subcommand)]
        command: Option<PairCommand>,
    },
    /// List nodes, show one, replace one, or give one up
    Node {
        #[command(subcommand)]
        command: Option<NodeCommand>,
    },
    /// Show the plan for better pairs that waits for approval or is carried out; changes nothing
    Plan {
        /// A DefsCluster (default: the only one)
        cluster: Option<String>,
    },
    /// Show the plan that waits, and let exactly this one happen
    Approve {
        /// A DefsCluster
        cluster: String,
    },
    /// Put, get and repair a real object: the acceptance test of an installation
    Check(Check),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PairCommand {
    /// List them
    List,
    /// Show all that is known of one
    Show {
        /// A DefsPair
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List them
    List,
    /// Show all that is known of one
    Show {
        /// A DefsNode
        name: String,
    },
    /// Let another node take its place; it hands over first, as long as it answers
    Replace {
        /// A DefsNode
        name: String,
        /// Take that back
        #[arg(long)]
        undo: bool,
    },
    /// Give up what only this node holds: it will never come back, and nobody waits for it
    GiveUp {
        /// A DefsNode
        name: String,
        /// Its peer id, letter by letter, as `node show` says it: so that no other is given up
        #[arg(long, value_name = "ID")]
        peer_id: String,
    },
}

/// What is to be checked, and on what.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "It needs the `defs` command, beside itself or in PATH, and reaches the nodes
themselves: run it in a pod, or where the nodes' addresses lead to them. It writes
only below DEFS_HOME, or without that below TMPDIR. Its key and its object are its own."
)]
pub(crate) struct Check {
    /// A DefsCluster (default: the only one)
    #[arg(conflicts_with = "create")]
    pub(crate) cluster: Option<String>,
    /// Make a small DefsCluster for it, and delete it at the end
    #[arg(long)]
    pub(crate) create: bool,
    /// With --create: the name of that DefsCluster
    #[arg(long, default_value = "defs-check", requires = "create")]
    pub(crate) name: String,
    /// With --create: its nodes
    #[arg(long, default_value_t = 4, requires = "create",
        value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(crate) nodes: u32,
    /// With --create: the image of its nodes (default: this version, of the operator's registry)
    #[arg(long, requires = "create")]
    pub(crate) image: Option<String>,
    /// With --create: a secret with which the image is pulled; may be said several times
    #[arg(long = "image-pull-secret", value_name = "NAME", requires = "create")]
    pub(crate) image_pull_secrets: Vec<String>,
    /// With --create: the volume of each node
    #[arg(long, value_name = "SIZE", default_value = "1Gi", requires = "create")]
    pub(crate) storage: Size,
    /// With --create: the storage class of the volumes (default: the default class)
    #[arg(long, value_name = "NAME", requires = "create")]
    pub(crate) storage_class: Option<String>,
    /// How much to store
    #[arg(long, default_value = "8Mi", value_parser = some_bytes)]
    pub(crate) size: Size,
    /// How long each single wait may take
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    pub(crate) timeout: Duration,
    /// Leave the cluster, the object and the client's folder
    #[arg(long)]
    pub(crate) keep: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    let span: Interval = text.parse().map_err(|error| format!("{error}"))?;
    Ok(span.duration())
}

fn some_bytes(text: &str) -> Result<Size, String> {
    match text.parse() {
        Ok(Size(0)) => Err("an empty object shows nothing".to_owned()),
        Ok(size) => Ok(size),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("kubectl-defs").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_kubectl_takes_before_a_name_is_taken_behind_it_too() {
        for line in ["-n x -o json why a", "why a -n x -o json", "why -o json --namespace x a"] {
            let args = parse(line).unwrap();
            assert_eq!(args.target.namespace.as_deref(), Some("x"), "{line}");
            assert_eq!(args.output, Output::Json, "{line}");
        }
        assert!(parse("status -A").unwrap().target.all_namespaces);
    }

    #[test]
    fn a_check_makes_a_cluster_or_takes_one_and_never_both() {
        let Command::Check(check) = parse("check").unwrap().command else { panic!() };
        assert_eq!((check.size, check.timeout), (Size::mib(8), Duration::from_mins(5)));
        assert!(!check.create);
        for refused in
            ["check demo --create", "check --nodes 6", "check --size 0", "check --nodes 1"]
        {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn giving_up_a_node_takes_its_peer_id() {
        assert!(parse("node give-up demo-3").is_err());
        assert!(parse("node give-up demo-3 --peer-id 12ab").is_ok());
    }
}
