//! The store: one data folder, its index and its files.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use defs_core::ids::NetworkId;
use defs_core::message::ShardKey;
use defs_core::port::{DiskError, Usage};
use defs_telemetry::{spans, trace};
use tokio::sync::Semaphore;

use crate::config::Step;
use crate::files::{Files, failed, failed_write};
use crate::folder::Folder;
use crate::group_sync::GroupSync;
use crate::index::{Batch, Family, Index, is_full, shard_key};
use crate::locked::{KeyLocks, locked};
use crate::place::Stored;
use crate::segment::Segments;
use crate::space::Space;

/// Stores under way at once, each of which holds a thread and may leave a file without an
/// index entry if the process ends. A large shard counts from its first byte on: nodes
/// that wait for each other while they receive must have fewer under way, or they may
/// wait for ever.
pub const STORES_MAX: usize = 128;

/// Reads of more than one frame under way at once, each of which holds a thread for as
/// long as its reader takes. With [`STORES_MAX`] this leaves a quarter of Tokio's
/// blocking threads to the rest.
pub const READS_MAX: usize = 256;

/// Sealed bytes from which a shard is a file of its own: below, the sync and the names
/// of a file cost more than its bytes.
pub const FILE_MIN: u64 = 256 << 10;

/// A node's disk: see [`Disk`](defs_core::port::Disk). Clones share it; the folder is
/// free again once the last clone and the last work under way are gone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    pub(crate) stores: Arc<Semaphore>,
    pub(crate) reads: Arc<Semaphore>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) network: NetworkId,
    pub(crate) files: Files,
    pub(crate) index: Index,
    pub(crate) segments: Segments,
    pub(crate) space: Arc<Space>,
    pub(crate) keys: KeyLocks,
    pub(crate) new_names: NewNames,
    pub(crate) temporary: AtomicU64,
    // Last, so that the index is closed when its lock is given up.
    pub(crate) folder: Arc<Folder>,
}

impl Store {
    /// Lets go of the folder, once work under way is done and other clones are gone.
    pub fn close(self) {}

    /// Runs `work`, which blocks, where it may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let (inner, span) = (Arc::clone(&self.inner), tracing::Span::current());
        let work = move || span.in_scope(|| work(&inner));
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => {
                let what = "finish the work on the disk".into();
                Err(DiskError::Io { what, source: error.into() })
            }
        }
    }

    pub(crate) fn room(&self) -> Usage {
        self.inner.space.usage()
    }
}

impl Inner {
    pub(crate) fn stored(&self, key: &ShardKey) -> Result<Option<Stored>, DiskError> {
        self.index.value(Family::Shards, &shard_key(key))
    }

    /// Makes `batch` durable. A failure other than a full device is fatal: whether the
    /// batch will be there after a restart can't be known.
    pub(crate) fn write_index(&self, batch: Batch<'_>) -> Result<(), DiskError> {
        let needed = batch.bytes();
        let span = spans::disk_index(needed);
        trace::within_blocking(&span, || self.write_batch(batch, needed))
    }

    fn write_batch(&self, batch: Batch<'_>, needed: u64) -> Result<(), DiskError> {
        let what = "write to the index";
        if let Err(error) = self.files.before(Step::Index) {
            if !crate::files::is_full(&error) {
                self.files.fatal(&format!("failed to {what}: {error}"));
            }
            return Err(failed_write(self.folder.root(), needed, what, error));
        }
        batch.write().map_err(|error| {
            if is_full(&error) {
                return DiskError::Full { needed, free: 0 };
            }
            self.files.fatal(&format!("failed to {what}: {error}"));
            DiskError::Io { what: what.into(), source: error.into() }
        })
    }

    /// A name in `tmp/` that nobody has.
    pub(crate) fn temporary(&self) -> std::path::PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.folder.tmp().join(format!("{number}.tmp"))
    }

    /// Makes the names in the folder of `key` durable, together with those of others.
    pub(crate) fn sync_name(&self, key: &ShardKey) -> Result<(), DiskError> {
        self.new_names
            .sync(key.stripe.0[0], |first| self.files.sync_folder(&self.folder.shards(first)))
            .map_err(|error| self.failed_write(0, "sync a folder of shards", error))
    }

    pub(crate) fn failed_write(
        &self,
        needed: u64,
        what: impl Into<String>,
        error: std::io::Error,
    ) -> DiskError {
        failed_write(self.folder.root(), needed, what, error)
    }

    /// Removes a file that nothing names any more. If it can't be, it costs room until
    /// the next start and nothing else.
    pub(crate) fn discard(&self, path: &Path) {
        if let Err(error) = self.files.unlink(path) {
            tracing::warn!(path = %path.display(), %error, "a file could not be removed");
        }
    }
}

/// Folders of shards with names that are not yet durable. Those of all stores that wait
/// are synced in one go: on a journalling file system the first sync does for all.
#[derive(Debug, Default)]
pub(crate) struct NewNames {
    group: GroupSync,
    folders: Mutex<Vec<u8>>,
}

impl NewNames {
    fn sync(&self, folder: u8, sync: impl Fn(u8) -> std::io::Result<()>) -> std::io::Result<()> {
        locked(&self.folders).push(folder);
        self.group.join(|| {
            let mut folders = std::mem::take(&mut *locked(&self.folders));
            folders.sort_unstable();
            folders.dedup();
            folders.into_iter().try_for_each(sync)
        })
    }
}

/// Removes a file when dropped, unless it was kept.
#[derive(Debug)]
pub(crate) struct Doomed<'a> {
    inner: &'a Inner,
    pub(crate) path: Option<std::path::PathBuf>,
}

impl<'a> Doomed<'a> {
    pub(crate) fn new(inner: &'a Inner, path: std::path::PathBuf) -> Self {
        Self { inner, path: Some(path) }
    }

    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Doomed<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            self.inner.discard(path);
        }
    }
}

/// What to say when `key` isn't here.
pub(crate) fn missing(key: &ShardKey) -> DiskError {
    let error = std::io::Error::from(std::io::ErrorKind::NotFound);
    failed(format!("find shard {} of stripe {}", key.index, key.stripe), error)
}
