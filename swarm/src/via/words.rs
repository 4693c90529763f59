//! The few bytes that are said in plain before two ends speak noise, and the one after it.
//!
//! ```text
//! client:    node id [32]                    to whom
//! forwarder: u8                              an Answer; the rest is between the two ends
//! client:    u8                              the family, under noise; then the lane begins
//! ```

use std::fmt;

use crate::family::Family;

/// What a forwarder answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The stream stands.
    Open = 1,
    /// The named node is this one, or no member of the network as far as it knows.
    NoMember = 2,
    /// The named node was not reached.
    Unreachable = 3,
    /// A limit; later.
    Busy = 4,
}

impl Answer {
    pub(super) fn byte(self) -> u8 {
        self as u8
    }

    pub(super) fn of(byte: u8) -> Option<Self> {
        [Self::Open, Self::NoMember, Self::Unreachable, Self::Busy]
            .into_iter()
            .find(|answer| answer.byte() == byte)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Open => "the stream stands",
            Self::NoMember => "it is no other member of the network that this one knows",
            Self::Unreachable => "this one does not reach it either",
            Self::Busy => "this one forwards too much already",
        })
    }
}

/// How a forwarded lane names its family. Repair is between nodes: it has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u8);

impl Code {
    /// The number of `family`, if it is forwarded.
    pub(crate) fn of(family: Family) -> Option<Self> {
        match family {
            Family::Shard => Some(Self(1)),
            Family::Record => Some(Self(2)),
            Family::Pair => Some(Self(3)),
            Family::Locate => Some(Self(4)),
            Family::Repair => None,
        }
    }

    pub(super) fn byte(self) -> u8 {
        self.0
    }
}

/// The family that a forwarded lane names.
pub(super) fn family_of(byte: u8) -> Option<Family> {
    Family::ALL.into_iter().find(|family| Code::of(*family) == Some(Code(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_families_are_read_as_they_are_written_and_no_other_byte_is() {
        let answers: Vec<_> = (0..=u8::MAX).filter_map(Answer::of).map(Answer::byte).collect();
        assert_eq!(answers, [1, 2, 3, 4]);
        let families: Vec<_> = (0..=u8::MAX).filter_map(family_of).map(Code::of).collect();
        assert_eq!(families, [1, 2, 3, 4].map(|byte| Some(Code(byte))));
        assert_eq!(Code::of(Family::Repair), None);
    }
}
