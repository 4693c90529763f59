//! Why a download failed, and which slices are to blame.

use std::ops::Range;

use defs_core::ids::{FileId, SliceNo};
use thiserror::Error;

use crate::journal::JournalError;
use crate::pipeline::fetch::FetchError;
use crate::pipeline::harm::DamagedShard;
use crate::pipeline::index::ManifestError;
use crate::pipeline::sink::SinkError;
use crate::records::ReadRecordError;

/// A slice that can't be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortSlice {
    /// Which one.
    pub slice: SliceNo,
    /// Shards that are held somewhere.
    pub have: usize,
    /// Shards needed.
    pub need: usize,
}

impl std::fmt::Display for ShortSlice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.need.saturating_sub(self.have);
        write!(out, "slice {} ({short} shards short)", self.slice)
    }
}

fn listed(slices: &[ShortSlice]) -> String {
    slices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Who sent what, behind the rest of a sentence; nothing where nobody did.
fn blamed(damaged: &[DamagedShard]) -> String {
    let shards = damaged.iter().map(|shard| format!("; {shard}"));
    shards.collect()
}

/// Why a download failed.
#[derive(Debug, Clone, Error)]
pub enum DownloadError {
    /// The manifest was not found.
    #[error(transparent)]
    Record(#[from] ReadRecordError),
    /// The manifest was not opened.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Too many shards of some slices are away.
    #[error("the file can't be had now: {}{}", listed(.slices), blamed(.damaged))]
    TooFewShards {
        /// The slices that can't be had.
        slices: Vec<ShortSlice>,
        /// What nodes sent instead of shards of the first of them.
        damaged: Vec<DamagedShard>,
        /// Why the first of them can't.
        source: FetchError,
    },
    /// A slice was not had for another reason.
    #[error("failed to fetch the file{}", blamed(.damaged))]
    Fetch {
        /// Why.
        source: FetchError,
        /// What nodes sent instead of its shards.
        damaged: Vec<DamagedShard>,
    },
    /// The slices are right and the whole is not.
    #[error("the content of {file} is not what its manifest says")]
    OtherContent {
        /// The file.
        file: FileId,
    },
    /// The range is not within the file.
    #[error("bytes {} to {} were asked for, the file has {length}", .range.start, .range.end)]
    Range {
        /// What was asked for.
        range: Range<u64>,
        /// Bytes of the file.
        length: u64,
    },
    /// The bytes were not written.
    #[error("failed to write what was got")]
    Sink(#[from] SinkError),
    /// The journal failed.
    #[error("failed to keep the download's progress")]
    Journal(#[from] JournalError),
}

impl DownloadError {
    /// Whether the same download may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Record(error) => error.is_retryable(),
            Self::TooFewShards { .. } | Self::Fetch { .. } => true,
            Self::Manifest(_)
            | Self::OtherContent { .. }
            | Self::Range { .. }
            | Self::Sink(_)
            | Self::Journal(_) => false,
        }
    }
}
