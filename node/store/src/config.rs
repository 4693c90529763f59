//! How a store is opened, and the seam through which tests make its disk fail.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::NetworkId;

/// Small enough that copying the living half of a segment is a short step, large enough
/// that a million small shards are few files.
pub const SEGMENT_MAX: u64 = 64 << 20;

/// Room for the index to write down deletions when the device is full: its log, and the
/// tables that it makes of it.
const KEEP_FREE: u64 = 64 << 20;

/// How to open a store.
#[derive(Clone)]
pub struct StoreConfig {
    /// The data folder; made if it is missing.
    pub folder: PathBuf,
    /// Sealed bytes, of shards and records together, that may be stored.
    pub capacity: u64,
    /// The network whose locators are answered.
    pub network: NetworkId,
    /// Bytes of the device that new data leaves free.
    pub keep_free: u64,
    /// A segment that has reached this many bytes is closed.
    pub segment_max: u64,
    /// Told before each step that touches the disk.
    pub faults: Arc<dyn Faults>,
    /// What to do when the disk may have lost what it was told to keep.
    pub fatal: Fatal,
    /// Told how long each sync of a file or folder took.
    pub synced: Synced,
}

impl StoreConfig {
    /// A store that aborts the process when a sync fails.
    #[must_use]
    pub fn new(folder: PathBuf, capacity: u64, network: NetworkId) -> Self {
        Self {
            folder,
            capacity,
            network,
            keep_free: KEEP_FREE,
            segment_max: SEGMENT_MAX,
            faults: Arc::new(NoFaults),
            fatal: Fatal::default(),
            synced: Synced::default(),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoreConfig")
            .field("folder", &self.folder)
            .field("capacity", &self.capacity)
            .field("network", &self.network)
            .field("keep_free", &self.keep_free)
            .field("segment_max", &self.segment_max)
            .finish_non_exhaustive()
    }
}

/// A step that touches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Bytes go to a shard file or segment.
    Write {
        /// How many.
        bytes: usize,
    },
    /// A file gets its final name.
    Rename,
    /// A file's bytes are made durable.
    SyncFile,
    /// A folder's names are made durable.
    SyncFolder,
    /// A batch goes to the index, synced.
    Index,
    /// A file is removed.
    Unlink,
}

/// Makes steps fail, counts them, or ends the process between them.
pub trait Faults: Send + Sync {
    /// Called before `step`; an error stands for the step's own.
    fn before(&self, step: Step) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Debug, Clone, Copy)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn before(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

/// Hears how long syncs take.
#[derive(Clone)]
pub struct Synced(Arc<dyn Fn(Duration) + Send + Sync>);

impl Synced {
    /// Calls `hook` after each sync.
    pub fn hook(hook: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn took(&self, time: Duration) {
        (self.0)(time);
    }
}

impl Default for Synced {
    fn default() -> Self {
        Self::hook(|_time| {})
    }
}

impl fmt::Debug for Synced {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Synced(..)")
    }
}

/// What to do when a sync has failed. The kernel may then have dropped the dirty pages
/// and report success next time, so nothing that this process believes about the disk
/// counts any more: it must end and read anew what is there.
#[derive(Clone)]
pub struct Fatal(Arc<dyn Fn(&str) + Send + Sync>);

impl Fatal {
    /// Calls `hook` instead of ending the process; for tests.
    pub fn hook(hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    pub(crate) fn end(&self, why: &str) {
        tracing::error!(why, "the disk can't be trusted any more: ending the process");
        (self.0)(why);
    }
}

impl Default for Fatal {
    fn default() -> Self {
        Self::hook(|_why| std::process::abort())
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fatal(..)")
    }
}
