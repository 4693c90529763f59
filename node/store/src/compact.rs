//! Compaction of segments. Living entries are copied to the open segment and synced,
//! then the index is told, synced, and only when nothing names the old segment any more
//! is it removed: whenever the process ends, each entry is where the index says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use defs_core::format::Format;
use defs_core::message::ShardKey;
use defs_core::port::DiskError;

use crate::files::failed;
use crate::index::{Family, shard_key};
use crate::locked::Key;
use crate::place::{Home, Place, Stored};
use crate::segment::Appended;
use crate::store::Inner;
use crate::walk::Walk;

/// Bytes copied before they are synced and the index is told: bounds the memory, and how
/// long a delete of one of them waits.
const COPIED_MAX: u64 = 4 << 20;

/// What a step of compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Entries copied.
    pub moved: u64,
    /// Bytes given back to the device.
    pub freed: u64,
}

/// An entry and its copy.
struct Copied {
    key: ShardKey,
    old: Place,
    copy: Appended,
}

impl Copied {
    fn place(&self) -> Place {
        let home = Home::Segment { number: self.copy.number(), at: self.copy.at };
        Place { home, ..self.old }
    }
}

impl Inner {
    pub(crate) fn compact_step(&self) -> Result<Option<Compacted>, DiskError> {
        let swept = self.sweep_trash()?;
        let Some((number, fill)) = self.segments.most_dead() else {
            return Ok((swept > 0).then_some(Compacted { moved: 0, freed: 0 }));
        };
        let path = self.folder.segment(number);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                self.segments.set_stuck(number);
                return Err(failed(format!("open segment {number} to compact it"), error));
            }
        };
        let moved = self.move_living(number, &file)?;
        // Still there: something that the index names can't be read. Scrub will find it.
        if self.segments.set_stuck(number) {
            tracing::warn!(number, "a segment holds entries that can't be read");
            return Ok(Some(Compacted { moved, freed: 0 }));
        }
        Ok(Some(Compacted { moved, freed: fill.dead() }))
    }

    fn move_living(&self, number: u64, file: &File) -> Result<u64, DiskError> {
        let reading = |error| failed(format!("read segment {number} to compact it"), error);
        let mut walk = Walk::new(file).map_err(reading)?;
        let (mut moved, mut bytes, mut copied) = (0, 0, Vec::new());
        while let Some(found) = walk.next().map_err(reading)? {
            let head = &found.header.head;
            let key = ShardKey { stripe: head.descriptor.body.id(), index: head.index };
            let home = Home::Segment { number, at: found.at };
            let Some(old) = self.stored(&key)?.map(|stored| stored.place) else { continue };
            if old.home != home {
                continue;
            }
            let copy = match self.copy_entry(file, found.at, found.length()) {
                Ok(copy) => copy,
                Err(error) => {
                    self.adopt_copies(&copied)?;
                    return Err(error);
                }
            };
            bytes += copy.bytes;
            copied.push(Copied { key, old, copy });
            if bytes >= COPIED_MAX {
                moved += self.adopt_copies(&copied)?;
                copied.clear();
                bytes = 0;
            }
        }
        Ok(moved + self.adopt_copies(&copied)?)
    }

    fn copy_entry(&self, file: &File, at: u64, length: u64) -> Result<Appended, DiskError> {
        let copy = || {
            // Nothing is allocated for an entry whose header promises what isn't there.
            if at.saturating_add(length) > file.metadata()?.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let mut entry = vec![0; length];
            file.read_exact_at(&mut entry, at)?;
            self.segments.append(&entry)
        };
        copy().map_err(|error| self.failed_write(length, "copy an entry of a segment", error))
    }

    /// Makes copies durable and the index name them, unless a shard was deleted since.
    fn adopt_copies(&self, copied: &[Copied]) -> Result<u64, DiskError> {
        let adopted = self.sync_copies(copied).and_then(|()| self.name_copies(copied));
        if adopted.is_err() {
            copied.iter().for_each(|copied| self.release(&copied.place()));
        }
        adopted
    }

    fn sync_copies(&self, copied: &[Copied]) -> Result<(), DiskError> {
        // The last entry of a segment is synced with all before it.
        let mut later = None;
        for Copied { copy, .. } in copied.iter().rev() {
            if later.replace(copy.number()) != Some(copy.number()) {
                self.segments
                    .sync(copy)
                    .map_err(|error| self.failed_write(copy.bytes, "sync a segment", error))?;
            }
        }
        Ok(())
    }

    fn name_copies(&self, copied: &[Copied]) -> Result<u64, DiskError> {
        let _held = self.keys.hold(copied.iter().map(|copied| Key::Shard(copied.key)));
        let mut batch = self.index.batch();
        let (mut moved, mut released) = (0, Vec::with_capacity(copied.len()));
        for copied in copied {
            let place = copied.place();
            match self.stored(&copied.key)? {
                Some(stored) if stored.place == copied.old => {
                    let stored = Stored { place, ..stored };
                    batch.put(Family::Shards, &shard_key(&copied.key), &stored.encode());
                    released.push(copied.old);
                    moved += 1;
                }
                Some(_) | None => released.push(place),
            }
        }
        if !batch.is_empty() {
            self.write_index(batch)?;
        }
        released.iter().for_each(|place| self.release(place));
        Ok(moved)
    }
}
