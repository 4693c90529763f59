//! Short critical sections. A poisoned lock is taken all the same: no section here
//! leaves its data half-changed when it panics.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use defs_core::message::ShardKey;
use defs_core::record::RecordKey;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Something that one thread at a time may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Shard(ShardKey),
    Record(RecordKey),
}

/// Keys that are being changed. A key is held from the look at what is there to the end
/// of the change, files included; different keys don't wait for each other, so that
/// their syncs can be shared.
#[derive(Debug, Default)]
pub(crate) struct KeyLocks {
    held: Mutex<HashSet<Key>>,
    freed: Condvar,
}

/// Frees its keys when dropped.
#[derive(Debug)]
pub(crate) struct HeldKeys<'a> {
    locks: &'a KeyLocks,
    keys: HashSet<Key>,
}

impl KeyLocks {
    /// Waits until all of `keys` are free and takes them together, so that two takers of
    /// many keys can't wait for each other.
    pub(crate) fn hold(&self, keys: impl IntoIterator<Item = Key>) -> HeldKeys<'_> {
        let keys: HashSet<_> = keys.into_iter().collect();
        let mut held = locked(&self.held);
        while !held.is_disjoint(&keys) {
            held = wait(&self.freed, held);
        }
        held.extend(keys.iter().copied());
        HeldKeys { locks: self, keys }
    }
}

impl Drop for HeldKeys<'_> {
    fn drop(&mut self) {
        locked(&self.locks.held).retain(|key| !self.keys.contains(key));
        self.locks.freed.notify_all();
    }
}
