//! The memory of good signatures: right, bounded, and worth having.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use defs_core::ids::Digest;
use defs_identity::checker::REMEMBERED_MAX;
use defs_identity::{BadSignature, CachedChecker, Direct, Signature, SignatureChecker};
use proptest::prelude::*;

use crate::{MESSAGE, key};

/// Counts how often the curve was asked.
#[derive(Default)]
struct Counting(AtomicUsize);

impl SignatureChecker for &Counting {
    fn check(
        &self,
        key: &[u8; 33],
        message: &Digest,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Direct.check(key, message, signature)
    }
}

/// Answers yes to everything at once, and counts how often it was asked about `MESSAGE`.
#[derive(Default)]
struct Yes(AtomicUsize);

impl SignatureChecker for &Yes {
    fn check(&self, _: &[u8; 33], message: &Digest, _: &Signature) -> Result<(), BadSignature> {
        self.0.fetch_add(usize::from(*message == MESSAGE), Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn a_good_signature_is_asked_once_and_a_wrong_one_every_time() {
    let curve = Counting::default();
    let cached = CachedChecker::over(&curve);
    let (public, good) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
    for _ in 0..3 {
        assert_eq!(cached.check(&public, &MESSAGE, &good), Ok(()));
    }
    assert_eq!(curve.0.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        let other = key(2).public().to_bytes();
        assert_eq!(cached.check(&other, &MESSAGE, &good), Err(BadSignature::Mismatch));
    }
    assert_eq!(curve.0.load(Ordering::Relaxed), 4);
    assert_eq!(cached.remembered(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_wrong_signature_passes_once_the_good_one_is_remembered(
        place in 0_usize..33 + 32 + 64,
        bit in 0_u8..8,
    ) {
        let cached = CachedChecker::new();
        let (mut public, good) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
        prop_assert_eq!(cached.check(&public, &MESSAGE, &good), Ok(()));

        let (mut message, mut wrong) = (MESSAGE, good);
        match place {
            0..33 => public[place] ^= 1 << bit,
            33..65 => message.0[place - 33] ^= 1 << bit,
            _ => wrong.0[place - 65] ^= 1 << bit,
        }
        prop_assert_ne!(cached.check(&public, &message, &wrong), Ok(()));
        prop_assert_ne!(cached.check(&public, &message, &wrong), Ok(()));
        prop_assert_eq!(cached.remembered(), 1);
    }
}

/// Asks about `count` messages that nobody asked about before, `first` and those after it.
fn flood(cached: &CachedChecker<&Yes>, first: u64, count: usize) {
    let (public, signature) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
    for number in (first..).take(count) {
        let mut message = [0; 32];
        message[..8].copy_from_slice(&number.to_le_bytes());
        assert_eq!(cached.check(&public, &Digest(message), &signature), Ok(()));
        assert!(cached.remembered() <= REMEMBERED_MAX);
    }
}

#[test]
fn memory_is_bounded_and_keeps_what_is_asked_for_again() {
    let curve = Yes::default();
    let cached = CachedChecker::over(&curve);
    let (public, signature) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
    for round in 0..10 {
        assert_eq!(cached.check(&public, &MESSAGE, &signature), Ok(()));
        flood(&cached, round * 10_000, REMEMBERED_MAX / 2 - 1);
    }
    assert!(cached.remembered() > REMEMBERED_MAX / 2);
    assert_eq!(curve.0.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_not_asked_for_again_is_forgotten() {
    let curve = Yes::default();
    let cached = CachedChecker::over(&curve);
    let (public, signature) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
    for asked in 1..3 {
        assert_eq!(cached.check(&public, &MESSAGE, &signature), Ok(()));
        assert_eq!(curve.0.load(Ordering::Relaxed), asked);
        flood(&cached, asked as u64 * 10_000, REMEMBERED_MAX);
    }
}

#[test]
fn threads_share_one_memory() {
    let cached = CachedChecker::new();
    let (public, good) = (key(1).public().to_bytes(), key(1).sign(&MESSAGE));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(cached.check(&public, &MESSAGE, &good), Ok(())));
        }
    });
    assert_eq!(cached.remembered(), 1);
}
