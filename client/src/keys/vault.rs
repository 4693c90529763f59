//! Seals what the owner keeps on this machine beside the key: names, tickets, journals.
//!
//! A sealed value is `salt (32) ‖ frame`; its key derives from the identity, the drawer,
//! the row and the salt, so no key seals two things and a row can't be put in another's
//! place.

use std::fmt;

use defs_codec::{derive, open, seal};
use defs_identity::SecretKey;
use thiserror::Error;
use zeroize::Zeroizing;

/// What kind of thing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawer {
    /// A name with its ticket.
    Entry,
    /// What a task works on.
    Task,
    /// A slice that a task has finished or begun.
    Slice,
}

impl Drawer {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Entry => b"catalogue entry",
            Self::Task => b"journal task",
            Self::Slice => b"journal slice",
        }
    }
}

/// The value was sealed under another identity or in another place, or is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a row of the local database was not sealed with this identity, or is damaged")]
pub struct NotSealedHere;

/// Subkeys of the identity for what lies on this machine.
pub(crate) struct Vault {
    sealing: Zeroizing<[u8; 32]>,
    names: Zeroizing<[u8; 32]>,
}

impl Vault {
    pub(crate) fn of(identity: &SecretKey) -> Self {
        Self { sealing: identity.subkey("client database"), names: identity.subkey("client names") }
    }

    /// By what a name is found without saying it.
    pub(crate) fn name_hash(&self, name: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.names, name.as_bytes()).as_bytes()
    }

    /// `salt` is drawn for this value.
    pub(crate) fn seal(&self, drawer: Drawer, row: &[u8], salt: [u8; 32], plain: &[u8]) -> Vec<u8> {
        let key = derive(&*self.sealing, &[drawer.label(), row, &salt]).into();
        let mut sealed = salt.to_vec();
        sealed.extend_from_slice(&seal(key, drawer.label(), plain));
        sealed
    }

    pub(crate) fn open(
        &self,
        drawer: Drawer,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, NotSealedHere> {
        let (salt, frame) = sealed.split_first_chunk::<32>().ok_or(NotSealedHere)?;
        let key = derive(&*self.sealing, &[drawer.label(), row, salt]).into();
        open(&key, drawer.label(), frame).map(Zeroizing::new).map_err(|_closed| NotSealedHere)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Vault(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_own_place_under_its_own_identity_only() {
        let vault = Vault::of(&SecretKey::from_seed(&[1; 32]));
        let sealed = vault.seal(Drawer::Entry, b"row", [9; 32], b"content");
        let open = |vault: &Vault, drawer, row: &[u8]| {
            vault.open(drawer, row, &sealed).map(|plain| plain.to_vec())
        };
        assert_eq!(open(&vault, Drawer::Entry, b"row"), Ok(b"content".to_vec()));
        assert_eq!(open(&vault, Drawer::Entry, b"other"), Err(NotSealedHere));
        assert_eq!(open(&vault, Drawer::Task, b"row"), Err(NotSealedHere));
        let stranger = Vault::of(&SecretKey::from_seed(&[2; 32]));
        assert_eq!(open(&stranger, Drawer::Entry, b"row"), Err(NotSealedHere));
        assert_ne!(vault.name_hash("a"), stranger.name_hash("a"));
    }
}
