//! How large the slices of a file are.

use defs_core::framing::CHUNK;
use defs_core::geometry::Geometry;
use defs_core::size::Size;
use thiserror::Error;

/// The smallest and the largest slice: from one chunk (64 KiB) to 64 MiB, the largest that a
/// holder accepts; `min` is at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceSizes {
    min: Size,
    max: Size,
}

/// Why two sizes do not bound slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SliceSizesError {
    /// Outside 64 KiB to 64 MiB.
    #[error("a slice of {0} is outside {SMALLEST} to {LARGEST}")]
    Outside(Size),
    /// The smallest is larger than the largest.
    #[error("minSliceSize is {min}, more than maxSliceSize, which is {max}")]
    Order {
        /// The smallest.
        min: Size,
        /// The largest.
        max: Size,
    },
}

const SMALLEST: Size = Size(CHUNK);
const LARGEST: Size = Size::mib(64);

/// Files up to the first size are cut into slices of the second; longer ones into the
/// largest. Larger slices cost fewer round trips and a shorter manifest, smaller ones
/// start sooner, use less memory and lose less when an upload breaks off.
const STEPS: [(Size, Size); 2] = [(Size::gib(2), Size::mib(16)), (Size::gib(64), Size::mib(32))];

/// A file of unknown length (a pipe) may well be short.
const UNKNOWN: Size = Size::mib(16);

/// Slices in memory at once: one is coded while the other is on its way.
const IN_FLIGHT: u64 = 2;

impl SliceSizes {
    /// From `min` to `max`.
    pub fn new(min: Size, max: Size) -> Result<Self, SliceSizesError> {
        for size in [min, max] {
            if size < SMALLEST || size > LARGEST {
                return Err(SliceSizesError::Outside(size));
            }
        }
        if min > max { Err(SliceSizesError::Order { min, max }) } else { Ok(Self { min, max }) }
    }

    /// The smallest slice, but for a file's last.
    #[must_use]
    pub fn min(self) -> Size {
        self.min
    }

    /// The largest slice.
    #[must_use]
    pub fn max(self) -> Size {
        self.max
    }
}

/// The size of each slice but the last: as large as suits a file of `file_length` bytes (none:
/// not known), within `sizes`; a power of two, unless it is one of the bounds. `budget` bounds
/// the memory of an upload, as far as the smallest size allows.
#[must_use]
pub fn slice_size(
    file_length: Option<u64>,
    sizes: SliceSizes,
    geometry: Geometry,
    budget: Size,
) -> Size {
    let suits = file_length.map_or(UNKNOWN, |length| {
        STEPS.iter().find(|(longest, _)| length <= longest.0).map_or(sizes.max, |(_, size)| *size)
    });
    suits.min(affordable(geometry, budget)).clamp(sizes.min, sizes.max)
}

/// The largest power of two of which [`IN_FLIGHT`] fit into `budget`, each once as a slice
/// and once as its n shards, n / k as long: 2.4 times itself in 10+4.
fn affordable(geometry: Geometry, budget: Size) -> Size {
    let data = geometry.data() as u64;
    let slice_and_shards = data + geometry.total() as u64;
    let longest =
        u128::from(budget.0) * u128::from(data) / u128::from(IN_FLIGHT * slice_and_shards);
    let longest = u64::try_from(longest).unwrap_or(u64::MAX);
    Size(longest.checked_ilog2().map_or(0, |power| 1 << power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn usual() -> SliceSizes {
        SliceSizes::new(Size::mib(1), Size::mib(64)).unwrap()
    }

    fn chosen(length: Option<u64>, budget: Size) -> Size {
        slice_size(length, usual(), Geometry::new(10, 4).unwrap(), budget)
    }

    #[test]
    fn longer_files_have_larger_slices_and_a_pipe_has_those_of_a_short_file() {
        let plenty = Size::gib(1);
        for (length, size) in [(0, 16), (16 * MIB, 16), (2048 * MIB, 16), (2048 * MIB + 1, 32)] {
            assert_eq!(chosen(Some(length), plenty), Size::mib(size));
        }
        assert_eq!(chosen(Some(65536 * MIB), plenty), Size::mib(32));
        assert_eq!(chosen(Some(65536 * MIB + 1), plenty), Size::mib(64));
        assert_eq!(chosen(None, plenty), Size::mib(16));
    }

    #[test]
    fn a_small_budget_makes_slices_smaller_down_to_the_smallest() {
        // Two slices of 16 MiB at 2.4 times their size: 76.8 MiB.
        assert_eq!(chosen(None, Size::mib(77)), Size::mib(16));
        assert_eq!(chosen(None, Size::mib(76)), Size::mib(8));
        assert_eq!(chosen(None, Size(0)), Size::mib(1));
    }

    #[test]
    fn bounds_that_are_no_bounds_are_refused_by_name() {
        let new = |min, max| SliceSizes::new(Size(min), Size(max));
        assert_eq!(new(MIB, 128 * MIB), Err(SliceSizesError::Outside(Size::mib(128))));
        assert_eq!(new(0, MIB), Err(SliceSizesError::Outside(Size(0))));
        let order = SliceSizesError::Order { min: Size::mib(2), max: Size::mib(1) };
        assert_eq!(new(2 * MIB, MIB), Err(order));
        assert_eq!(order.to_string(), "minSliceSize is 2Mi, more than maxSliceSize, which is 1Mi");
    }

    proptest! {
        #[test]
        fn a_slice_size_is_within_its_bounds_and_its_budget_and_a_power_of_two_between(
            length: Option<u64>, budget: u64, data in 1..=100_u32, parity in 0..=100_u32,
            min in SMALLEST.0..=LARGEST.0, max in SMALLEST.0..=LARGEST.0,
        ) {
            let (min, max) = (Size(min.min(max)), Size(max.max(min)));
            let sizes = SliceSizes::new(min, max).unwrap();
            let geometry = Geometry::new(data, parity).unwrap();
            let size = slice_size(length, sizes, geometry, Size(budget));
            prop_assert!(min <= size && size <= max);
            prop_assert!(size.0.is_power_of_two() || size == min || size == max);
            let memory = u128::from(size.0) * 2 * (geometry.data() + geometry.total()) as u128;
            prop_assert!(size == min || memory <= u128::from(budget) * geometry.data() as u128);
        }
    }
}
