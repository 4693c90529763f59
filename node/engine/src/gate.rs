//! How many shards may be on their way in and out at once.
//!
//! A shard that comes in takes its place here, before its first byte is read and before
//! it is forwarded, and needs no other place afterwards. So a shard that holds a place at
//! its primary waits at most for one of the mirror's, which only shards hold that have all
//! they need: partners can't wait for each other in a circle. What waits for a place
//! forwards nothing and occupies nobody's room.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::message::{Reason, Refusal};
use defs_core::network::Role;
use defs_core::port::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::refuse::refuse;

/// Shards that a node takes from owners at once: four busy clients with all their lanes.
const PRIMARY_STORES_MAX: usize = 64;

/// Shards that a node takes from its partner at once: a shard that has a place at its
/// primary has one at the mirror.
pub const MIRROR_STORES_MAX: usize = PRIMARY_STORES_MAX;

/// Shards that come in at once. A disk that lets fewer in at a time would bring back the
/// circle that the places here prevent.
pub const STORES_MAX: usize = PRIMARY_STORES_MAX + MIRROR_STORES_MAX;

/// Of these, what one client may have: half as many again as it has lanes, so that a lane
/// that just broke doesn't count against the next, and so few that one slow client leaves
/// most places to others.
const CALLER_STORES_MAX: usize = 24;

/// Shards that one peer may be reading: twice its lanes. Each holds a thread for as long
/// as its reader takes.
const CALLER_READS_MAX: usize = 32;

/// How long a shard waits for its place: less than a lane may stand still.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The places of one node.
#[derive(Debug)]
pub(crate) struct Gate {
    as_primary: Semaphore,
    as_mirror: Semaphore,
    stores: Callers,
    reads: Callers,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            as_primary: Semaphore::new(PRIMARY_STORES_MAX),
            as_mirror: Semaphore::new(MIRROR_STORES_MAX),
            stores: Callers::of_at_most(CALLER_STORES_MAX),
            reads: Callers::of_at_most(CALLER_READS_MAX),
        }
    }
}

/// A shard's place on its way in; given back when dropped.
#[derive(Debug)]
pub(crate) struct StorePlace<'a> {
    _permit: SemaphorePermit<'a>,
    _caller: Option<CallerPlace>,
}

impl Gate {
    /// A place for a shard that `caller` sends to this node as `role`.
    pub(crate) async fn store(
        &self,
        role: Role,
        caller: NodeId,
        clock: &impl Clock,
    ) -> Result<StorePlace<'_>, Refusal> {
        let (places, of_caller) = match role {
            Role::Primary => (&self.as_primary, Some(self.stores.take(caller)?)),
            // There is one who may send them, and the mirror's places are all its own.
            Role::Mirror => (&self.as_mirror, None),
        };
        tokio::select! {
            biased;
            Ok(permit) = places.acquire() => Ok(StorePlace { _permit: permit, _caller: of_caller }),
            () = clock.sleep(PATIENCE) => {
                Err(refuse(Reason::Busy, "too many shards are on their way in"))
            }
        }
    }

    /// A place for a read of `caller`, to be held as long as its body.
    pub(crate) fn read(&self, caller: NodeId) -> Result<CallerPlace, Refusal> {
        self.reads.take(caller)
    }
}

/// What each caller has under way.
#[derive(Debug, Clone)]
struct Callers {
    most: usize,
    under_way: Arc<Mutex<BTreeMap<NodeId, usize>>>,
}

impl Callers {
    fn of_at_most(most: usize) -> Self {
        Self { most, under_way: Arc::default() }
    }

    fn take(&self, caller: NodeId) -> Result<CallerPlace, Refusal> {
        let mut under_way = self.lock();
        let count = under_way.entry(caller).or_default();
        if *count >= self.most {
            let detail = format!("this peer has {} shards under way here already", self.most);
            return Err(refuse(Reason::Busy, detail));
        }
        *count += 1;
        drop(under_way);
        Ok(CallerPlace { callers: self.clone(), caller })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a caller's places; given back when dropped.
#[derive(Debug)]
pub(crate) struct CallerPlace {
    callers: Callers,
    caller: NodeId,
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut under_way = self.callers.lock();
        if let Some(count) = under_way.get_mut(&self.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_its_share_of_reads_and_gets_back_what_it_gives() {
        let (gate, slow, other) = (Gate::default(), NodeId([1; 32]), NodeId([2; 32]));
        let mut held: Vec<_> = (0..CALLER_READS_MAX).map(|_| gate.read(slow).unwrap()).collect();
        assert_eq!(gate.read(slow).unwrap_err().reason, Reason::Busy);
        drop(gate.read(other).unwrap());
        held.pop();
        held.push(gate.read(slow).unwrap());
        drop(held);
        assert!(gate.reads.lock().is_empty());
    }
}
