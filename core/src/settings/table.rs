//! The table of all settings.

use std::fmt;
use std::time::Duration;

use super::Settings;
use super::kind::Kind;
use crate::size::Size;

/// Which processes a setting means something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The owner's: library, command, gateway.
    Client,
    /// A storage node.
    Node,
    /// Every process.
    Both,
}

/// One row of the table.
pub struct Setting {
    /// Its name in files and in error texts: `storageMode`.
    pub name: &'static str,
    /// Its flag without the dashes: `storage-mode`. Always the name in other letters;
    /// written out so that a command line parser can borrow it.
    pub flag: &'static str,
    /// The default as it would be written in a file.
    pub default: &'static str,
    /// Which processes it means something to.
    pub side: Side,
    /// One sentence on what it does.
    pub effect: &'static str,
    kind: Kind,
}

impl Setting {
    /// The environment variable: `DEFS_STORAGE_MODE`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("DEFS_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// What its numbers count; empty for what isn't a number.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        self.kind.unit()
    }

    /// What it may be set to, for people.
    #[must_use]
    pub fn bounds(&self) -> String {
        self.kind.bounds()
    }

    /// Whether it is either on or off, so that a flag without a value means on.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch(_))
    }

    /// Whether it names a file or a folder.
    #[must_use]
    pub fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Folder(_) | Kind::OptionalPath(_))
    }

    pub(super) fn assign(&self, settings: &mut Settings, text: &str) -> Option<()> {
        self.kind.assign(settings, text)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Setting({})", self.name)
    }
}

/// Every setting, in the order in which people read about them.
#[must_use]
pub fn table() -> &'static [Setting] {
    TABLE
}

/// The setting of this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}

