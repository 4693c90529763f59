//! Room on the disk: what may be stored, what is, and what is promised to stores under
//! way. What counts are sealed bytes, of shards and of records; heads, names and dead
//! bytes in segments come on top and are bounded by them.

use std::sync::{Arc, Mutex};

use defs_core::port::{DiskError, Usage};

use crate::locked::locked;

#[derive(Debug)]
pub(crate) struct Space {
    capacity: u64,
    counts: Mutex<Counts>,
}

/// What is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) stored: u64,
    pub(crate) reserved: u64,
    pub(crate) shards: u64,
    pub(crate) records: u64,
}

/// Room promised to one change; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Space {
    pub(crate) fn new(capacity: u64, counts: Counts) -> Arc<Self> {
        Arc::new(Self { capacity, counts: Mutex::new(counts) })
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, DiskError> {
        let mut counts = locked(&self.counts);
        let free = self.capacity.saturating_sub(counts.stored + counts.reserved);
        // No bytes always fit, or a disk whose capacity was lowered could delete nothing.
        if bytes > free {
            return Err(DiskError::Full { needed: bytes, free });
        }
        counts.reserved += bytes;
        Ok(Reservation { space: Arc::clone(self), bytes })
    }

    pub(crate) fn usage(&self) -> Usage {
        let counts = locked(&self.counts);
        Usage {
            capacity: self.capacity,
            used: counts.stored + counts.reserved,
            shards: counts.shards,
            records: counts.records,
        }
    }

    /// Counts a shard out.
    pub(crate) fn remove_shard(&self, bytes: u64) {
        let mut counts = locked(&self.counts);
        counts.stored -= bytes;
        counts.shards -= 1;
    }

    /// Counts a change of a record's sealed bytes.
    pub(crate) fn change_record(&self, before: Option<u64>, after: Option<u64>) {
        let mut counts = locked(&self.counts);
        counts.stored = counts.stored + after.unwrap_or(0) - before.unwrap_or(0);
        counts.records = counts.records + u64::from(after.is_some()) - u64::from(before.is_some());
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
        counts.stored += self.bytes;
        counts.shards += 1;
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        locked(&self.space.counts).reserved -= self.bytes;
    }
}
