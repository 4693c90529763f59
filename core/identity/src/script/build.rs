//! The scripts that people use: one key, one address, m of n keys, each from a time on.

use defs_core::statement::{LOCK_MAX, Lock};
use thiserror::Error;

use super::number::{TIME_BYTES_MAX, write_number};
use super::opcode::{DIRECT_PUSH_MAX, Op, PUSH_1, PUSH_DATA_1, PUSH_DATA_2};
use crate::address::Address;
use crate::keys::{PublicKey, Signature};
use crate::time::UnixTime;

/// Keys of an m-of-n: their lock fits `LOCK_MAX`, their signatures `UNLOCK_MAX`.
pub const MULTISIG_KEYS_MAX: usize = 15;

/// Why there is no such lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadLock {
    /// Not 1 ≤ m ≤ n ≤ 15.
    #[error("{needed} of {keys} keys make no lock: 1 to {keys} of at most {MULTISIG_KEYS_MAX} do")]
    Threshold {
        /// Signatures needed.
        needed: usize,
        /// Keys given.
        keys: usize,
    },
    /// A key stands twice, so that its owner would count twice.
    #[error("key {second} of the lock is also key {first}")]
    KeyTwice {
        /// Where it stands first, from 0.
        first: usize,
        /// Where it stands again.
        second: usize,
    },
    /// With its time the lock is longer than a lock may be.
    #[error("with its time the lock has {length} bytes, at most {LOCK_MAX} are allowed")]
    TooLong {
        /// The length.
        length: usize,
    },
    /// The time is later than a script can write.
    #[error("{until} is later than a lock can say")]
    TooLate {
        /// The time.
        until: UnixTime,
    },
}

/// Opens to a signature by `key`.
#[must_use]
pub fn lock_p2pk(key: &PublicKey) -> Lock {
    Script::default().push(&key.to_bytes()).op(Op::CheckSig).into_short_lock()
}

/// Opens to a signature by the key with this address, and the key.
#[must_use]
pub fn lock_p2pkh(address: &Address) -> Lock {
    Script::default()
        .op(Op::Dup)
        .op(Op::Hash160)
        .push(address.hash())
        .op(Op::EqualVerify)
        .op(Op::CheckSig)
        .into_short_lock()
}

/// Opens to signatures by `needed` of these keys.
pub fn lock_multisig(needed: usize, keys: &[PublicKey]) -> Result<Lock, BadLock> {
    if !(1..=keys.len()).contains(&needed) || keys.len() > MULTISIG_KEYS_MAX {
        return Err(BadLock::Threshold { needed, keys: keys.len() });
    }
    for (second, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..second].iter().position(|earlier| earlier == key) {
            return Err(BadLock::KeyTwice { first, second });
        }
    }
    let counted = Script::default().number(needed as u64);
    let listed = keys.iter().fold(counted, |script, key| script.push(&key.to_bytes()));
    Ok(listed.number(keys.len() as u64).op(Op::CheckMultiSig).into_short_lock())
}

/// Opens like `inner`, but not before `until`, which counts in whole seconds, begun ones
/// in full.
pub fn lock_until(until: UnixTime, inner: &Lock) -> Result<Lock, BadLock> {
    let seconds = until.millis().div_ceil(1000);
    if write_number(seconds).len() > TIME_BYTES_MAX {
        return Err(BadLock::TooLate { until });
    }
    let timed = Script::default().number(seconds).op(Op::CheckLockTimeVerify).op(Op::Drop);
    let script = timed.then(inner.script());
    let length = script.len();
    match Lock::new(script) {
        Ok(lock) => Ok(lock),
        Err(_) => Err(BadLock::TooLong { length }),
    }
}

/// Opens [`lock_p2pk`].
#[must_use]
pub fn unlock_p2pk(signature: &Signature) -> Vec<u8> {
    Script::default().push(&signature.0).0
}

/// Opens [`lock_p2pkh`].
#[must_use]
pub fn unlock_p2pkh(signature: &Signature, key: &PublicKey) -> Vec<u8> {
    Script::default().push(&signature.0).push(&key.to_bytes()).0
}

/// Opens [`lock_multisig`] with as many signatures as it needs, in the order of its keys.
#[must_use]
pub fn unlock_multisig(signatures: &[Signature]) -> Vec<u8> {
    // Bitcoin's OP_CHECKMULTISIG takes one element too many from the stack.
    let extra = Script::default().push(&[]);
    signatures.iter().fold(extra, |script, signature| script.push(&signature.0)).0
}

/// A script in the making.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn op(mut self, op: Op) -> Self {
        self.0.push(op as u8);
        self
    }

    fn push(mut self, element: &[u8]) -> Self {
        match (u8::try_from(element.len()), u16::try_from(element.len())) {
            (Ok(length @ ..=DIRECT_PUSH_MAX), _) => self.0.push(length),
            (Ok(length), _) => self.0.extend([PUSH_DATA_1, length]),
            (_, length) => {
                self.0.push(PUSH_DATA_2);
                self.0.extend(length.unwrap_or(u16::MAX).to_le_bytes());
            }
        }
        self.0.extend_from_slice(element);
        self
    }

    fn number(mut self, number: u64) -> Self {
        match u8::try_from(number) {
            Ok(small @ 1..=16) => {
                self.0.push(PUSH_1 - 1 + small);
                self
            }
            _ => self.push(&write_number(number)),
        }
    }

    fn then(mut self, script: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(script);
        self.0
    }

    #[expect(
        clippy::expect_used,
        reason = "the longest, 15 keys of 34 bytes, has 513 of 1024 bytes"
    )]
    fn into_short_lock(self) -> Lock {
        Lock::new(self.0).expect("keys and opcodes of a lock fit it")
    }
}
