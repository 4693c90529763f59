//! Who answers whether a signature is good: the curve, or a memory of what the curve has
//! already said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use defs_core::digest;
use defs_core::ids::{Digest, NodeId};

use crate::keys::{BadSignature, PublicKey, Signature};

/// Answers whether a signature is good.
///
/// The key comes as bytes: finding its point costs a square root, which a remembered
/// answer does not need.
pub trait SignatureChecker {
    /// Whether `signature` over `message` is that of the key with this compressed form.
    /// Bytes that are no key have signed nothing.
    fn check(
        &self,
        key: &[u8; 33],
        message: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature>;

    /// The name of the node that has this key, which costs a square root too.
    fn node(&self, key: &[u8; 33]) -> Result<NodeId, BadSignature> {
        match PublicKey::from_bytes(key) {
            Ok(key) => Ok(key.node_id()),
            Err(_) => Err(BadSignature::Key),
        }
    }
}

/// Asks the curve every time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl SignatureChecker for Direct {
    fn check(
        &self,
        key: &[u8; 33],
        message: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        match PublicKey::from_bytes(key) {
            Ok(key) => key.verify(message, signature),
            Err(_) => Err(BadSignature::Key),
        }
    }
}

/// One that several share.
impl<C: SignatureChecker + ?Sized> SignatureChecker for Arc<C> {
    fn check(
        &self,
        key: &[u8; 33],
        message: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.as_ref().check(key, message, signature)
    }

    fn node(&self, key: &[u8; 33]) -> Result<NodeId, BadSignature> {
        self.as_ref().node(key)
    }
}

/// Good signatures that are remembered: 8,192 roots of 64 statements are half a million
/// statements, in less than 1 MiB.
pub const REMEMBERED_MAX: usize = 8192;

/// Names of nodes that are remembered: as many as have cards, in less than 2 MiB.
pub const NAMED_MAX: usize = 16_384;

/// Remembers good signatures, so that a batch's root costs the curve once. Wrong ones
/// are never remembered: they would let a stranger push the good ones out.
#[derive(Debug, Default)]
pub struct CachedChecker<C = Direct> {
    inner: C,
    seen: Mutex<Generations>,
    named: Mutex<BTreeMap<[u8; 33], NodeId>>,
}

/// What was asked for lately, and before that. When the younger half is full, it becomes
/// the older one, and what was not asked for since is forgotten.
#[derive(Debug, Default)]
struct Generations {
    younger: BTreeSet<Digest>,
    older: BTreeSet<Digest>,
}

impl CachedChecker {
    /// Remembers what the curve answers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C: SignatureChecker> CachedChecker<C> {
    /// Remembers what `inner` answers.
    #[must_use]
    pub fn over(inner: C) -> Self {
        Self { inner, seen: Mutex::default(), named: Mutex::default() }
    }

    /// How many good signatures are remembered now; at most [`REMEMBERED_MAX`].
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.with_seen(|seen| seen.younger.len() + seen.older.len())
    }

    // A panic elsewhere can't leave the sets half-changed: they only hold good answers.
    fn with_seen<T>(&self, ask: impl FnOnce(&mut Generations) -> T) -> T {
        ask(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<C: SignatureChecker> SignatureChecker for CachedChecker<C> {
    fn check(
        &self,
        key: &[u8; 33],
        message: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let name = name(key, message, signature);
        if self.with_seen(|seen| seen.recall(&name)) {
            return Ok(());
        }
        // Outside the lock: other threads go on while the curve works.
        self.inner.check(key, message, signature)?;
        self.with_seen(|seen| seen.remember(name));
        Ok(())
    }

    fn node(&self, key: &[u8; 33]) -> Result<NodeId, BadSignature> {
        let named = || self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = named().get(key).copied() {
            return Ok(node);
        }
        let node = self.inner.node(key)?;
        let mut named = named();
        // Keys of nodes hardly change: beginning again is rare, and costs a square root each.
        if named.len() >= NAMED_MAX {
            named.clear();
        }
        named.insert(*key, node);
        Ok(node)
    }
}

impl Generations {
    fn recall(&mut self, name: &Digest) -> bool {
        if self.younger.contains(name) {
            return true;
        }
        let known = self.older.remove(name);
        if known {
            self.remember(*name);
        }
        known
    }

    fn remember(&mut self, name: Digest) {
        if self.younger.len() >= REMEMBERED_MAX / 2 {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(name);
    }
}

fn name(key: &[u8; 33], message: &Digest, signature: &Signature) -> Digest {
    let mut bytes = [0; 33 + 32 + 64];
    bytes[..33].copy_from_slice(key);
    bytes[33..65].copy_from_slice(&message.0);
    bytes[65..].copy_from_slice(&signature.0);
    digest("defs 2026 checked signature", &bytes)
}
