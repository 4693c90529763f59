//! Where shards are that were rebuilt or given away: notes that nodes tell each other and keep as hints, so that a
//! reader need not ask everybody.

use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::Locator;
use crate::receipt::SignedReceipt;

/// The most notes in one message.
pub const NOTES_MAX: usize = 64;

/// A shard was rebuilt at another pair, or given to it. A candidate for readers and nothing
/// more: its bytes have to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedNote {
    /// Of the stripe's tag: by this a reader asks.
    pub locator: Locator,
    /// Both members of the pair that has it now say so: primary's, then mirror's.
    pub receipts: [SignedReceipt; 2],
}

/// At most [`NOTES_MAX`] notes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MovedNotes(pub Vec<MovedNote>);

impl Format for MovedNote {
    const NAME: &'static str = "a note on a moved shard";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.locator.0);
        self.receipts.iter().for_each(|receipt| receipt.write(out));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            locator: Locator(input.array("locator")?),
            receipts: [SignedReceipt::read(input)?, SignedReceipt::read(input)?],
        })
    }
}

impl Format for MovedNotes {
    const NAME: &'static str = "notes on moved shards";
    fn write(&self, out: &mut Writer) {
        out.list(&self.0, |out, note| note.write(out));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self(input.list("notes", NOTES_MAX, MovedNote::read)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::MerklePath;
    use crate::ids::{Epoch, NodeId, PairId, ShardIndex, StripeId};
    use crate::receipt::{Kept, NodeSignature, Receipt};

    #[test]
    fn notes_read_back_and_are_bounded() {
        let receipt = SignedReceipt {
            receipt: Receipt {
                kept: Kept::Shard(StripeId([1; 32]), ShardIndex(3)),
                pair: PairId([2; 16]),
                epoch: Epoch(4),
                node: NodeId([5; 32]),
            },
            path: MerklePath::default(),
            by: NodeSignature { key: [6; 33], signature: [7; 64] },
        };
        let note = MovedNote { locator: Locator([8; 32]), receipts: [receipt.clone(), receipt] };
        let most = MovedNotes(vec![note.clone(); NOTES_MAX]);
        assert_eq!(MovedNotes::decode(&most.encode()).as_ref(), Ok(&most));
        let over = MovedNotes(vec![note; NOTES_MAX + 1]);
        assert!(MovedNotes::decode(&over.encode()).is_err());
    }
}
