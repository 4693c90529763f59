//! Storing a shard. Nothing of it can be seen before its index entry is written, and
//! that is written last:
//!
//! 1. reserve its room, before the first byte is taken;
//! 2. write the entry, hashing on the way: to a file in `tmp/`, or to the end of a segment;
//! 3. sync it; a file then gets its name, and the folder is synced for it;
//! 4. write the index entry, synced.
//!
//! A process that ends before 4 leaves a file without an entry, which the next start
//! removes. Giving the name first, so that one commit of the file system's journal could
//! serve file and name, was measured and gains nothing on ext4; this way a file that has
//! its name is whole.

use std::sync::Arc;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::message::ShardKey;
use defs_core::port::{DiskError, ShardState};
use defs_core::stripe::ShardHead;
use defs_telemetry::{spans, trace};

use crate::entry::{Header, closing, opening};
use crate::files::Files;
use crate::index::{Family, shard_key};
use crate::intake::take;
use crate::locators;
use crate::locked::Key;
use crate::place::{Home, Place, Stored};
use crate::space::Reservation;
use crate::store::{Doomed, FILE_MIN, Inner};

impl Inner {
    /// Whether a shard is here.
    pub(crate) fn has(&self, head: &ShardHead) -> Result<bool, DiskError> {
        let key = ShardKey { stripe: head.descriptor.body.id(), index: head.index };
        self.index.has(Family::Shards, &shard_key(&key))
    }

    /// Stores a shard in `room`, or in room that is yet to be reserved.
    pub(crate) fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
        room: Option<Reservation>,
    ) -> Result<(), DiskError> {
        let stripe = head.descriptor.body.id();
        let key = ShardKey { stripe, index: head.index };
        if self.index.has(Family::Shards, &shard_key(&key))? {
            return take(body, head.shard_id(), |_| Ok(())).map(|_crc| ());
        }
        let header = Header { length: body.left(), state, head };
        let room = match room {
            Some(room) if room.bytes() == header.length => room,
            Some(_) | None => self.space.reserve(header.length)?,
        };
        let new = if header.length >= FILE_MIN {
            self.store_file(&key, &header, body)?
        } else {
            self.store_entry(&key, &header, body)?
        };
        if new {
            room.store_shard();
        }
        Ok(())
    }

    /// Answers whether the shard is new.
    fn store_file(&self, key: &ShardKey, header: &Header, body: Body) -> Result<bool, DiskError> {
        let (sealed, opening) = (header.length, opening(header));
        let failed = |error| self.failed_write(sealed, "write a shard file", error);
        let path = self.temporary();
        let file = Files::create(&path).map_err(failed)?;
        let temporary = Doomed::new(self, path.clone());
        self.files.write(&file, &opening).map_err(failed)?;
        let keep = |frame: &[u8]| self.files.write(&file, frame).map_err(failed);
        let crc = trace::within_blocking(&spans::disk_write(sealed), || {
            let crc = take(body, header.head.shard_id(), keep)?;
            self.files.write(&file, &closing(crc)).map_err(failed)?;
            Ok::<_, DiskError>(crc)
        })?;
        trace::within_blocking(&spans::disk_sync(), || self.files.sync_file(&file))
            .map_err(failed)?;

        let _held = self.keys.hold([Key::Shard(*key)]);
        if self.index.has(Family::Shards, &shard_key(key))? {
            return Ok(false);
        }
        self.files.rename(&path, &self.folder.shard(key)).map_err(failed)?;
        temporary.keep();
        let named = Doomed::new(self, self.folder.shard(key));
        self.sync_name(key)?;
        let sealed_at = opening.len() as u64;
        self.insert(key, header, Place { home: Home::File, sealed_at, length: sealed, crc })?;
        named.keep();
        Ok(true)
    }

    /// Answers whether the shard is new.
    fn store_entry(&self, key: &ShardKey, header: &Header, body: Body) -> Result<bool, DiskError> {
        let failed = |error| self.failed_write(header.length, "append to a segment", error);
        let mut entry = opening(header);
        let sealed_at = entry.len() as u64;
        let crc = take(body, header.head.shard_id(), |frame| {
            entry.extend_from_slice(frame);
            Ok(())
        })?;
        entry.extend_from_slice(&closing(crc));

        let _held = self.keys.hold([Key::Shard(*key)]);
        if self.index.has(Family::Shards, &shard_key(key))? {
            return Ok(false);
        }
        let appending = spans::disk_write(header.length);
        let appended = trace::within_blocking(&appending, || self.segments.append(&entry));
        let appended = appended.map_err(failed)?;
        let home = Home::Segment { number: appended.number(), at: appended.at };
        let place = Place { home, sealed_at, length: header.length, crc };
        let stored = trace::within_blocking(&spans::disk_sync(), || self.segments.sync(&appended))
            .map_err(failed)
            .and_then(|()| self.insert(key, header, place));
        if stored.is_err() {
            self.release(&place);
        }
        stored.map(|()| true)
    }

    /// Makes the shard visible.
    fn insert(&self, key: &ShardKey, header: &Header, place: Place) -> Result<(), DiskError> {
        let bytes = shard_key(key);
        let stored = Stored { place, state: header.state.clone() };
        let mut batch = self.index.batch();
        batch.put(Family::Shards, &bytes, &stored.encode());
        batch.put(Family::Heads, &bytes, &header.head.encode());
        let tag = &header.head.descriptor.body.tag;
        batch.put(Family::Locators, &locators::of_shard(&self.network, tag, key), &[]);
        if place.home == Home::File {
            batch.delete(Family::Trash, &bytes);
        }
        self.write_index(batch)
    }
}
