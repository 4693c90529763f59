//! Threshold shares of a stripe's secret: k of n give it back, k − 1 tell nothing of it.
//!
//! Shamir's scheme over GF(2⁸) with the polynomial of AES (0x11b), a polynomial of degree
//! k − 1 for each of the 32 bytes. Its value at 0 is the secret's byte; the share of shard i
//! is its value at i + 1. The coefficients of degree d, one a byte, are
//! `derive(secret, "coefficient", k, d)` (k and d one byte each): whoever has the secret
//! has every share, and making the shares again gives the same ones.
//!
//! Rejected: coefficients from a generator of random numbers. A lost share could then be
//! rebuilt only by evaluating the polynomial elsewhere, and a resumed upload would give
//! shares that do not belong together.

use std::borrow::Borrow;
use std::fmt;

use defs_core::digest;
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, ShardIndex, StripeTag};
use thiserror::Error;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use crate::keys::{SealingKey, derive};

/// Bytes of a secret and of each share.
const SIZE: usize = 32;

/// Opens the outer layer of one stripe: each shard's key and the stripe's tag derive from it.
pub struct StripeSecret(Zeroizing<[u8; SIZE]>);

impl StripeSecret {
    /// `bytes` are derived anew for each attempt at a stripe.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SIZE]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Groups the shards of this stripe and proves a combination right.
    #[must_use]
    pub fn tag(&self) -> StripeTag {
        let mut tag = [0; StripeTag::SIZE];
        tag.copy_from_slice(&derive(&*self.0, &[b"tag"])[..StripeTag::SIZE]);
        StripeTag(tag)
    }

    /// Seals shard `index`, and nothing else.
    #[must_use]
    pub fn shard_key(&self, index: ShardIndex) -> SealingKey {
        derive(&*self.0, &[b"shard", &[index.0]]).into()
    }

    /// The n shares, by index. With k = 1 each of them is the secret.
    #[must_use]
    pub fn shares(&self, geometry: Geometry) -> Vec<Share> {
        let polynomial = Polynomial::new(self, geometry);
        geometry.indices().map(|index| polynomial.share(index)).collect()
    }
}

impl From<Zeroizing<[u8; SIZE]>> for StripeSecret {
    fn from(bytes: Zeroizing<[u8; SIZE]>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for StripeSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("StripeSecret(..)")
    }
}

/// What lies beside one shard.
pub struct Share {
    /// Whose share.
    pub index: ShardIndex,
    /// The polynomials' values.
    pub bytes: Zeroizing<[u8; SIZE]>,
}

impl Share {
    /// The share of shard `index`, as it was stored.
    #[must_use]
    pub fn new(index: ShardIndex, bytes: [u8; SIZE]) -> Self {
        Self { index, bytes: Zeroizing::new(bytes) }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Share({}, ..)", self.index)
    }
}

/// What the descriptor keeps of a share, so that a holder's share can be checked alone.
#[must_use]
pub fn share_digest(tag: &StripeTag, share: &Share) -> Digest {
    let mut bytes = Zeroizing::new([0; StripeTag::SIZE + 1 + SIZE]);
    bytes[..StripeTag::SIZE].copy_from_slice(&tag.0);
    bytes[StripeTag::SIZE] = share.index.0;
    bytes[StripeTag::SIZE + 1..].copy_from_slice(&*share.bytes);
    digest("defs 2026 threshold share", &*bytes)
}

/// Why shares did not give the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CombineError {
    /// Fewer than k shares.
    #[error("failed to combine {have} shares: {need} are needed")]
    TooFew {
        /// Shares given.
        have: usize,
        /// Shares needed: k.
        need: usize,
    },
    /// The same share twice.
    #[error("failed to combine shares: share {0} was given twice")]
    Duplicate(ShardIndex),
    /// The stripe has no such shard.
    #[error("failed to combine shares: the stripe has no shard {0}")]
    IndexOutside(ShardIndex),
    /// At least one share is not of this stripe.
    #[error("failed to combine shares: the result does not have the tag of stripe {0}")]
    WrongTag(StripeTag),
}

