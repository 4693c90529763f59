//! Room on the disk: what may be stored, what is, and what is promised to stores under
//! way. What counts are sealed bytes, of shards and of records; heads, names and dead
//! bytes in segments come on top and are bounded by them.
//!
//! The device may be smaller than what was promised to others on it. The last of its room
//! is never given to new data: the index needs it to write down deletions.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use defs_core::port::{DiskError, Usage};

use crate::files::device_free;
use crate::locked::locked;

#[derive(Debug)]
pub(crate) struct Space {
    capacity: u64,
    device: Device,
    counts: Mutex<Counts>,
}

/// The device below the store.
#[derive(Debug)]
pub(crate) struct Device {
    /// A folder on it.
    pub(crate) folder: PathBuf,
    /// What new data must leave free.
    pub(crate) keep_free: u64,
}

impl Device {
    /// What new data may take.
    fn free(&self) -> u64 {
        device_free(&self.folder).saturating_sub(self.keep_free)
    }
}

/// What is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) stored: u64,
    pub(crate) reserved: u64,
    pub(crate) shards: u64,
    pub(crate) records: u64,
}

impl Counts {
    /// Sums of what the index says, which a damaged disk may have made absurd: such a disk
    /// is full, and the process lives.
    fn used(&self) -> u64 {
        self.stored.saturating_add(self.reserved)
    }
}

/// Room promised to one change; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Space {
    pub(crate) fn new(capacity: u64, device: Device, counts: Counts) -> Arc<Self> {
        Arc::new(Self { capacity, device, counts: Mutex::new(counts) })
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, DiskError> {
        let device = if bytes == 0 { u64::MAX } else { self.device.free() };
        let mut counts = locked(&self.counts);
        // What others were promised they may not have written yet.
        let device = device.saturating_sub(counts.reserved);
        let free = self.capacity.saturating_sub(counts.used()).min(device);
        // No bytes always fit, or a disk whose capacity was lowered could delete nothing.
        if bytes > free {
            return Err(DiskError::Full { needed: bytes, free });
        }
        counts.reserved = counts.reserved.saturating_add(bytes);
        Ok(Reservation { space: Arc::clone(self), bytes })
    }

    pub(crate) fn usage(&self) -> Usage {
        let counts = locked(&self.counts);
        Usage {
            capacity: self.capacity,
            used: counts.used(),
            shards: counts.shards,
            records: counts.records,
        }
    }

    /// Counts a shard out.
    pub(crate) fn remove_shard(&self, bytes: u64) {
        let mut counts = locked(&self.counts);
        counts.stored = counts.stored.saturating_sub(bytes);
        counts.shards = counts.shards.saturating_sub(1);
    }

    /// Counts a change of a record's sealed bytes.
    pub(crate) fn change_record(&self, before: Option<u64>, after: Option<u64>) {
        let mut counts = locked(&self.counts);
        let stored = counts.stored.saturating_add(after.unwrap_or(0));
        counts.stored = stored.saturating_sub(before.unwrap_or(0));
        let records = counts.records.saturating_add(u64::from(after.is_some()));
        counts.records = records.saturating_sub(u64::from(before.is_some()));
    }
}

impl Reservation {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The shard that the room was for is stored.
    pub(crate) fn store_shard(mut self) {
        let mut counts = locked(&self.space.counts);
        counts.reserved -= self.bytes;
        counts.stored = counts.stored.saturating_add(self.bytes);
        counts.shards = counts.shards.saturating_add(1);
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        locked(&self.space.counts).reserved -= self.bytes;
    }
}
