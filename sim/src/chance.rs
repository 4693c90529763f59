//! One seed, from which everything that happens by chance is drawn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use defs_core::port::Randomness;

/// The golden ratio's step of SplitMix64: each draw of it is another point of one cycle.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that its seed and label make, and nothing else.
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    /// Streams of other labels tell nothing of this one, so a part that draws more leaves
    /// the others as they were.
    #[must_use]
    pub fn of(seed: u64, label: &str) -> Self {
        let text = [&seed.to_le_bytes(), label.as_bytes()].concat();
        let digest = defs_core::digest("defs sim chance", &text);
        Self(AtomicU64::new(u64::from_le_bytes(std::array::from_fn(|place| digest.0[place]))))
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, 0 if that is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The product's upper half: even for every bound that is drawn here.
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A place in a list of `length`.
    pub fn place(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of `all`, if there is one.
    pub fn pick<'a, T>(&self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.place(all.len()))
    }

    /// A time from `least` to `most`, in whole milliseconds.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        let spread = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.below(spread.saturating_add(1)))
    }

    /// Whether what happens `percent` times in a hundred happens now.
    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// 32 bytes for a key.
    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}

impl Randomness for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_label_make_one_stream() {
        let draw = |seed, label| Chance::of(seed, label).bytes();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn draws_keep_their_bounds_and_reach_them() {
        let chance = Chance::of(1, "bounds");
        let drawn: std::collections::BTreeSet<_> = (0..200).map(|_| chance.below(3)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((chance.below(0), chance.below(1)), (0, 0));
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(6));
        assert!((0..100).all(|_| (least..=most).contains(&chance.between(least, most))));
        assert!(chance.pick::<u8>(&[]).is_none());
    }
}
