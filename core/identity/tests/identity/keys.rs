//! Keys and signatures against RFC 6979 and against everything that is nearly right.

use defs_core::ids::{Digest, unhex};
use defs_identity::{Address, BadSignature, NotAKey, PublicKey, SecretKey, Signature};
use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use proptest::prelude::*;
use sha2::Digest as _;

use crate::{MESSAGE, key};

/// RFC 6979, A.2.5.
const RFC_SECRET: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
const RFC_PUBLIC: &str = "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER_LESS_ONE: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550";
/// s of the RFC's signature over "sample" is above half the order; this is the order less s.
const SAMPLE_HIGH_S: &str = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
const SAMPLE_R: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
const SAMPLE_LOW_S: &str = "0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9";
const TEST: &str = "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367\
    019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083";

fn rfc_key() -> SecretKey {
    SecretKey::from_bytes(&unhex(RFC_SECRET).unwrap()).unwrap()
}

fn sha256(text: &str) -> Digest {
    Digest(sha2::Sha256::digest(text).into())
}

fn signature(hex: &str) -> Signature {
    Signature(unhex(hex).unwrap())
}

#[test]
fn signatures_are_those_of_rfc_6979_with_the_smaller_s() {
    let key = rfc_key();
    assert_eq!(key.public().to_bytes(), unhex(RFC_PUBLIC).unwrap());
    let sample = signature(&format!("{SAMPLE_R}{SAMPLE_LOW_S}"));
    assert_eq!(key.sign(&sha256("sample")).0, sample.0);
    assert_eq!(key.sign(&sha256("test")).0, signature(TEST).0);
    assert_eq!(key.public().verify(&sha256("sample"), &sample), Ok(()));
}

#[test]
fn the_rfcs_own_signature_with_the_larger_s_is_refused() {
    let high = signature(&format!("{SAMPLE_R}{SAMPLE_HIGH_S}"));
    assert_eq!(rfc_key().public().verify(&sha256("sample"), &high), Err(BadSignature::HighS));
}

#[test]
fn zero_and_numbers_from_the_order_on_are_no_part_of_a_signature() {
    let zero = "00".repeat(32);
    for (r, s) in [
        (zero.as_str(), SAMPLE_LOW_S),
        (SAMPLE_R, zero.as_str()),
        (ORDER, SAMPLE_LOW_S),
        (SAMPLE_R, ORDER),
    ] {
        let refused = rfc_key().public().verify(&sha256("sample"), &signature(&format!("{r}{s}")));
        assert_eq!(refused, Err(BadSignature::OutOfRange));
    }
}

