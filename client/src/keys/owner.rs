//! The owner as this library uses it: the identity key and the locks that derive from it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::digest::file_id;
use defs_core::ids::FileId;
use defs_core::statement::Lock;
use defs_identity::script::lock_p2pkh;
use defs_identity::{Address, SecretKey};

use super::vault::Vault;

/// Whose files these are.
#[derive(Debug)]
pub(crate) struct Owner {
    identity: SecretKey,
    vault: Vault,
    /// Deriving a key and its public half costs more than all else in a small read.
    locks: Mutex<BTreeMap<[u8; 32], FileLock>>,
}

/// Locks that are remembered: of some thousand small files, or as many large ones.
const LOCKS_MAX: usize = 1024;

/// The lock of one file (or one batch of small ones) with the key that opens it.
#[derive(Clone)]
pub(crate) struct FileLock {
    pub(crate) seed: [u8; 32],
    pub(crate) key: Arc<SecretKey>,
    pub(crate) lock: Lock,
}

impl Owner {
    pub(crate) fn new(identity: SecretKey) -> Self {
        let vault = Vault::of(&identity);
        Self { identity, vault, locks: Mutex::default() }
    }

    /// The lock that `seed` makes: without the seed nobody can tell that it is this owner's.
    pub(crate) fn lock(&self, seed: [u8; 32]) -> FileLock {
        if let Some(known) = self.locks().get(&seed) {
            return known.clone();
        }
        let key = self.identity.lock_key(&seed);
        let lock = lock_p2pkh(&Address::of(&key.public()));
        let lock = FileLock { seed, key: Arc::new(key), lock };
        let mut locks = self.locks();
        if locks.len() >= LOCKS_MAX {
            locks.pop_first();
        }
        locks.insert(seed, lock.clone());
        lock
    }

    // A map of derived keys is right or lacks one, whoever panicked.
    fn locks(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], FileLock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}

impl FileLock {
    /// The file that only this lock may write.
    pub(crate) fn file(&self, random: &[u8; 32]) -> FileId {
        file_id(self.lock.script(), random)
    }
}

impl fmt::Debug for FileLock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FileLock({})", self.lock.hash())
    }
}
