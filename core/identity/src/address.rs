//! The short name of a public key that people pass on.

use std::fmt;
use std::str::FromStr;

use defs_core::ids::{hex, unhex};
use ripemd::Ripemd160;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::keys::PublicKey;

/// Bytes of checksum behind the hash: one typing error in 2³² passes.
const CHECKSUM_SIZE: usize = 4;

/// HASH160 of a compressed public key.
///
/// Written as 48 hexadecimal digits: the hash, and the first four bytes of
/// SHA-256(SHA-256(hash)). There is no version byte: a network is named by its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; Self::SIZE]);

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAnAddress {
    /// It has not the form of one.
    #[error("`{text}` is not an address: 48 hexadecimal digits are needed")]
    Form {
        /// The text, cut to 80 characters.
        text: String,
    },
    /// It has been mistyped or cut.
    #[error("the address `{text}` is mistyped: its checksum does not match its first 40 digits")]
    Checksum {
        /// The text.
        text: String,
    },
}

impl Address {
    /// Bytes of the hash.
    pub const SIZE: usize = 20;

    /// The address of a key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self(hash160(&key.to_bytes()))
    }

    /// The address with this hash.
    #[must_use]
    pub const fn from_hash(hash: [u8; Self::SIZE]) -> Self {
        Self(hash)
    }

    /// The hash, without checksum.
    #[must_use]
    pub const fn hash(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    fn checksum(&self) -> [u8; CHECKSUM_SIZE] {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(Sha256::digest(self.0)));
        [a, b, c, d]
    }
}

/// RIPEMD-160 of SHA-256.
pub(crate) fn hash160(bytes: &[u8]) -> [u8; 20] {
    Ripemd160::digest(Sha256::digest(bytes)).into()
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", hex(&self.0), hex(&self.checksum()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({})", hex(&self.0[..4]))
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let Some(bytes) = unhex::<{ Self::SIZE + CHECKSUM_SIZE }>(text) else {
            return Err(NotAnAddress::Form { text: text.chars().take(80).collect() });
        };
        let mut hash = [0; Self::SIZE];
        hash.copy_from_slice(&bytes[..Self::SIZE]);
        let address = Self(hash);
        if bytes[Self::SIZE..] == address.checksum() {
            Ok(address)
        } else {
            Err(NotAnAddress::Checksum { text: text.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    #[test]
    fn an_address_reads_back_from_either_case() {
        let address = Address::of(&SecretKey::from_seed(&[7; 32]).public());
        assert_eq!(address.to_string().len(), 48);
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address.to_string().to_uppercase().parse(), Ok(address));
    }

    #[test]
    fn every_single_mistyped_digit_is_refused_as_a_checksum_mismatch() {
        let text = Address::from_hash([0xa5; 20]).to_string();
        for place in 0..text.len() {
            let mut typed = text.clone();
            let other = if &text[place..=place] == "0" { "1" } else { "0" };
            typed.replace_range(place..=place, other);
            let refused = Err(NotAnAddress::Checksum { text: typed.clone() });
            assert_eq!(typed.parse::<Address>(), refused);
        }
    }

    #[test]
    fn another_length_or_another_letter_has_not_the_form() {
        let text = Address::from_hash([1; 20]).to_string();
        for wrong in [&text[1..], "", &format!("{text}00"), &text.replacen('0', "g", 1)] {
            let refused = Err(NotAnAddress::Form { text: wrong.to_owned() });
            assert_eq!(wrong.parse::<Address>(), refused);
        }
    }

    #[test]
    fn hash160_is_bitcoins() {
        // The compressed key of the secret 1 on secp256k1, a hash known to everyone.
        let key: [u8; 33] =
            unhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").unwrap();
        assert_eq!(hex(&hash160(&key)), "751e76e8199196d454941c45d1b3a323f1433bd6");
    }
}
