//! The identity key as text, to write down or to carry to another machine.

use std::fmt;

use defs_core::digest;
use defs_identity::SecretKey;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::base32;

const PREFIX: &str = "defskey1";
const CHECKSUM: usize = 4;

/// An exported key: a secret, so it is wiped on drop and only [`ExportedKey::reveal`]
/// shows it.
pub struct ExportedKey(Zeroizing<String>);

impl ExportedKey {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ExportedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ExportedKey(..)")
    }
}

/// Why a text is not an exported key. It never repeats the text, which is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotAnExport {
    /// It begins otherwise.
    #[error("this is not an exported key: one begins with `{PREFIX}`")]
    Prefix,
    /// A letter that no exported key has.
    #[error("letter {0} of this exported key is not one that a key has")]
    Letter(usize),
    /// Too short or too long.
    #[error("this exported key is cut or has something added")]
    Length,
    /// Mistyped.
    #[error("this exported key is mistyped: its checksum does not match")]
    Checksum,
    /// Well-formed, but not a number that is a key.
    #[error("this exported key holds no key")]
    NotAKey,
}

/// `key` as text: prefix, base32 of the secret and four bytes of checksum.
#[must_use]
pub fn export_key(key: &SecretKey) -> ExportedKey {
    let mut bytes = Zeroizing::new(key.to_bytes().to_vec());
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    ExportedKey(Zeroizing::new(format!("{PREFIX}{}", base32::encode(&bytes))))
}

/// The key that [`export_key`] wrote; spaces and line ends around it don't matter.
pub fn import_key(text: &str) -> Result<SecretKey, NotAnExport> {
    let body = text.trim().strip_prefix(PREFIX).ok_or(NotAnExport::Prefix)?;
    let bytes = base32::decode(body).map(Zeroizing::new).map_err(|why| match why {
        base32::NotBase32::Letter(place) => NotAnExport::Letter(PREFIX.len() + place + 1),
        base32::NotBase32::Length => NotAnExport::Length,
    })?;
    let (secret, sum) = bytes.split_first_chunk::<32>().ok_or(NotAnExport::Length)?;
    if sum.len() != CHECKSUM {
        return Err(NotAnExport::Length);
    }
    if sum != checksum(secret) {
        return Err(NotAnExport::Checksum);
    }
    let mut secret = *secret;
    let key = SecretKey::from_bytes(&secret).map_err(|_none| NotAnExport::NotAKey);
    secret.zeroize();
    key
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = digest("defs 2026 exported key checksum", secret).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_key_reads_back_and_prints_nothing() {
        let key = SecretKey::from_seed(&[3; 32]);
        let text = export_key(&key);
        assert_eq!(format!("{text:?}"), "ExportedKey(..)");
        let back = import_key(&format!("  {}\n", text.reveal())).unwrap();
        assert_eq!(back.public(), key.public());
    }

    #[test]
    fn every_mistake_is_refused_by_name() {
        let text = export_key(&SecretKey::from_seed(&[3; 32])).reveal().to_owned();
        let refused = |text: &str| import_key(text).unwrap_err();
        assert_eq!(refused("hello"), NotAnExport::Prefix);
        assert_eq!(
            refused(&text.replacen(&text[9..10], "!", 1)),
            NotAnExport::Letter(9).min_place(&text)
        );
        assert_eq!(refused(&text[..text.len() - 8]), NotAnExport::Length);
        let other = if &text[20..21] == "a" { "b" } else { "a" };
        let mut typed = text;
        typed.replace_range(20..21, other);
        assert_eq!(refused(&typed), NotAnExport::Checksum);
    }

    impl NotAnExport {
        /// Where the replaced letter stands first behind the prefix.
        fn min_place(self, text: &str) -> Self {
            let place = text.find(&text[9..10]).unwrap();
            if place < PREFIX.len() { Self::Prefix } else { Self::Letter(place + 1) }
        }
    }
}
