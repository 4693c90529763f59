//! What a person may say about pairing.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::score::Weights;

/// When a better pair is worth the trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How much each dimension counts.
    pub weights: Weights,
    /// Partners stand no farther apart than this, unless one host were the alternative.
    pub max_round_trip: Option<Duration>,
    /// By how many percent the pairs of an exchange must fit better, on average. What takes
    /// a pair off one host, zone or region needs no more gain than that.
    pub min_gain_percent: u8,
    /// A pair that changed is left alone for so long.
    pub cooldown: Duration,
    /// Pairs that change at one time. A swap changes two, and is allowed alone even if
    /// this is one: else nothing would ever change.
    pub moves_max: NonZeroUsize,
    /// Nodes that are kept out of pairs, to replace one that is lost.
    pub spares_min: usize,
}

/// Ten percent, since scores wander by a few; an hour, in which a pair of a terabyte is
/// copied over a Gbit/s link twice; two, one swap at a time.
impl Default for Policy {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            max_round_trip: None,
            min_gain_percent: 10,
            cooldown: Duration::from_secs(3600),
            moves_max: NonZeroUsize::MIN.saturating_add(1),
            spares_min: 0,
        }
    }
}