static TABLE: &[Setting] = &[
    Setting {
        name: "storageMode",
        flag: "storage-mode",
        default: "auto",
        side: Side::Client,
        effect: "How a file is cut and coded; auto chooses by its size and the open pairs.",
        kind: Kind::Mode(|it| &mut it.storage_mode),
    },
    Setting {
        name: "dataShards",
        flag: "data-shards",
        default: "10",
        side: Side::Client,
        effect: "Shards that carry data in mode rs-size; if given, auto means rs-size.",
        kind: Kind::Count { unit: "shards", min: 1, max: 100, field: |it| &mut it.data_shards },
    },
    Setting {
        name: "parityShards",
        flag: "parity-shards",
        default: "4",
        side: Side::Client,
        effect: "Shards of a stripe that may be lost in mode rs-size; if given, auto means rs-size.",
        kind: Kind::Count { unit: "shards", min: 0, max: 100, field: |it| &mut it.parity_shards },
    },
    Setting {
        name: "parityRatio",
        flag: "parity-ratio",
        default: "0.4",
        side: Side::Client,
        effect: "Parity shards for each data shard in mode rs-proportion.",
        kind: Kind::Ratio(|it| &mut it.parity_permille),
    },
    Setting {
        name: "minSliceSize",
        flag: "min-slice-size",
        default: "1Mi",
        side: Side::Client,
        effect: "The smallest slice that a file is cut into; its last slice may be smaller.",
        kind: Kind::Size {
            min: Size::mib(1),
            max: Size::mib(64),
            field: |it| &mut it.min_slice_size,
        },
    },
    Setting {
        name: "maxSliceSize",
        flag: "max-slice-size",
        default: "64Mi",
        side: Side::Client,
        effect: "The largest slice that a file is cut into.",
        kind: Kind::Size {
            min: Size::mib(1),
            max: Size::mib(64),
            field: |it| &mut it.max_slice_size,
        },
    },
    Setting {
        name: "shardSize",
        flag: "shard-size",
        default: "32Mi",
        side: Side::Client,
        effect: "The largest shard that mode rs-proportion makes.",
        kind: Kind::Size { min: Size::kib(64), max: Size::mib(64), field: |it| &mut it.shard_size },
    },
    Setting {
        name: "durability",
        flag: "durability",
        default: "1",
        side: Side::Client,
        effect: "Whole pairs that may vanish without loss; pair means one node of each pair, but no pair.",
        kind: Kind::Durability(|it| &mut it.durability),
    },
    Setting {
        name: "memoryBudget",
        flag: "memory-budget",
        default: "256Mi",
        side: Side::Client,
        effect: "Bytes of slices and shards that all transfers together keep in memory.",
        kind: Kind::Size {
            min: Size::mib(64),
            max: Size::gib(64),
            field: |it| &mut it.memory_budget,
        },
    },
    Setting {
        name: "port",
        flag: "port",
        default: "4001",
        side: Side::Node,
        effect: "Where peers reach this node, TCP and UDP; 0 takes a free port.",
        kind: Kind::Port(|it| &mut it.port),
    },
    Setting {
        name: "listenAddress",
        flag: "listen-address",
        default: "0.0.0.0",
        side: Side::Node,
        effect: "The address of this machine on which the node listens; 0.0.0.0 is all of them.",
        kind: Kind::Ip(|it| &mut it.listen_address),
    },
    Setting {
        name: "statusPort",
        flag: "status-port",
        default: "0",
        side: Side::Node,
        effect: "Where health and metrics are served; 0 serves none.",
        kind: Kind::Port(|it| &mut it.status_port),
    },
    Setting {
        name: "announce",
        flag: "announce",
        default: "",
        side: Side::Node,
        effect: "Where other peers shall dial this node, if not where it sees itself.",
        kind: Kind::Addresses(|it| &mut it.announce),
    },
    Setting {
        name: "bootstrap",
        flag: "bootstrap",
        default: "false",
        side: Side::Node,
        effect: "Act as a bootstrap node: found a network where there is none yet, and relay for those that can't be dialled.",
        kind: Kind::Switch(|it| &mut it.bootstrap),
    },
    Setting {
        name: "capacity",
        flag: "capacity",
        default: "auto",
        side: Side::Node,
        effect: "Bytes offered to the network; auto is nine tenths of what is free at the first start.",
        kind: Kind::AutoSize {
            min: Size::mib(1),
            max: Size::gib(1 << 20),
            field: |it| &mut it.capacity,
        },
    },
    Setting {
        name: "zone",
        flag: "zone",
        default: "",
        side: Side::Node,
        effect: "The zone this node stands in, such as a rack; the two nodes of a pair should differ in it.",
        kind: Kind::Label(|it| &mut it.labels.zone),
    },
    Setting {
        name: "region",
        flag: "region",
        default: "",
        side: Side::Node,
        effect: "The region this node stands in.",
        kind: Kind::Label(|it| &mut it.labels.region),
    },
    Setting {
        name: "host",
        flag: "host",
        default: "",
        side: Side::Node,
        effect: "The machine this node runs on; empty is the machine's own name.",
        kind: Kind::Label(|it| &mut it.labels.host),
    },
    Setting {
        name: "inviteFile",
        flag: "invite-file",
        default: "",
        side: Side::Node,
        effect: "The invite with which this node becomes a member of its network.",
        kind: Kind::OptionalPath(|it| &mut it.invite_file),
    },
    Setting {
        name: "networkFile",
        flag: "network-file",
        default: "",
        side: Side::Both,
        effect: "The file that names the network: a node becomes a member of it, a client passes over nodes of others.",
        kind: Kind::OptionalPath(|it| &mut it.network_file),
    },
    Setting {
        name: "bootstrapPeers",
        flag: "bootstrap-peers",
        default: "",
        side: Side::Both,
        effect: "The peers to ask first, as multiaddresses; /p2p/ and the peer's id may follow.",
        kind: Kind::Addresses(|it| &mut it.bootstrap_peers),
    },
    Setting {
        name: "mdns",
        flag: "mdns",
        default: "false",
        side: Side::Both,
        effect: "Find peers of the same local network by multicast.",
        kind: Kind::Switch(|it| &mut it.mdns),
    },
    Setting {
        name: "maxConnections",
        flag: "max-connections",
        default: "512",
        side: Side::Both,
        effect: "Connections to other peers at one time.",
        kind: Kind::Count {
            unit: "connections",
            min: 8,
            max: 10_000,
            field: |it| &mut it.max_connections,
        },
    },
    Setting {
        name: "dialTimeout",
        flag: "dial-timeout",
        default: "5s",
        side: Side::Both,
        effect: "How long one attempt to reach a peer may take.",
        kind: Kind::Time {
            min: Duration::from_millis(100),
            max: Duration::from_secs(60),
            field: |it| &mut it.dial_timeout,
        },
    },
    Setting {
        name: "heartbeat",
        flag: "heartbeat",
        default: "auto",
        side: Side::Node,
        effect: "Between two heartbeats to the partner; auto is a third of suspectAfter.",
        kind: Kind::AutoTime {
            min: Duration::from_millis(100),
            max: Duration::from_mins(1),
            field: |it| &mut it.heartbeat,
        },
    },
    Setting {
        name: "suspectAfter",
        flag: "suspect-after",
        default: "6s",
        side: Side::Node,
        effect: "Silence after which the partner is suspected: reads go to the other member, and the pair takes nothing new; more than heartbeat.",
        kind: Kind::Time {
            min: Duration::from_millis(300),
            max: Duration::from_mins(5),
            field: |it| &mut it.suspect_after,
        },
    },
    Setting {
        name: "failAfter",
        flag: "fail-after",
        default: "10s",
        side: Side::Node,
        effect: "Silence before which the partner is never held to be down; more than suspectAfter.",
        kind: Kind::Time {
            min: Duration::from_millis(400),
            max: Duration::from_hours(1),
            field: |it| &mut it.fail_after,
        },
    },
    Setting {
        name: "replaceAfter",
        flag: "replace-after",
        default: "10m",
        side: Side::Node,
        effect: "How long a node is down before another takes its place, or its pair is rebuilt elsewhere; more than failAfter.",
        kind: Kind::Time {
            min: Duration::from_millis(500),
            max: Duration::from_hours(30 * 24),
            field: |it| &mut it.replace_after,
        },
    },
    Setting {
        name: "repairRate",
        flag: "repair-rate",
        default: "100Mi",
        side: Side::Node,
        effect: "Bytes that a node copies and rebuilds a second, at most.",
        kind: Kind::Size {
            min: Size::mib(1),
            max: Size::mib(16 << 10),
            field: |it| &mut it.repair_rate,
        },
    },
    Setting {
        name: "balanceEvery",
        flag: "balance-every",
        default: "10m",
        side: Side::Node,
        effect: "How often a pair looks whether it is fuller than others, and then gives them shards; within five percent all count as even.",
        kind: Kind::Time {
            min: Duration::from_secs(1),
            max: Duration::from_hours(30 * 24),
            field: |it| &mut it.balance_every,
        },
    },
    Setting {
        name: "pairing",
        flag: "pairing",
        default: "own",
        side: Side::Node,
        effect: "Who decides which nodes are pairs: the nodes themselves (own), or whoever holds the invite key, such as an operator (assigned).",
        kind: Kind::Pairing(|it| &mut it.pairing),
    },
    Setting {
        name: "adminPort",
        flag: "admin-port",
        default: "0",
        side: Side::Node,
        effect: "Where the admin API is served to whoever shows a certificate of tlsDir's authority; 0 serves it on the data folder's socket only.",
        kind: Kind::Port(|it| &mut it.admin_port),
    },
    Setting {
        name: "tlsDir",
        flag: "tls-dir",
        default: "",
        side: Side::Node,
        effect: "The folder with the admin port's certificate: tls.crt, tls.key, and ca.crt of the authority that callers' certificates are of.",
        kind: Kind::OptionalPath(|it| &mut it.tls_dir),
    },
    Setting {
        name: "dataDir",
        flag: "data-dir",
        default: "~/.local/share/defs",
        side: Side::Both,
        effect: "The folder for everything that is kept: identity, shards, records, journals.",
        kind: Kind::Folder(|it| &mut it.data_dir),
    },
    Setting {
        name: "logDir",
        flag: "log-dir",
        default: "",
        side: Side::Both,
        effect: "The folder for a log file a day; empty logs to the standard error stream.",
        kind: Kind::OptionalPath(|it| &mut it.log_dir),
    },
    Setting {
        name: "logLevel",
        flag: "log-level",
        default: "info",
        side: Side::Both,
        effect: "How much is logged.",
        kind: Kind::Level(|it| &mut it.log_level),
    },
    Setting {
        name: "logFormat",
        flag: "log-format",
        default: "text",
        side: Side::Both,
        effect: "How a line of the log is written.",
        kind: Kind::Format(|it| &mut it.log_format),
    },
    Setting {
        name: "workers",
        flag: "workers",
        default: "auto",
        side: Side::Both,
        effect: "Threads on which a client encrypts, hashes and codes, and a node serves; auto is the number of cores.",
        kind: Kind::AutoCount { unit: "threads", min: 1, max: 256, field: |it| &mut it.workers },
    },
    Setting {
        name: "bufferSize",
        flag: "buffer-size",
        default: "256Ki",
        side: Side::Client,
        effect: "Bytes written at a time to a file, and read or written at a time on a pipe.",
        kind: Kind::Size { min: Size::kib(64), max: Size::mib(4), field: |it| &mut it.buffer_size },
    },
];
