//! P-256 keys and the signatures they make: deterministic (RFC 6979), always with the
//! smaller of the two possible `s`, so that a signature has one form.
//!
//! `p256` makes keys and signatures, as only it makes them deterministic; aws-lc checks
//! signatures, in a fraction of the time. Nodes and clients check far more than they sign.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use defs_core::ids::{Digest, NodeId, hex};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{SigningKey, VerifyingKey};
use p256::elliptic_curve::scalar::IsHigh;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derive::{Purpose, derive};

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAKey {
    /// Not a number from 1 to the order of P-256 less one.
    #[error("a secret key is a number from 1 to the order of P-256 less one")]
    Secret,
    /// Not the compressed form of a point of P-256.
    #[error("a public key is the compressed form of a point of P-256")]
    Public,
}

/// Why a signature is not this key's over this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSignature {
    /// The key is not a point of P-256.
    #[error("the signature's key is not a point of P-256")]
    Key,
    /// `r` or `s` is zero or not below the order of P-256.
    #[error("the signature's numbers are out of range")]
    OutOfRange,
    /// The same signature has a smaller `s`, which is the only form accepted.
    #[error("the signature has the larger of its two forms")]
    HighS,
    /// The signature is another key's, or over something else.
    #[error("the signature is not this key's over this digest")]
    Mismatch,
}

/// A P-256 secret key. Wiped on drop.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key that [`SecretKey::to_bytes`] wrote. Zero and numbers from the order of
    /// P-256 on are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, NotAKey> {
        match SigningKey::from_slice(bytes) {
            Ok(key) => Ok(Self(key)),
            Err(_) => Err(NotAKey::Secret),
        }
    }

    /// The key that belongs to 32 uniformly random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::derived(seed, Purpose::Seed, &[])
    }

    /// The number, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(Zeroizing::new(self.0.to_bytes()).as_slice());
        bytes
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::of(self.0.verifying_key())
    }

    /// Signs a digest: the same digest always gets the same signature.
    #[expect(clippy::expect_used, reason = "the error belongs to signers that may be unreachable")]
    #[must_use]
    pub fn sign(&self, digest: &Digest) -> Signature {
        let signature: p256::ecdsa::Signature =
            self.0.sign_prehash(&digest.0).expect("a key in memory signs any 32 bytes");
        Signature(signature.normalize_s().to_bytes().into())
    }

    /// The key of one file's lock; `random` is drawn for that file. Files of one owner
    /// can't be told by their locks to belong together.
    #[must_use]
    pub fn lock_key(&self, random: &[u8; 32]) -> Self {
        Self::derived(&self.to_bytes(), Purpose::Lock, random)
    }

    /// A secret for another use than signing, such as sealing the catalogue.
    #[must_use]
    pub fn subkey(&self, label: &str) -> Zeroizing<[u8; 32]> {
        derive(&self.to_bytes(), Purpose::Subkey, label.as_bytes(), 0)
    }

    /// Derives until the output is a key, which keeps every key equally likely; reducing
    /// modulo the order would favour small ones.
    #[expect(
        clippy::expect_used,
        reason = "one output in 2^32 is no key, so 256 in a row never happen"
    )]
    fn derived(secret: &[u8; 32], purpose: Purpose, context: &[u8]) -> Self {
        (0..=u8::MAX)
            .find_map(|attempt| Self::from_bytes(&derive(secret, purpose, context, attempt)).ok())
            .expect("256 outputs of HKDF in a row above the order of P-256")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretKey(..)")
    }
}

/// A point of P-256 other than the one at infinity.
#[derive(Clone, Copy)]
pub struct PublicKey {
    compressed: [u8; Self::SIZE],
    // Kept because finding it again costs a square root.
    uncompressed: [u8; 65],
}

/// The length, type and curve of an ECDSA key, as libp2p's protobuf and DER write them
/// before the uncompressed point.
const LIBP2P_PREFIX: [u8; 30] = [
    0x08, 0x03, 0x12, 0x5b, // key type ECDSA, 91 bytes follow
    0x30, 0x59, 0x30, 0x13, // a key of 89 bytes, its algorithm of 19 bytes
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // id-ecPublicKey
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, // prime256v1
    0x03, 0x42, 0x00, // a bit string of 65 bytes and no unused bits
];

impl PublicKey {
    /// Bytes of the compressed form.
    pub const SIZE: usize = 33;

    /// The key whose compressed form this is. Other forms of a point are refused.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, NotAKey> {
        let Ok(point) = p256::PublicKey::from_sec1_bytes(bytes) else {
            return Err(NotAKey::Public);
        };
        let key = Self::of(&point.into());
        // SEC1 has a form of 33 bytes without the sign of y.
        if key.compressed == *bytes { Ok(key) } else { Err(NotAKey::Public) }
    }

    /// The compressed form.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::SIZE] {
        self.compressed
    }

    /// The name of the node that has this key: the digest inside its libp2p peer id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        let hash = Sha256::new().chain_update(LIBP2P_PREFIX).chain_update(self.uncompressed);
        NodeId(hash.finalize().into())
    }

    /// Whether `signature` is this key's over `digest`, in its one accepted form.
    pub fn verify(&self, digest: &Digest, signature: &Signature) -> Result<(), BadSignature> {
        let Ok(parsed) = p256::ecdsa::Signature::from_slice(&signature.0) else {
            return Err(BadSignature::OutOfRange);
        };
        if parsed.s().is_high().into() {
            return Err(BadSignature::HighS);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.uncompressed);
        match key.verify_digest(&prehashed(digest), &signature.0) {
            Ok(()) => Ok(()),
            Err(_) => Err(BadSignature::Mismatch),
        }
    }

    fn of(key: &VerifyingKey) -> Self {
        let (mut compressed, mut uncompressed) = ([0; Self::SIZE], [0; 65]);
        compressed.copy_from_slice(key.to_sec1_point(true).as_bytes());
        uncompressed.copy_from_slice(key.to_sec1_point(false).as_bytes());
        Self { compressed, uncompressed }
    }
}

/// ECDSA signs a digest whatever function made it: the algorithm only says its length.
#[expect(clippy::expect_used, reason = "any 32 bytes have the length of a SHA-256")]
fn prehashed(digest: &Digest) -> digest::Digest {
    digest::Digest::import_less_safe(&digest.0, &digest::SHA256).expect("a digest has 32 bytes")
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.compressed == other.compressed
    }
}

impl Eq for PublicKey {}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.compressed.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", hex(&self.compressed[..5]))
    }
}

/// `r` and `s`, 32 bytes each, big-endian. Whether they are in range is checked with the
/// signature itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; Self::SIZE]);

impl Signature {
    /// Bytes of a signature.
    pub const SIZE: usize = 64;
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature({})", hex(&self.0[..4]))
    }
}
