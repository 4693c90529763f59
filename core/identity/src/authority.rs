//! Statements: what the holder of a lock signs about an object, and how a node checks it.

use defs_core::digest::{BATCH_MAX, MerklePath, merkle_tree};
use defs_core::ids::{Digest, LockHash, NetworkId};
use defs_core::statement::{Lock, Signed, Statement, Unlock};
use thiserror::Error;

use crate::checker::SignatureChecker;
use crate::keys::SecretKey;
use crate::script::{ScriptError, execute, unlock_p2pkh};
use crate::time::UnixTime;

/// A statement does not come from the holder of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the lock {lock} does not open to the statement")]
pub struct NotAuthorised {
    /// The lock.
    pub lock: LockHash,
    /// Why it does not open.
    pub source: ScriptError,
}

/// Whether `signed` was stated in `network` by whoever can open `lock`.
pub fn authorise<T: Statement>(
    signed: &Signed<T>,
    lock: &Lock,
    network: &NetworkId,
    now: UnixTime,
    checker: &(impl SignatureChecker + ?Sized),
) -> Result<(), NotAuthorised> {
    let root = signed.unlock.path.root(&signed.body.statement(network));
    match execute(&signed.unlock.script, lock.script(), &root, now, checker) {
        Ok(()) => Ok(()),
        Err(source) => Err(NotAuthorised { lock: lock.hash(), source }),
    }
}

/// What the keys of a lock sign for one statement that stands alone; for locks that are
/// not [`lock_p2pkh`](crate::script::lock_p2pkh). It is a Merkle root here too, so
/// that a check need not know whether there were others.
#[must_use]
pub fn message_of(statement: &Digest) -> Digest {
    MerklePath::default().root(statement)
}

/// Opens the P2PKH lock of `key` for one statement.
#[must_use]
pub fn sign_statement<T: Statement>(key: &SecretKey, network: &NetworkId, body: T) -> Signed<T> {
    let signature = key.sign(&message_of(&body.statement(network)));
    let script = unlock_p2pkh(&signature, &key.public());
    Signed { body, unlock: Unlock { script, path: MerklePath::default() } }
}

/// Opens the P2PKH lock of `key` for each statement, with one signature for
/// [`BATCH_MAX`] of them.
#[must_use]
pub fn sign_statements<T: Statement>(
    key: &SecretKey,
    network: &NetworkId,
    items: Vec<T>,
) -> Vec<Signed<T>> {
    let digests: Vec<_> = items.iter().map(|item| item.statement(network)).collect();
    let unlocks = sign_digests(key, &digests);
    items.into_iter().zip(unlocks).map(|(body, unlock)| Signed { body, unlock }).collect()
}

/// Opens the P2PKH lock of `key` for statements of any kinds, given by their digests, in
/// order; one signature for [`BATCH_MAX`] of them.
#[must_use]
pub fn sign_digests(key: &SecretKey, statements: &[Digest]) -> Vec<Unlock> {
    statements.chunks(BATCH_MAX).flat_map(|batch| sign_batch(key, batch)).collect()
}

fn sign_batch(key: &SecretKey, batch: &[Digest]) -> impl Iterator<Item = Unlock> {
    let (root, paths) = merkle_tree(batch);
    let script = unlock_p2pkh(&key.sign(&root), &key.public());
    paths.into_iter().map(move |path| Unlock { script: script.clone(), path })
}
