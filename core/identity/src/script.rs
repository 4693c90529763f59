//! Lock scripts: a small stack machine with the meaning and the byte values of Bitcoin's
//! opcodes. A lock says who may act; an unlock script leaves what the lock asks for.
//!
//! What differs from Bitcoin: a signature is 64 bytes `r‖s` over the statement's Merkle
//! root, with no hash type; a lock time is always a Unix time in seconds; every opcode
//! that is not listed in [`Op`] is refused, even in a branch that is not taken.
//! What Bitcoin leaves to policy is the rule here: unlock scripts only push, numbers are
//! minimal, the extra element of OP_CHECKMULTISIG is empty, a wrong signature ends the
//! script unless it is empty, and exactly one true element remains.

mod build;
mod machine;
mod number;
mod opcode;
mod rejection;

use defs_core::ids::Digest;
use defs_core::statement::{LOCK_MAX, UNLOCK_MAX};

pub use build::{
    BadLock, MULTISIG_KEYS_MAX, lock_multisig, lock_p2pk, lock_p2pkh, lock_until, unlock_multisig,
    unlock_p2pk, unlock_p2pkh,
};
pub use opcode::Op;
pub use rejection::{Part, Position, ScriptError};

use crate::checker::SignatureChecker;
use crate::time::UnixTime;
use machine::Machine;

/// Instructions in unlock and lock together, taken or not: the largest m-of-n needs 35.
pub const STEPS_MAX: usize = 256;

/// Elements on the stack: the largest m-of-n needs 33.
pub const STACK_MAX: usize = 64;

/// Bytes of an element: a signature has 64.
pub const ELEMENT_MAX: usize = 128;

/// Signatures that may be checked: a script costs a node at most 20 × 0.15 to 0.4 ms.
pub const SIGNATURE_CHECKS_MAX: usize = 20;

/// OP_IF within OP_IF: alternatives of alternatives.
pub const NESTING_MAX: usize = 8;

/// Whether `unlock` opens `lock` for `message` at the moment `now`.
///
/// A lock time is passed from [`CLOCK_SKEW`](crate::time::CLOCK_SKEW) before it on.
pub fn execute(
    unlock: &[u8],
    lock: &[u8],
    message: &Digest,
    now: UnixTime,
    checker: &(impl SignatureChecker + ?Sized),
) -> Result<(), ScriptError> {
    bounded(Part::Unlock, unlock, UNLOCK_MAX)?;
    bounded(Part::Lock, lock, LOCK_MAX)?;
    let mut machine = Machine::new(message, now, checker);
    machine.push_all(unlock)?;
    machine.run(lock)?;
    machine.finish()
}

fn bounded(part: Part, script: &[u8], bound: usize) -> Result<(), ScriptError> {
    let length = script.len();
    if length > bound { Err(ScriptError::ScriptTooLong { part, length, bound }) } else { Ok(()) }
}
