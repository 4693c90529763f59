//! What a stream between two peers is opened for, and the protocol that says so.

use libp2p::StreamProtocol;

use crate::family::Family;

/// What a stream is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Exchanges of one family between the two.
    Lane(Family),
    /// A client asks to be forwarded to another node.
    Via,
    /// A node forwards a client to this one.
    Forwarded,
}

impl Channel {
    const COUNT: usize = Family::COUNT + 2;

    /// All of them: the lanes in the order of their families, then the others.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Lane(Family::Shard),
        Self::Lane(Family::Record),
        Self::Lane(Family::Pair),
        Self::Lane(Family::Locate),
        Self::Lane(Family::Repair),
        Self::Via,
        Self::Forwarded,
    ];

    /// A list of this one.
    pub(crate) fn alone(self) -> &'static [Self] {
        let place = match self {
            Self::Lane(family) => family.index(),
            Self::Via => Family::COUNT,
            Self::Forwarded => Family::COUNT + 1,
        };
        &Self::ALL[place..=place]
    }

    pub(crate) fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Lane(Family::Shard) => "/defs/shard/1",
            Self::Lane(Family::Record) => "/defs/record/1",
            Self::Lane(Family::Pair) => "/defs/pair/1",
            Self::Lane(Family::Locate) => "/defs/locate/1",
            Self::Lane(Family::Repair) => "/defs/repair/1",
            Self::Via => "/defs/via/1",
            Self::Forwarded => "/defs/forwarded/1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_a_place_and_a_protocol_of_its_own() {
        let mut names = Vec::new();
        for channel in Channel::ALL {
            assert_eq!(channel.alone(), [channel]);
            names.push(channel.protocol().to_string());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Channel::COUNT);
    }
}
