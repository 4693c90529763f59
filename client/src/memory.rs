//! The memory of slices and shards that all uploads and downloads of a client share: a
//! budget in bytes. What waits for room waits in line, and holds nothing meanwhile but
//! slices that get on without more.

use std::sync::Arc;

use defs_core::geometry::Geometry;
use defs_core::size::Size;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in pieces of so many bytes: 64 GiB of them fit a semaphore.
const PIECE: u64 = 1 << 10;

/// What a slice takes while it is fetched: as it came and as it is opened, each once.
const FETCHED_TWICE: u64 = 2;

#[derive(Debug, Clone)]
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    pieces: u32,
}

/// Room that is given back on drop.
#[derive(Debug)]
pub(crate) struct Taken(Option<OwnedSemaphorePermit>);

impl Memory {
    pub(crate) fn new(budget: Size) -> Self {
        let pieces = pieces(budget.0).max(1);
        let count = usize::try_from(pieces).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(count)), pieces }
    }

    /// Waits for room. More than there is in all counts as all: a slice that is larger than
    /// the budget is worked on alone, and not never.
    pub(crate) async fn take(&self, bytes: u64) -> Taken {
        let wanted = pieces(bytes).min(self.pieces);
        Taken(Arc::clone(&self.room).acquire_many_owned(wanted).await.ok())
    }
}

impl Taken {
    /// Gives back all but room for `bytes`.
    pub(crate) fn keep(&mut self, bytes: u64) {
        let Some(taken) = &mut self.0 else { return };
        let less = taken
            .num_permits()
            .saturating_sub(usize::try_from(pieces(bytes)).unwrap_or(usize::MAX));
        drop(taken.split(less));
    }
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)
}

/// What an uploaded slice of `length` takes at most: encrypted and padded, its parity, and
/// all shards sealed. (Copies have no parity, they are sealed from the one slice.)
pub(crate) fn coding(length: u64, geometry: Geometry) -> u64 {
    let coded = if geometry.data() == 1 { length } else { sealed(length, geometry) };
    coded.saturating_add(sealed(length, geometry))
}

/// What a slice's sealed shards take: n / k of its length.
pub(crate) fn sealed(length: u64, geometry: Geometry) -> u64 {
    let (data, total) = (geometry.data() as u64, geometry.total() as u64);
    length.saturating_mul(total).div_ceil(data)
}

/// What a downloaded slice takes at most.
pub(crate) fn fetching(length: u64) -> u64 {
    length.saturating_mul(FETCHED_TWICE)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn room_is_waited_for_and_given_back_in_part_or_on_drop() {
        let memory = Memory::new(Size::mib(64));
        let mut first = memory.take(48 << 20).now_or_never().unwrap();
        let second = memory.take(32 << 20);
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        first.keep(32 << 20);
        let second = second.now_or_never().unwrap();
        assert!(memory.take(1).now_or_never().is_none());
        drop((first, second));
        assert!(memory.take(64 << 20).now_or_never().is_some());
    }

    #[test]
    fn more_than_there_is_gets_all_there_is() {
        let memory = Memory::new(Size::mib(1));
        let all = memory.take(u64::MAX).now_or_never().unwrap();
        assert!(memory.take(1).now_or_never().is_none());
        drop(all);
        assert!(memory.take(1).now_or_never().is_some());
    }

    #[test]
    fn the_peaks_of_an_upload_are_those_of_its_geometry() {
        let of = |data, parity| {
            let geometry = Geometry::new(data, parity).unwrap();
            (coding(100, geometry), sealed(100, geometry))
        };
        assert_eq!(of(10, 4), (280, 140));
        assert_eq!(of(1, 1), (300, 200));
        assert_eq!(of(1, 0), (200, 100));
    }
}
