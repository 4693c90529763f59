//! What a cluster's spec says in the words of `defs_core::settings`.

use defs_core::mode::{Durability, Mode};
use defs_core::size::Size;

use super::{DefsClusterSpec, ErasureMode, WhenDeleted};
use crate::names::STATUS_PORT;

/// Percent of a volume that a node offers to the network. The rest is the file system's own
/// part, the index, and room for compaction.
pub const CAPACITY_PERCENT: u64 = 85;

/// A setting's name and what it is set to.
pub type Given = (&'static str, String);

impl DefsClusterSpec {
    /// The settings of every node. What differs by node (labels, addresses, files) and the
    /// cluster's own bootstrap peers come from elsewhere.
    #[must_use]
    pub fn node_settings(&self) -> Vec<Given> {
        let (process, failover) = (&self.node, &self.failover);
        let level: defs_core::settings::LogLevel = process.log_level.into();
        let format: defs_core::settings::LogFormat = process.log_format.into();
        let mut settings = vec![
            ("port", process.port.to_string()),
            ("statusPort", STATUS_PORT.to_string()),
            ("maxConnections", process.max_connections.to_string()),
            ("dialTimeout", process.dial_timeout.to_string()),
            ("logLevel", level.to_string()),
            ("logFormat", format.to_string()),
            ("heartbeat", failover.heartbeat.to_string()),
            ("suspectAfter", failover.suspect_after.to_string()),
            ("failAfter", failover.fail_after.to_string()),
            ("replaceAfter", failover.replace_after.to_string()),
            ("repairRate", self.repair.max_bandwidth.to_string()),
            ("capacity", self.capacity().to_string()),
        ];
        if let Some(workers) = process.workers {
            settings.push(("workers", workers.to_string()));
        }
        if !self.network.bootstrap_peers.is_empty() {
            settings.push(("bootstrapPeers", self.network.bootstrap_peers.join(",")));
        }
        settings
    }

    /// The settings with which owners store as the cluster promises. Numbers of shards and
    /// the ratio are told only in the modes that use them: given, they would choose the mode.
    #[must_use]
    pub fn client_settings(&self) -> Vec<Given> {
        let erasure = &self.erasure;
        let pairs = u8::try_from(self.durability.tolerate.pairs).unwrap_or(u8::MAX);
        let mut settings = vec![
            ("storageMode", Mode::from(erasure.mode).to_string()),
            ("minSliceSize", erasure.min_slice_size.to_string()),
            ("maxSliceSize", erasure.max_slice_size.to_string()),
            ("shardSize", erasure.shard_size.to_string()),
            ("durability", Durability(pairs).to_string()),
        ];
        match erasure.mode {
            ErasureMode::RsSize => {
                settings.push(("dataShards", erasure.data_shards.to_string()));
                settings.push(("parityShards", erasure.parity_shards.to_string()));
            }
            ErasureMode::Auto | ErasureMode::RsProportion => {
                settings.push(("parityRatio", erasure.parity_ratio.to_string()));
            }
            ErasureMode::File | ErasureMode::Slice => {}
        }
        settings
    }

    /// Whether the volumes outlive the cluster.
    #[must_use]
    pub fn keeps_volumes(&self) -> bool {
        self.storage.retention.when_deleted == WhenDeleted::Retain
    }

    /// What each node offers to the network.
    #[must_use]
    pub fn capacity(&self) -> Size {
        Size(self.storage.size.bytes() / 100 * CAPACITY_PERCENT)
    }
}