/// The secret of the stripe `tag`, from the first k of `shares`.
pub fn combine<S: Borrow<Share>>(
    tag: &StripeTag,
    geometry: Geometry,
    shares: &[S],
) -> Result<StripeSecret, CombineError> {
    let shares: Vec<&Share> = shares.iter().map(Borrow::borrow).collect();
    check(geometry, &shares)?;
    let secret = interpolate(&shares[..geometry.data()]);
    if secret.tag() == *tag { Ok(secret) } else { Err(CombineError::WrongTag(*tag)) }
}

/// The share of `wanted`, from any k others.
pub fn rebuild_share<S: Borrow<Share>>(
    tag: &StripeTag,
    geometry: Geometry,
    shares: &[S],
    wanted: ShardIndex,
) -> Result<Share, CombineError> {
    if !geometry.has(wanted) {
        return Err(CombineError::IndexOutside(wanted));
    }
    let secret = combine(tag, geometry, shares)?;
    Ok(share_of(&secret, geometry, wanted))
}

/// The share of `index`, which `geometry` has.
pub(crate) fn share_of(secret: &StripeSecret, geometry: Geometry, index: ShardIndex) -> Share {
    Polynomial::new(secret, geometry).share(index)
}

fn check(geometry: Geometry, shares: &[&Share]) -> Result<(), CombineError> {
    let (have, need) = (shares.len(), geometry.data());
    for (place, share) in shares.iter().enumerate() {
        if !geometry.has(share.index) {
            return Err(CombineError::IndexOutside(share.index));
        }
        if shares[..place].iter().any(|before| before.index == share.index) {
            return Err(CombineError::Duplicate(share.index));
        }
    }
    if have < need { Err(CombineError::TooFew { have, need }) } else { Ok(()) }
}

/// The polynomials' values at 0. `shares` are checked.
#[expect(clippy::expect_used, reason = "the shares were checked")]
fn interpolate(shares: &[&Share]) -> StripeSecret {
    if let [only] = shares {
        return StripeSecret::from_bytes(*only.bytes);
    }
    let points: Vec<Vec<u8>> = shares.iter().map(|share| point(share)).collect();
    let points = Zeroizing::new(points);
    let values = Gf256::combine_bytes(&*points).expect("two or more distinct points, equally long");
    let values = Zeroizing::new(values);
    let mut secret = Zeroizing::new([0; SIZE]);
    secret.copy_from_slice(&values);
    secret.into()
}

/// A share as the library reads it: x, then the value for each byte.
fn point(share: &Share) -> Vec<u8> {
    let mut point = Vec::with_capacity(1 + SIZE);
    point.push(position(share.index));
    point.extend_from_slice(&*share.bytes);
    point
}

/// Where a share's polynomial is evaluated. At 0 lies the secret, so never there.
fn position(index: ShardIndex) -> u8 {
    index.0 + 1
}

/// 32 polynomials side by side: coefficients by degree, the secret first.
struct Polynomial(Vec<Zeroizing<[u8; SIZE]>>);

impl Polynomial {
    fn new(secret: &StripeSecret, geometry: Geometry) -> Self {
        let (threshold, _) = <(u8, u8)>::from(geometry);
        let coefficients = (1..threshold)
            .map(|degree| derive(&*secret.0, &[b"coefficient", &[threshold], &[degree]]));
        Self(std::iter::once(secret.0.clone()).chain(coefficients).collect())
    }

    fn share(&self, index: ShardIndex) -> Share {
        let x = Gf256(position(index));
        let mut bytes = Zeroizing::new([0; SIZE]);
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte =
                self.0.iter().rev().fold(Gf256(0), |sum, degree| sum * x + Gf256(degree[place])).0;
        }
        Share { index, bytes }
    }
}
