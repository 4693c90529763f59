//! Opening a store: what the last process left behind is compared with the index, which
//! alone says what is stored.
//!
//! Files are compared by name only, so a start reads the index entries and lists the
//! folders, whatever the shards weigh:
//! - what lies in `tmp/` was being written: it is removed;
//! - a shard file without an index entry was not acknowledged, or its removal was cut
//!   short: it is removed. More of them than a crash can leave mean that the *index* has
//!   lost something; then nothing is touched and the opening refused;
//! - segments, and the tail of the newest, that nothing names: see [`Segments::adopt`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use defs_core::format::Format;
use defs_core::message::ShardKey;
use defs_core::port::DiskError;
use tokio::sync::Semaphore;

use crate::apply::parse_size;
use crate::config::StoreConfig;
use crate::entry::entry_length;
use crate::files::{Files, names};
use crate::folder::{Folder, shard_of_name};
use crate::index::{Family, Index, damaged, parse_shard_key};
use crate::locked::KeyLocks;
use crate::open_error::OpenError;
use crate::place::{Home, Stored};
use crate::remove::trash;
use crate::segment::{Fill, Segments};
use crate::space::{Counts, Device, Space};
use crate::store::{Inner, NewNames, READS_MAX, STORES_MAX, Store};

impl Store {
    /// Opens the store in `config.folder`, or makes it. Blocks for as long as it takes to
    /// read the index once.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let StoreConfig {
            folder,
            capacity,
            network,
            segment_max,
            keep_free,
            faults,
            fatal,
            synced,
        } = config;
        let files = Files::new(faults, fatal, synced);
        let folder = Arc::new(Folder::take(&folder)?);
        let io = |what| {
            let folder = folder.root().to_path_buf();
            move |source| OpenError::Io { what, folder, source }
        };
        if !folder.fresh && !folder.index().join("CURRENT").exists() {
            return Err(OpenError::IndexMissing { folder: folder.root().to_path_buf() });
        }
        let leftovers = folder.empty_tmp(&files).map_err(io("empty tmp"))?;
        let index = open_index(&folder, folder.fresh)?;
        if folder.fresh {
            folder.finish().map_err(io("write the format version"))?;
        }
        let known = Known::read(&folder, &index)?;
        let unindexed = known.unindexed.len();
        for path in &known.unindexed {
            files.unlink(path).map_err(io("remove a shard file without an index entry"))?;
        }
        let segments =
            Segments::adopt(Arc::clone(&folder), files.clone(), known.fills, segment_max)
                .map_err(io("take over the segments"))?;
        let Counts { shards, records, stored, .. } = known.counts;
        tracing::info!(shards, records, stored, leftovers, unindexed, "the store is open");
        let device = Device { folder: folder.root().to_path_buf(), keep_free };
        let inner = Inner {
            network,
            files,
            index,
            segments,
            space: Space::new(capacity, device, known.counts),
            keys: KeyLocks::default(),
            new_names: NewNames::default(),
            temporary: AtomicU64::new(0),
            folder,
        };
        inner.sweep_trash().map_err(|source| OpenError::IndexDamaged { source })?;
        Ok(Self {
            inner: Arc::new(inner),
            stores: Arc::new(Semaphore::new(STORES_MAX)),
            reads: Arc::new(Semaphore::new(READS_MAX)),
        })
    }
}

pub(crate) fn open_index(folder: &Folder, create: bool) -> Result<Index, OpenError> {
    Index::open(&folder.index(), create)
        .map_err(|source| OpenError::Index { folder: folder.root().to_path_buf(), source })
}

/// What the index names, and what lies there without being named.
#[derive(Debug, Default)]
pub(crate) struct Known {
    counts: Counts,
    fills: BTreeMap<u64, Fill>,
    unindexed: Vec<PathBuf>,
}

impl Known {
    pub(crate) fn read(folder: &Folder, index: &Index) -> Result<Self, OpenError> {
        let broken = |source| OpenError::IndexDamaged { source };
        let mut known = Self::default();
        let trash = trash(index, usize::MAX).map_err(broken)?.into_iter().collect();
        let mut unexplained = 0;
        for first in 0..=u8::MAX {
            unexplained += known.compare(folder, index, first, &trash)?;
        }
        if unexplained > STORES_MAX {
            return Err(OpenError::IndexIncomplete { unindexed: unexplained, crash: STORES_MAX });
        }
        index
            .visit(Family::Sizes, &[], |_, value| {
                known.counts.records += 1;
                known.counts.stored = known.counts.stored.saturating_add(parse_size(value)?);
                Ok(true)
            })
            .map_err(broken)?;
        Ok(known)
    }

    /// Compares one folder of shards with the index; answers how many of its files
    /// neither the index nor the trash explains.
    fn compare(
        &mut self,
        folder: &Folder,
        index: &Index,
        first: u8,
        trash: &BTreeSet<ShardKey>,
    ) -> Result<usize, OpenError> {
        let listed = names(&folder.shards(first)).map_err(|source| OpenError::Io {
            what: "list a folder of shards",
            folder: folder.root().to_path_buf(),
            source,
        })?;
        let mut files: BTreeMap<ShardKey, PathBuf> = listed
            .into_iter()
            .filter_map(|(name, path)| Some((shard_of_name(&name)?, path)))
            .collect();
        self.read_shards(index, first, &mut files)
            .map_err(|source| OpenError::IndexDamaged { source })?;
        let unexplained = files.keys().filter(|key| !trash.contains(key)).count();
        self.unindexed.extend(files.into_values());
        Ok(unexplained)
    }

    /// Counts the shards whose stripe begins with `first`, and takes their files out of
    /// `files`.
    fn read_shards(
        &mut self,
        index: &Index,
        first: u8,
        files: &mut BTreeMap<ShardKey, PathBuf>,
    ) -> Result<(), DiskError> {
        index.visit(Family::Shards, &[first], |key, value| {
            let Some(key) = parse_shard_key(key).filter(|key| key.stripe.0[0] == first) else {
                return Ok(false);
            };
            let stored = Stored::decode(value).map_err(|e| damaged(Family::Shards, &e))?;
            let place = stored.place;
            self.counts.shards += 1;
            self.counts.stored = self.counts.stored.saturating_add(place.length);
            match place.home {
                Home::Segment { number, at } => {
                    let bytes = entry_length(place.sealed_at, place.length);
                    self.fills.entry(number).or_default().add(at, bytes);
                }
                Home::File => {
                    if files.remove(&key).is_none() {
                        tracing::error!(stripe = %key.stripe, index = %key.index, "a shard file is missing");
                    }
                }
            }
            Ok(true)
        })
    }
}
