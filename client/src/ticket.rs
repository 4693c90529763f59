//! Tickets: what finds, unlocks and opens one file.
//!
//! ```text
//! text  = "defs1" ‖ base32(bytes ‖ first 4 bytes of BLAKE3(label, bytes))
//! bytes = version (1) ‖ network id ‖ file id ‖ file key ‖ lock seed ‖ hints (≤ 3 pair ids)
//! ```

use std::fmt;
use std::str::FromStr;

use defs_core::digest;
use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::{FileId, NetworkId, PairId};
use defs_core::record::RECORD_PAIRS;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::base32::{self, NotBase32};
use crate::keys::FileKey;

const PREFIX: &str = "defs1";
const CHECKSUM: usize = 4;

/// Finds and opens one version of one file. As secret as the file: it prints nothing of
/// its keys, and only [`Ticket::to_text`] gives them away.
pub struct Ticket {
    /// The network that holds the file.
    pub network: NetworkId,
    /// The file.
    pub file: FileId,
    /// Opens its content.
    pub key: FileKey,
    /// With the owner's identity it makes the key that opens the file's lock.
    pub lock_seed: [u8; 32],
    /// Pairs that hold its manifest, asked first; at most three.
    pub hints: Vec<PairId>,
}

/// Why a text is not a ticket. It never repeats the text, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotATicket {
    /// It begins otherwise.
    #[error("this is not a ticket: one begins with `{PREFIX}`")]
    Prefix,
    /// A letter that no ticket has.
    #[error("letter {0} of this ticket is not one that a ticket has")]
    Letter(usize),
    /// Too short.
    #[error("this ticket is cut short")]
    Short,
    /// Mistyped or cut.
    #[error("this ticket is mistyped or cut: its checksum does not match")]
    Checksum,
    /// The bytes are not a ticket's.
    #[error("this ticket can't be read: {0}")]
    Format(FormatError),
}

impl Ticket {
    /// The whole ticket, to pass on.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.encode());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        Zeroizing::new(format!("{PREFIX}{}", base32::encode(&bytes)))
    }

    /// Whether `text` looks like a ticket rather than a name.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.len() > 200 && text.starts_with(PREFIX)
    }

    /// The same ticket for another task of this process.
    pub(crate) fn share(&self) -> Self {
        Self {
            network: self.network,
            file: self.file,
            key: self.key.share(),
            lock_seed: self.lock_seed,
            hints: self.hints.clone(),
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = digest("defs 2026 ticket checksum", bytes).0;
    [a, b, c, d]
}

impl Format for Ticket {
    const NAME: &'static str = "a ticket";

    fn write(&self, out: &mut Writer) {
        out.raw(&self.network.0);
        out.raw(&self.file.0);
        out.raw(self.key.bytes());
        out.raw(&self.lock_seed);
        out.list(&self.hints, |out, pair| out.raw(&pair.0));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            network: NetworkId(input.array("network")?),
            file: FileId(input.array("file")?),
            key: FileKey::from_bytes(input.array("key")?),
            lock_seed: input.array("lock seed")?,
            hints: input.list("hints", RECORD_PAIRS, |input| Ok(PairId(input.array("hint")?)))?,
        })
    }
}

impl FromStr for Ticket {
    type Err = NotATicket;

    fn from_str(text: &str) -> Result<Self, NotATicket> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(NotATicket::Prefix)?;
        let bytes = base32::decode(body).map(Zeroizing::new).map_err(|why| match why {
            NotBase32::Letter(place) => NotATicket::Letter(PREFIX.len() + place + 1),
            NotBase32::Length => NotATicket::Checksum,
        })?;
        let (bytes, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(NotATicket::Short)?;
        if *sum != checksum(bytes) {
            return Err(NotATicket::Checksum);
        }
        Self::decode(bytes).map_err(NotATicket::Format)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Ticket({} of {}, ..)", self.file, self.network)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket(hints: usize) -> Ticket {
        Ticket {
            network: NetworkId([1; 32]),
            file: FileId([2; 32]),
            key: FileKey::from_bytes([3; 32]),
            lock_seed: [4; 32],
            hints: (0..3).take(hints).map(|pair| PairId([pair; 16])).collect(),
        }
    }

    #[test]
    fn a_ticket_reads_back_and_prints_neither_key_nor_seed() {
        for hints in 0..=3 {
            let text = ticket(hints).to_text();
            assert!(Ticket::looks_like(&text));
            let back: Ticket = text.parse().unwrap();
            assert_eq!(back.encode(), ticket(hints).encode());
        }
        assert_eq!(format!("{:?}", ticket(1)), "Ticket(02020202 of 01010101, ..)");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = ticket(2).to_text();
        let refused = |text: &str| text.parse::<Ticket>().unwrap_err();
        assert_eq!(refused("holiday.jpg"), NotATicket::Prefix);
        assert_eq!(refused("defs1aa"), NotATicket::Short);
        assert_eq!(refused(&text[..text.len() - 1]), NotATicket::Checksum);
        assert_eq!(refused(&format!("{}!", &*text)), NotATicket::Letter(text.len() + 1));
    }

    proptest! {
        #[test]
        fn no_mistyped_letter_passes(place in 5_usize..200, typed in "[a-z2-7]") {
            let text = ticket(3).to_text();
            let mut changed = text.to_string();
            changed.replace_range(place..=place, &typed);
            prop_assume!(*changed != *text);
            let refused = changed.parse::<Ticket>().unwrap_err();
            prop_assert_eq!(refused, NotATicket::Checksum);
        }
    }
}
