//! Secrets from secrets: HKDF-SHA256 without a salt, one label a purpose.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a derived secret is for. No label is the beginning of another, so no two
/// purposes ever share an HKDF input.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// A key from a seed.
    Seed,
    /// A file's lock key from an identity key.
    Lock,
    /// Any other secret from an identity key.
    Subkey,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Seed => b"defs 2026 key from seed",
            Self::Lock => b"defs 2026 lock key",
            Self::Subkey => b"defs 2026 subkey",
        }
    }
}

/// 32 bytes for `purpose`, told apart by `context` and, where the first output can't be
/// used, by `attempt`.
#[expect(
    clippy::expect_used,
    reason = "HKDF-SHA256 gives up to 255 blocks of 32 bytes; this is one"
)]
pub(crate) fn derive(
    secret: &[u8; 32],
    purpose: Purpose,
    context: &[u8],
    attempt: u8,
) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&[purpose.label(), context, &[attempt]], derived.as_mut_slice())
        .expect("one block is never too long");
    derived
}
