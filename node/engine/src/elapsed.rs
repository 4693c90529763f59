//! Time that only runs while the node does: leases expire by it, so that neither a clock
//! that jumps nor a long sleep of the machine ends them.

use std::time::Duration;

use defs_core::port::{Clock, Disk, DiskError, StateKey};

/// How much of it a crash may forget: leases then last that much longer.
pub(crate) const PERSIST_EVERY: Duration = Duration::from_secs(30);

/// What had run before this start, and where this start's clock stood then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elapsed {
    before: Duration,
    started: Duration,
}

impl Elapsed {
    pub(crate) async fn load(disk: &impl Disk, clock: &impl Clock) -> Result<Self, DiskError> {
        let bytes = disk.get(key()).await?;
        let millis = match bytes.as_deref().map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_le_bytes(bytes),
            Some(Err(_)) => return Err(DiskError::Damaged { what: "the elapsed time".to_owned() }),
        };
        Ok(Self { before: Duration::from_millis(millis), started: clock.elapsed() })
    }

    /// The reading now.
    pub(crate) fn now(&self, clock: &impl Clock) -> Duration {
        self.before.saturating_add(clock.elapsed().saturating_sub(self.started))
    }

    /// What to store for the next start.
    pub(crate) fn to_store(self, clock: &impl Clock) -> (StateKey, Vec<u8>) {
        let millis = u64::try_from(self.now(clock).as_millis()).unwrap_or(u64::MAX);
        (key(), millis.to_le_bytes().to_vec())
    }
}

fn key() -> StateKey {
    StateKey(b"elapsed".to_vec())
}
