//! Whether a node still has the bytes: a hash over a random range of a shard, under a
//! number that was never used before. Only who has the bytes at that moment can answer,
//! and the other member of the pair, which has the same, can check it.

use defs_core::digest::digest;
use defs_core::ids::{Digest, ShardId};
use serde::{Deserialize, Serialize};

/// Bytes of a shard that one challenge covers: as much as one read of a disk brings, so
/// that an audit costs a node no more than serving a small read.
pub const RANGE_MAX: u64 = 64 * 1024;

/// A question that can't be answered ahead of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Of which shard.
    pub shard: ShardId,
    /// From which byte.
    pub offset: u64,
    /// So many bytes.
    pub length: u64,
    /// Fresh random bytes.
    pub salt: [u8; 32],
}

/// What came of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It has the bytes.
    Holds,
    /// It doesn't, or says something else.
    Fails,
}

impl Challenge {
    /// A challenge on a shard of `size` bytes. `random` is 40 fresh bytes: of the salt, and of
    /// the place, which the challenged can't foresee.
    #[must_use]
    pub fn draw(shard: ShardId, size: u64, salt: [u8; 32], place: u64) -> Self {
        let length = size.min(RANGE_MAX);
        let starts = size.saturating_sub(length).saturating_add(1);
        // Multiply and shift: even to one part in 2⁶⁴ over `starts`, and never outside.
        let offset = (u128::from(place) * u128::from(starts)) >> 64;
        Self { shard, offset: u64::try_from(offset).unwrap_or(0), length, salt }
    }

    /// The answer of who reads `bytes` in that range.
    #[must_use]
    pub fn answer(&self, bytes: &[u8]) -> Digest {
        let mut said = Vec::with_capacity(bytes.len().saturating_add(80));
        said.extend_from_slice(&self.salt);
        said.extend_from_slice(&self.shard.0);
        said.extend_from_slice(&self.offset.to_le_bytes());
        said.extend_from_slice(&self.length.to_le_bytes());
        said.extend_from_slice(bytes);
        digest("defs 2026 audit", &said)
    }

    /// Judges an answer by one's own bytes of that range.
    #[must_use]
    pub fn judge(&self, own: &[u8], answer: &Digest) -> Verdict {
        let is_whole = u64::try_from(own.len()).is_ok_and(|length| length == self.length);
        if is_whole && self.answer(own) == *answer { Verdict::Holds } else { Verdict::Fails }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range<'a>(challenge: &Challenge, shard: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(challenge.offset).unwrap();
        &shard[start..start + usize::try_from(challenge.length).unwrap()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_holder_passes_and_one_wrong_byte_in_the_range_fails(
            size in 1_usize..200_000, place: u64, salt: [u8; 32], wrong: prop::sample::Index,
        ) {
            let shard: Vec<_> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let challenge = Challenge::draw(ShardId([1; 32]), size as u64, salt, place);
            let held = range(&challenge, &shard);
            prop_assert_eq!(challenge.judge(held, &challenge.answer(held)), Verdict::Holds);
            let mut rotten = held.to_vec();
            let at = wrong.index(rotten.len());
            rotten[at] ^= 1;
            prop_assert_eq!(challenge.judge(held, &challenge.answer(&rotten)), Verdict::Fails);
        }
    }

    #[test]
    fn an_answer_is_worth_nothing_for_another_challenge() {
        let shard = vec![7; 100_000];
        let draw = |salt, place| Challenge::draw(ShardId([1; 32]), 100_000, [salt; 32], place);
        let (first, second) = (draw(1, 0), draw(2, 0));
        let old = first.answer(range(&first, &shard));
        assert_eq!(second.judge(range(&second, &shard), &old), Verdict::Fails);
        // All bytes are alike: the place alone tells these two apart.
        let elsewhere = draw(1, u64::MAX);
        assert_eq!((elsewhere.offset, elsewhere.length), (100_000 - RANGE_MAX, RANGE_MAX));
        assert_eq!(elsewhere.judge(range(&elsewhere, &shard), &old), Verdict::Fails);
    }
}
