//! How many holders together have how much of a file, where each stripe lies as flat on
//! the open pairs as they allow. Pairs are drawn at random, but how many shards the
//! fullest of them get is known before.

use crate::mode::Layout;
use crate::record::{RECORD_PAIRS, quorum_of};

impl Layout {
    /// The fewest nodes that together hold k shards of a stripe: so many must work together
    /// to open its outer layer. Both nodes of a pair hold the same, so each is of another.
    #[must_use]
    pub fn nodes_that_reach_data(&self) -> usize {
        if self.inline {
            // Every pair of the manifest has the whole.
            return 1;
        }
        self.pairs_that_reach(self.geometry.data())
    }

    /// How many whole pairs may vanish, whichever they are, so that the file is still read:
    /// k shards of each stripe are left, and of the manifest's pairs a quorum.
    #[must_use]
    pub fn pairs_that_may_vanish(&self) -> usize {
        let manifest_pairs = self.pairs.min(RECORD_PAIRS);
        let manifest = manifest_pairs.saturating_sub(quorum_of(manifest_pairs));
        if self.inline {
            return manifest;
        }
        let shards = self.pairs_that_reach(self.geometry.parity() + 1) - 1;
        shards.min(manifest)
    }

    /// The fewest pairs that together hold `wanted` of a stripe's shards, at least one and
    /// at most all.
    fn pairs_that_reach(&self, wanted: usize) -> usize {
        let (shards, pairs) = (self.geometry.total(), self.pairs.max(1));
        let (level, fuller) = (shards / pairs, shards % pairs);
        let wanted = wanted.clamp(1, shards);
        let with_fuller = fuller * (level + 1);
        if wanted <= with_fuller {
            wanted.div_ceil(level + 1)
        } else {
            // Some are wanted beyond those that have one more: no pair is left without any.
            fuller + (wanted - with_fuller).div_ceil(level.max(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Geometry;
    use crate::mode::Mode;

    fn layout((data, parity): (u32, u32), pairs: usize) -> Layout {
        Layout {
            mode: Mode::RsSize,
            geometry: Geometry::new(data, parity).unwrap(),
            per_pair: 200,
            pairs,
            inline: false,
            why: String::new(),
        }
    }

    /// Nodes that reach k, and pairs that may vanish.
    fn said(geometry: (u32, u32), pairs: usize) -> (usize, usize) {
        let layout = layout(geometry, pairs);
        (layout.nodes_that_reach_data(), layout.pairs_that_may_vanish())
    }

    #[test]
    fn with_pairs_enough_k_nodes_reach_k_and_with_few_the_fullest_do() {
        assert_eq!(said((10, 4), 20), (10, 1), "of m = 4 the manifest's three pairs bear one");
        assert_eq!(said((10, 4), 14), (10, 1));
        assert_eq!(said((10, 4), 7), (5, 1), "2 on each");
        assert_eq!(said((10, 4), 5), (4, 1), "3 on four, 2 on one");
        assert_eq!(said((10, 4), 3), (2, 0), "5 on two, 4 on one");
        assert_eq!(said((1, 1), 9), (1, 1));
        assert_eq!(said((1, 1), 2), (1, 0), "the manifest needs both pairs");
        assert_eq!(said((1, 0), 9), (1, 0));
        assert_eq!(said((100, 100), 1), (1, 0));
    }

    #[test]
    fn what_rides_in_a_manifest_is_whole_at_one_node_and_bears_what_a_manifest_bears() {
        let inline = |pairs| Layout { inline: true, ..layout((1, 1), pairs) };
        let said =
            |pairs| (inline(pairs).nodes_that_reach_data(), inline(pairs).pairs_that_may_vanish());
        assert_eq!([said(1), said(2), said(3), said(9)], [(1, 0), (1, 0), (1, 1), (1, 1)]);
    }

    proptest! {
        #[test]
        fn dealt_out_one_by_one_so_many_of_the_fullest_reach_it(
            data in 1_u32..=100, parity in 0_u32..=100, pairs in 1_usize..300, wanted in 1_usize..200,
        ) {
            let layout = layout((data, parity), pairs);
            let shards = layout.geometry.total();
            let mut held = vec![0_usize; pairs];
            (0..shards).for_each(|shard| held[shard % pairs] += 1);
            held.sort_unstable_by(|one, other| other.cmp(one));
            let wanted = wanted.min(shards);
            let reached = layout.pairs_that_reach(wanted);
            prop_assert!(held.iter().take(reached).sum::<usize>() >= wanted);
            prop_assert!(held.iter().take(reached - 1).sum::<usize>() < wanted);
        }
    }
}
