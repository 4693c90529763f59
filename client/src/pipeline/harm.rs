//! Shards that are not what was stored: who sent them, counted once each and told to
//! whoever reads the file, also when the file is had without them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use defs_core::ids::{NodeId, PairId, ShardIndex, SliceNo};

/// How a shard is not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Its seal is broken: the disk or the node changed it.
    Damaged,
    /// Its seal is good and what is inside is not what was put: made by somebody who
    /// knows the stripe's secret, as every holder does of a slice that is stored whole.
    Forged,
}

impl std::fmt::Display for Harm {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Damaged => "damaged",
            Self::Forged => "forged",
        })
    }
}

/// A shard that a node sent and that is not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedShard {
    /// Of which slice.
    pub slice: SliceNo,
    /// Which shard.
    pub index: ShardIndex,
    /// The pair that should hold it.
    pub pair: PairId,
    /// The member that sent other bytes.
    pub node: NodeId,
    /// How it is wrong.
    pub harm: Harm,
}

impl std::fmt::Display for DamagedShard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { slice, index, pair, node, harm } = self;
        write!(out, "shard {index} of slice {slice} {harm} from node {node} of pair {pair}")
    }
}

/// What was found of a slice while it was read; shared by the reads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Report(Mutex<BTreeSet<DamagedShard>>);

impl Report {
    pub(super) fn add(&self, shard: DamagedShard) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
    }

    /// Each shard once, in order.
    pub(crate) fn take(&self) -> Vec<DamagedShard> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *found).into_iter().collect()
    }
}
