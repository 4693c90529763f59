//! What a task works on: enough to go on after a restart and to notice that what it
//! works on has changed.

use std::path::PathBuf;

use defs_core::geometry::Geometry;
use defs_core::manifest::SliceEntry;
use defs_core::mode::Mode;

use crate::keys::FileKey;
use crate::ticket::Ticket;

use super::TaskKind;

/// What tells that a file is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) length: u64,
    pub(crate) modified_ns: i128,
}

/// An upload: everything but the bytes.
#[derive(Debug)]
pub(crate) struct UploadPlan {
    pub(crate) name: String,
    /// `None`: the bytes came from somewhere that can't be read again.
    pub(crate) source: Option<(PathBuf, FileStamp)>,
    pub(crate) key: FileKey,
    pub(crate) lock_seed: [u8; 32],
    pub(crate) file_random: [u8; 32],
    pub(crate) mode: Mode,
    pub(crate) geometry: Geometry,
    pub(crate) per_pair: u8,
    pub(crate) slice_size: u64,
    pub(crate) replace: bool,
}

/// A download into a file.
#[derive(Debug)]
pub(crate) struct DownloadPlan {
    pub(crate) ticket: Ticket,
    pub(crate) name: String,
    pub(crate) target: PathBuf,
    /// Where the bytes are collected, beside the target.
    pub(crate) partial: PathBuf,
}

/// What a task works on.
#[derive(Debug)]
pub(crate) enum Plan {
    Upload(UploadPlan),
    Download(DownloadPlan),
}

impl Plan {
    pub(crate) fn kind(&self) -> TaskKind {
        match self {
            Self::Upload(_) => TaskKind::Upload,
            Self::Download(_) => TaskKind::Download,
        }
    }

    pub(crate) fn kind_code(&self) -> u8 {
        match self {
            Self::Upload(_) => 1,
            Self::Download(_) => 2,
        }
    }
}

/// How far a slice is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SliceRow {
    /// Sealed under this salt, which no later attempt uses again.
    Begun([u8; 32]),
    /// Stored, with all receipts; or, in a download, written.
    Done(SliceEntry),
}
