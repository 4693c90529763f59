//! Giving back the bytes of shards that the index no longer names.

use defs_core::message::ShardKey;
use defs_core::port::DiskError;

use crate::entry::entry_length;
use crate::files::failed;
use crate::index::{Family, Index, parse_shard_key, shard_key};
use crate::place::{Home, Place};
use crate::store::Inner;

/// Files looked after at once.
const SWEEP: usize = 4096;

impl Inner {
    /// Gives back the bytes at `place`, whose entry is gone from the index.
    pub(crate) fn free(&self, key: &ShardKey, place: &Place) {
        match place.home {
            Home::File => self.discard(&self.folder.shard(key)),
            Home::Segment { .. } => self.release(place),
        }
        self.space.remove_shard(place.length);
    }

    /// Counts an entry of a segment as dead.
    pub(crate) fn release(&self, place: &Place) {
        let Home::Segment { number, at } = place.home else { return };
        let bytes = entry_length(place.sealed_at, place.length);
        if let Err(error) = self.segments.release(number, at, bytes) {
            tracing::warn!(number, %error, "a dead entry could not be marked or its segment removed");
        }
    }

    /// Forgets files that were to be removed, once it is durable that they are. Until
    /// then their names in `trash` tell the next start that they are not a loss of the
    /// index.
    pub(crate) fn sweep_trash(&self) -> Result<usize, DiskError> {
        let swept = trash(&self.index, SWEEP)?;
        let mut folders = std::collections::BTreeSet::new();
        let mut batch = self.index.batch();
        for key in &swept {
            let _held = self.keys.hold([crate::locked::Key::Shard(*key)]);
            let bytes = shard_key(key);
            if !self.index.has(Family::Shards, &bytes)? {
                let path = self.folder.shard(key);
                self.files.unlink(&path).map_err(|error| failed("remove a shard file", error))?;
                folders.insert(key.stripe.0[0]);
            }
            batch.delete(Family::Trash, &bytes);
        }
        for first in folders {
            self.files
                .sync_folder(&self.folder.shards(first))
                .map_err(|error| failed("sync a folder of shards", error))?;
        }
        if !batch.is_empty() {
            batch.write_unsynced().map_err(|error| DiskError::Io {
                what: "forget removed files".into(),
                source: error.into(),
            })?;
        }
        Ok(swept.len())
    }
}

/// At most `limit` files that were to be removed.
pub(crate) fn trash(index: &Index, limit: usize) -> Result<Vec<ShardKey>, DiskError> {
    let keys = index.keys(Family::Trash, &[], limit)?;
    Ok(keys.iter().filter_map(|key| parse_shard_key(key)).collect())
}
