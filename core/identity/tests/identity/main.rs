//! What keys, locks, statements and sessions promise.
#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod authority;
mod bounds;
mod checker;
mod keys;
mod locks;
mod opcodes;
mod sessions;

use defs_core::ids::Digest;
use defs_identity::{SecretKey, UnixTime};

/// A moment after every lock time that a test does not set itself.
const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

const MESSAGE: Digest = Digest([0x5a; 32]);

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}
