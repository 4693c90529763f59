//! Why a store can't be opened.

use std::io;
use std::path::PathBuf;

use defs_core::port::DiskError;
use thiserror::Error;

/// Why a store can't be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the folder open.
    #[error("the data folder {} is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A later program wrote the folder.
    #[error(
        "the data folder {} has format {found}, this program reads up to {known}: upgrade it",
        folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The format file holds something else.
    #[error("the file {} does not hold a format version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The index is not there, though the folder was in use before.
    #[error("the index in {} is missing: rebuild it with fsck --repair", folder.display())]
    IndexMissing {
        /// The folder.
        folder: PathBuf,
    },
    /// The index can't be opened.
    #[error("the index in {} can't be opened: try fsck --repair", folder.display())]
    Index {
        /// The folder.
        folder: PathBuf,
        /// What RocksDB says.
        #[source]
        source: rocksdb::Error,
    },
    /// An entry of the index can't be read.
    #[error("the index can't be read: rebuild it with fsck --repair")]
    IndexDamaged {
        /// What was found.
        #[source]
        source: DiskError,
    },
    /// More shard files lie around than a crash can leave: the index must have lost its
    /// knowledge of them, and removing them would lose data.
    #[error(
        "{unindexed} shard files are not in the index, a crash leaves at most {crash}: \
         rebuild it with fsck --repair"
    )]
    IndexIncomplete {
        /// Files without an entry.
        unindexed: usize,
        /// How many stores may be under way when a process ends.
        crash: usize,
    },
    /// The operating system refused something.
    #[error("failed to {what} in {}", folder.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
