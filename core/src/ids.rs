//! Names of things: fixed-size digests and random numbers that cannot be mistaken for
//! one another. `Debug` and `Display` show a short form for logs, [`Format`] the whole.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::format::{Format, FormatError, Reader, Writer};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {what}: {digits} hexadecimal digits are needed")]
pub struct NotAnId {
    what: &'static str,
    text: String,
    digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $size:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// Bytes in this id.
            pub const SIZE: usize = $size;

            /// All digits, for files, links and the wire.
            #[must_use]
            pub fn full(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&hex(&self.0[..4]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                unhex(text).map(Self).ok_or_else(|| NotAnId {
                    what: $what,
                    text: text.chars().take(80).collect(),
                    digits: $size * 2,
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.full()
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Format for $name {
            const NAME: &'static str = $what;
            fn write(&self, out: &mut Writer) {
                out.raw(&self.0);
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
                Ok(Self(input.array($what)?))
            }
        }
    };
}

id!(
    /// A BLAKE3 digest under a domain label, see [`crate::digest`].
    Digest, 32, "a digest"
);
id!(
    /// Names a network; in every handshake, ticket and record.
    NetworkId, 32, "a network id"
);
id!(
    /// SHA-256 of a node's public key as libp2p encodes it: the digest inside its peer id.
    NodeId, 32, "a node id"
);
id!(
    /// A pair of nodes; outlives its members.
    PairId, 16, "a pair id"
);
id!(
    /// Names one version of a file: BLAKE3 of its lock and 32 random bytes.
    FileId, 32, "a file id"
);
id!(
    /// Groups the shards of one stripe; derived from the stripe secret, tells nothing.
    StripeTag, 16, "a stripe tag"
);
id!(
    /// BLAKE3 of a stripe's descriptor.
    StripeId, 32, "a stripe id"
);
id!(
    /// BLAKE3 of a shard's sealed bytes.
    ShardId, 32, "a shard id"
);
id!(
    /// What a look-up asks for: a keyed digest of a file id or stripe tag.
    Locator, 32, "a locator"
);
id!(
    /// BLAKE3 of a lock script.
    LockHash, 32, "a lock hash"
);

impl NetworkId {
    /// Said by a client that does not know its network yet; no network has it.
    pub const UNKNOWN: Self = Self([0; 32]);
}

/// The place of a shard in its stripe: data shards first, then parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardIndex(pub u8);

impl fmt::Display for ShardIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The place of a slice in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SliceNo(pub u32);

impl fmt::Display for SliceNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The version of a pair's membership; it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Reads exactly `N` bytes of hexadecimal digits.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_full_form_and_logs_a_short_one() {
        let id = PairId([0xab; 16]);
        assert_eq!(id.full().parse(), Ok(id));
        assert_eq!(id.to_string(), "abababab");
        assert_eq!(format!("{id:?}"), "PairId(abababab)");
    }

    #[test]
    fn a_wrong_text_is_refused_with_what_is_needed() {
        let refused = "+1".repeat(16).parse::<PairId>().unwrap_err();
        assert!(
            refused.to_string().ends_with("is not a pair id: 32 hexadecimal digits are needed")
        );
        assert!("ab".parse::<PairId>().is_err());
    }
}
