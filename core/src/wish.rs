//! What a person wants of a node, under the network's invite key: who may admit nodes may
//! also let them go.

use std::fmt;

use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, Epoch, NetworkId, NodeId, PairId};
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
    /// It shall give its place in its pair to another node, and stay.
    Yield(Place),
    /// It is gone: as soon as nobody reaches it, another node has its place. It may come back,
    /// and is free then.
    Replace(Place),
    /// It shall form a pair with another free node.
    Form(Forming),
}

impl Want {
    /// Whether it ends a membership.
    #[must_use]
    pub fn leaves(&self) -> bool {
        match self {
            Self::Drain | Self::Lost | Self::Yield(_) | Self::Replace(_) => true,
            Self::Stay | Self::Form(_) => false,
        }
    }

    /// The place that goes to another node.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Yield(place) | Self::Replace(place) => Some(*place),
            Self::Stay | Self::Drain | Self::Lost | Self::Form(_) => None,
        }
    }
}

/// A member's place in one epoch of a pair, and who is to have it next. With the epoch the
/// wish is over, so it can't be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In which pair.
    pub pair: PairId,
    /// In which epoch the member has it.
    pub epoch: Epoch,
    /// Who gets it.
    pub to: NodeId,
}

impl Place {
    fn write(self, out: &mut Writer) {
        out.raw(&self.pair.0);
        out.u64(self.epoch.0);
        out.raw(&self.to.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            pair: PairId(input.array("pair")?),
            epoch: Epoch(input.u64("epoch")?),
            to: NodeId(input.array("to")?),
        })
    }
}

/// A pair to be, of which the one that is told so is the primary. A pair's id is given once, so
/// this can't be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forming {
    /// Its id.
    pub pair: PairId,
    /// The other member.
    pub mirror: NodeId,
}

impl fmt::Display for Want {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Stay => "stay",
            Self::Drain => "drain",
            Self::Lost => "lost",
            Self::Yield(_) => "yield",
            Self::Replace(_) => "replace",
            Self::Form(_) => "form",
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
    /// 2: [`Want::Yield`].
    const VERSION: u8 = 2;
    fn write(&self, out: &mut Writer) {
        out.raw(&self.node.0);
        match self.want {
            Want::Stay => out.u8(0),
            Want::Drain => out.u8(1),
            Want::Lost => out.u8(2),
            Want::Yield(place) => {
                out.u8(3);
                place.write(out);
            }
            Want::Replace(place) => {
                out.u8(4);
                place.write(out);
            }
            Want::Form(Forming { pair, mirror }) => {
                out.u8(5);
                out.raw(&pair.0);
                out.raw(&mirror.0);
            }
        }
        out.u64(self.sequence);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let node = NodeId(input.array("node")?);
        let want = match input.u8("want")? {
            0 => Want::Stay,
            1 => Want::Drain,
            2 => Want::Lost,
            3 => Want::Yield(Place::read(input)?),
            4 => Want::Replace(Place::read(input)?),
            5 => Want::Form(Forming {
                pair: PairId(input.array("pair")?),
                mirror: NodeId(input.array("mirror")?),
            }),
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
    const VERSION: u8 = Wish::VERSION;
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
        let place = Place { pair: PairId([5; 16]), epoch: Epoch(6), to: NodeId([7; 32]) };
        let yields = |place| Wish { want: Want::Yield(place), ..wish };
        let yielding = SignedWish { wish: yields(place), signature: [4; 64] };
        assert_eq!(SignedWish::decode(&yielding.encode()), Ok(yielding));
        let elsewhere = [
            yields(Place { pair: PairId([6; 16]), ..place }),
            yields(Place { epoch: Epoch(7), ..place }),
            yields(Place { to: NodeId([8; 32]), ..place }),
        ];
        for other in elsewhere {
            assert_ne!(other.statement(&network), yields(place).statement(&network));
        }
        let forming = Forming { pair: PairId([5; 16]), mirror: NodeId([7; 32]) };
        let forms = |forming| Wish { want: Want::Form(forming), ..wish };
        let replaced = Wish { want: Want::Replace(place), ..wish };
        for wish in [replaced, forms(forming)] {
            let signed = SignedWish { wish, signature: [4; 64] };
            assert_eq!(SignedWish::decode(&signed.encode()), Ok(signed));
            assert_ne!(wish.statement(&network), yields(place).statement(&network));
        }
        for other in [
            Forming { pair: PairId([6; 16]), ..forming },
            Forming { mirror: NodeId([8; 32]), ..forming },
        ] {
            assert_ne!(forms(other).statement(&network), forms(forming).statement(&network));
        }
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