#[test]
fn every_flipped_bit_makes_a_signature_worthless() {
    let key = key(1);
    let good = key.sign(&MESSAGE);
    assert_eq!(key.public().verify(&MESSAGE, &good), Ok(()));
    for bit in 0..512 {
        let mut bad = good;
        bad.0[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(key.public().verify(&MESSAGE, &bad), Ok(()), "bit {bit}");
    }
}

#[test]
fn a_signature_is_one_keys_over_one_digest() {
    let signature = key(1).sign(&MESSAGE);
    assert_eq!(key(2).public().verify(&MESSAGE, &signature), Err(BadSignature::Mismatch));
    assert_eq!(key(1).public().verify(&Digest([0; 32]), &signature), Err(BadSignature::Mismatch));
}

#[test]
fn a_secret_key_is_a_number_from_one_to_the_order_less_one() {
    for refused in [unhex(ORDER).unwrap(), [0; 32], [0xff; 32]] {
        assert_eq!(SecretKey::from_bytes(&refused).err(), Some(NotAKey::Secret));
    }
    let mut one = [0; 32];
    one[31] = 1;
    for accepted in [unhex(ORDER_LESS_ONE).unwrap(), one] {
        assert_eq!(*SecretKey::from_bytes(&accepted).unwrap().to_bytes(), accepted);
    }
}

#[test]
fn a_public_key_has_one_form() {
    let bytes = key(1).public().to_bytes();
    assert_eq!(PublicKey::from_bytes(&bytes), Ok(key(1).public()));
    // Infinity, the uncompressed and hybrid tags, and SEC1's form without the sign of y.
    for tag in [0, 1, 4, 5, 6, 7, 0xff] {
        let mut other = bytes;
        other[0] = tag;
        assert_eq!(PublicKey::from_bytes(&other), Err(NotAKey::Public), "tag {tag}");
    }
    assert_eq!(PublicKey::from_bytes(&[0; 33]), Err(NotAKey::Public));
}

#[test]
fn coordinates_off_the_curve_or_not_below_the_prime_are_refused() {
    const PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
    // x = 5 lies on the curve, x = 1 does not; x = 5 + p would be 5 again if it were reduced.
    let coordinate = |last: u8| format!("{}{last:02x}", "00".repeat(31));
    assert!(PublicKey::from_bytes(&unhex(&format!("02{}", coordinate(5))).unwrap()).is_ok());
    let five_again = "ffffffff00000001000000000000000000000001000000000000000000000004";
    for x in [coordinate(1), PRIME.to_owned(), five_again.to_owned(), "ff".repeat(32)] {
        let refused = PublicKey::from_bytes(&unhex(&format!("02{x}")).unwrap());
        assert_eq!(refused, Err(NotAKey::Public), "x = {x}");
    }
}

#[test]
fn a_secret_key_prints_nothing_of_itself() {
    assert_eq!(format!("{:?}", key(1)), "SecretKey(..)");
}

#[test]
fn derived_keys_differ_by_file_by_owner_and_from_their_origin() {
    let (one, other) = (key(1), key(2));
    let lock = one.lock_key(&[3; 32]);
    assert_eq!(lock.public(), one.lock_key(&[3; 32]).public());
    for different in [
        one.lock_key(&[4; 32]),
        other.lock_key(&[3; 32]),
        SecretKey::from_bytes(&one.to_bytes()).unwrap(),
        SecretKey::from_seed(&one.to_bytes()),
        SecretKey::from_seed(&[3; 32]),
    ] {
        assert_ne!(lock.public(), different.public());
    }
}

#[test]
fn subkeys_differ_by_label_and_by_owner() {
    let one = key(1).subkey("catalogue");
    assert_eq!(one, key(1).subkey("catalogue"));
    assert_ne!(one, key(1).subkey("catalogue2"));
    assert_ne!(one, key(2).subkey("catalogue"));
}

#[test]
fn keys_have_different_addresses_and_node_ids() {
    assert_ne!(Address::of(&key(1).public()), Address::of(&key(2).public()));
    assert_ne!(key(1).public().node_id(), key(2).public().node_id());
}

proptest! {
    /// Signatures are checked by another implementation than the one that makes them.
    #[test]
    fn both_implementations_say_the_same_of_every_signature(
        seed: [u8; 32],
        digest: [u8; 32],
        other: [u8; 32],
        place in 0..64_usize,
        flip in 0..256_u16,
    ) {
        let key = SecretKey::from_seed(&seed);
        let mut signature = key.sign(&Digest(digest));
        prop_assert_eq!(key.public().verify(&Digest(digest), &signature), Ok(()));
        prop_assert_eq!(reference(&key, &other, &signature), other == digest);
        prop_assert_eq!(key.public().verify(&Digest(other), &signature).is_ok(), other == digest);
        signature.0[place] ^= flip.to_le_bytes()[0];
        let ours = key.public().verify(&Digest(digest), &signature);
        let is_low = ours != Err(BadSignature::HighS);
        prop_assert_eq!(ours.is_ok(), is_low && reference(&key, &digest, &signature));
    }
}

/// Whether `p256` accepts the signature.
fn reference(key: &SecretKey, digest: &[u8; 32], signature: &Signature) -> bool {
    let key = VerifyingKey::from_sec1_bytes(&key.public().to_bytes()).unwrap();
    let parsed = p256::ecdsa::Signature::from_slice(&signature.0);
    parsed.is_ok_and(|parsed| key.verify_prehash(digest, &parsed).is_ok())
}
