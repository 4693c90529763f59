//! Keys and how they are derived from one another.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Stands before the parts of every derivation's info, so that no other program's
/// derivation from the same secret meets one of these.
const PREFIX: &[u8] = b"defs/1 ";

/// HKDF-SHA256 of `secret` without a salt, 32 bytes out. The info is `"defs/1 "` and then
/// each part behind its length as a little-endian `u32`, so that two lists of parts never
/// give the same info.
#[must_use]
pub fn derive(secret: &[u8], info_parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut info = PREFIX.to_vec();
    for part in info_parts {
        append_with_length(&mut info, part);
    }
    let mut derived = Zeroizing::new([0; 32]);
    expand(&Hkdf::<Sha256>::new(None, secret), &info, &mut derived);
    derived
}

#[expect(clippy::expect_used, reason = "32 bytes are one SHA-256 block, HKDF gives up to 255")]
fn expand(secret: &Hkdf<Sha256>, info: &[u8], out: &mut [u8; 32]) {
    secret.expand(info, out).expect("HKDF gives 32 bytes");
}

/// `bytes` behind their length as a little-endian `u32`.
pub(crate) fn append_with_length(out: &mut Vec<u8>, bytes: &[u8]) {
    // Labels and ids are far below 4 GiB; a longer part would still not meet a shorter one.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Seals one message and opens it again. Never `Clone`, since [`crate::seal`] consumes it:
/// a key that sealed twice would give away both messages.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// `bytes` come from [`derive`], each time with other parts.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Stands in the head of what this key sealed: bytes that open under one key open
    /// under no other.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        *derive(self.bytes(), &[b"commit"])
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Zeroizing<[u8; 32]>> for SealingKey {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SealingKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_and_every_boundary_between_parts_changes_what_is_derived() {
        let lists: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ab", b""]];
        for (place, one) in lists.iter().enumerate() {
            assert_ne!(derive(&[1; 32], one), derive(&[2; 32], one));
            for other in &lists[place + 1..] {
                assert_ne!(derive(&[1; 32], one), derive(&[1; 32], other));
            }
        }
    }

    #[test]
    fn a_key_prints_nothing_of_itself_and_its_commitment_is_not_the_key() {
        let key = SealingKey::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
        assert_eq!(key.commitment(), *derive(&[7; 32], &[b"commit"]));
        assert_ne!(key.commitment(), [7; 32]);
    }
}
