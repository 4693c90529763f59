//! What a person wants of a node, under the network's invite key: who may admit nodes may
//! also let them go.

use std::fmt;

use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, NetworkId, NodeId};
use crate::statement::{Statement, stated};

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// It shall stay: takes an earlier wish to drain it back.
    Stay,
    /// It shall hand over what it holds, and leave.
    Drain,
    /// It will never come back: nobody waits for it. Is not taken back.
    Lost,
}

impl fmt::Display for Want {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stay => "stay",
            Self::Drain => "drain",
            Self::Lost => "lost",
        })
    }
}

/// A person's word about a node. The highest sequence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Of whom.
    pub node: NodeId,
    /// What.
    pub want: Want,
    /// Grows with every wish: Unix time in milliseconds.
    pub sequence: u64,
}

impl Statement for Wish {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 wish", network, &self.encode())
    }
}

impl Format for Wish {
    const NAME: &'static str = "a wish";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.node.0);
        out.u8(match self.want {
            Want::Stay => 0,
            Want::Drain => 1,
            Want::Lost => 2,
        });
        out.u64(self.sequence);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let node = NodeId(input.array("node")?);
        let want = match input.u8("want")? {
            0 => Want::Stay,
            1 => Want::Drain,
            2 => Want::Lost,
            _ => return Err(FormatError::Invalid("want")),
        };
        Ok(Self { node, want, sequence: input.u64("sequence")? })
    }
}

/// A wish under the invite key's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedWish {
    /// What is wanted.
    pub wish: Wish,
    /// ECDSA of the network's invite key.
    pub signature: [u8; 64],
}

impl Format for SignedWish {
    const NAME: &'static str = "a wish";
    fn write(&self, out: &mut Writer) {
        self.wish.write(out);
        out.raw(&self.signature);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { wish: Wish::read(input)?, signature: input.array("signature")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_reads_back_and_its_statement_binds_every_field() {
        let network = NetworkId([1; 32]);
        let wish = Wish { node: NodeId([2; 32]), want: Want::Drain, sequence: 3 };
        let signed = SignedWish { wish, signature: [4; 64] };
        assert_eq!(SignedWish::decode(&signed.encode()), Ok(signed));
        let others = [
            Wish { node: NodeId([3; 32]), ..wish },
            Wish { want: Want::Lost, ..wish },
            Wish { want: Want::Stay, ..wish },
            Wish { sequence: 4, ..wish },
        ];
        for other in others {
            assert_ne!(other.statement(&network), wish.statement(&network));
        }
    }
}
