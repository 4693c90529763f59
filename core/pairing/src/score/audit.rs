//! Whether a node still has the bytes: a digest over a fresh number and a range of a shard's
//! bytes. Only who has the bytes at that moment can answer, and the other member of the pair,
//! which has the same, can check it.

use std::ops::Range;

use defs_core::digest::digest;
use defs_core::ids::Digest;
use defs_core::message::ShardKey;

/// Bytes of a shard that one challenge covers at most: as much as one read of a disk brings,
/// so that an audit costs a node no more than serving a small read.
pub const RANGE_MAX: u64 = 64 << 10;

/// A question that can't be answered ahead of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Of which shard.
    pub key: ShardKey,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// Of its sealed bytes; at most [`RANGE_MAX`].
    pub range: Range<u64>,
}

/// What came of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It has the bytes.
    Holds,
    /// It doesn't, or says something else.
    Fails,
}

impl Challenge {
    /// A challenge on a shard of `length` bytes. `nonce` and `place` are fresh random numbers,
    /// which the challenged can't foresee.
    #[must_use]
    pub fn draw(key: ShardKey, length: u64, nonce: [u8; 32], place: u64) -> Self {
        let asked = length.min(RANGE_MAX);
        let starts = length.saturating_sub(asked).saturating_add(1);
        // Multiply and shift: even to one part in 2⁶⁴ over `starts`, and never outside.
        let start = (u128::from(place) * u128::from(starts)) >> 64;
        let start = u64::try_from(start).unwrap_or(0);
        Self { key, nonce, range: start..start.saturating_add(asked) }
    }

    /// The answer of who reads `bytes` in that range.
    #[must_use]
    pub fn answer(&self, bytes: &[u8]) -> Digest {
        let Self { key, nonce, range } = self;
        let mut text = Vec::with_capacity(bytes.len().saturating_add(81));
        text.extend_from_slice(nonce);
        text.extend_from_slice(&key.stripe.0);
        text.push(key.index.0);
        text.extend_from_slice(&range.start.to_le_bytes());
        text.extend_from_slice(&range.end.to_le_bytes());
        text.extend_from_slice(bytes);
        digest("defs 2026 possession proof", &text)
    }

    /// Judges an answer by one's own bytes of that range.
    #[must_use]
    pub fn judge(&self, own: &[u8], answer: &Digest) -> Verdict {
        let length = self.range.end.saturating_sub(self.range.start);
        let is_whole = u64::try_from(own.len()).is_ok_and(|own| own == length);
        if is_whole && self.answer(own) == *answer { Verdict::Holds } else { Verdict::Fails }
    }
}

#[cfg(test)]
mod tests {
    use defs_core::ids::{ShardIndex, StripeId};
    use proptest::prelude::*;

    use super::*;

    const KEY: ShardKey = ShardKey { stripe: StripeId([1; 32]), index: ShardIndex(3) };

    fn range<'a>(challenge: &Challenge, shard: &'a [u8]) -> &'a [u8] {
        let [start, end] =
            [challenge.range.start, challenge.range.end].map(|at| usize::try_from(at).unwrap());
        &shard[start..end]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_holder_passes_and_one_wrong_byte_in_the_range_fails(
            size in 1_usize..200_000, place: u64, nonce: [u8; 32], wrong: prop::sample::Index,
        ) {
            let shard: Vec<_> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let challenge = Challenge::draw(KEY, size as u64, nonce, place);
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
        let draw = |nonce, place| Challenge::draw(KEY, 100_000, [nonce; 32], place);
        let (first, second) = (draw(1, 0), draw(2, 0));
        let old = first.answer(range(&first, &shard));
        assert_eq!(second.judge(range(&second, &shard), &old), Verdict::Fails);
        // All bytes are alike: the place alone tells these two apart.
        let elsewhere = draw(1, u64::MAX);
        assert_eq!(elsewhere.range, 100_000 - RANGE_MAX..100_000);
        assert_eq!(elsewhere.judge(range(&elsewhere, &shard), &old), Verdict::Fails);
    }
}
