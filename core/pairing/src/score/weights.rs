//! How much each dimension counts.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Dimension;

/// Weights of 0 to 100 by dimension; at least one is above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub struct Weights(Given);

/// Weights as they are written down; what isn't written has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Given {
    /// Of [`Dimension::Geography`].
    pub geography: u8,
    /// Of [`Dimension::Capacity`].
    pub capacity: u8,
    /// Of [`Dimension::Bandwidth`].
    pub bandwidth: u8,
    /// Of [`Dimension::Latency`].
    pub latency: u8,
    /// Of [`Dimension::Stability`].
    pub stability: u8,
    /// Of [`Dimension::Load`].
    pub load: u8,
}

/// Why some numbers are not weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotWeights {
    /// One is too large.
    #[error("the weight of {0} is 0 to 100, not {1}")]
    TooLarge(Dimension, u8),
    /// Nothing would count.
    #[error("at least one weight must be above 0")]
    AllZero,
}

impl Given {
    fn of(&self, dimension: Dimension) -> u8 {
        match dimension {
            Dimension::Geography => self.geography,
            Dimension::Capacity => self.capacity,
            Dimension::Bandwidth => self.bandwidth,
            Dimension::Latency => self.latency,
            Dimension::Stability => self.stability,
            Dimension::Load => self.load,
        }
    }
}

/// Sums to 100. What decides whether data survives or is reached counts for more than
/// what only makes it faster.
impl Default for Given {
    fn default() -> Self {
        Self { geography: 20, capacity: 15, bandwidth: 15, latency: 15, stability: 25, load: 10 }
    }
}

impl Weights {
    /// Checks each weight and their sum.
    pub fn new(given: Given) -> Result<Self, NotWeights> {
        for dimension in Dimension::ALL {
            let weight = given.of(dimension);
            if weight > 100 {
                return Err(NotWeights::TooLarge(dimension, weight));
            }
        }
        if Dimension::ALL.iter().all(|dimension| given.of(*dimension) == 0) {
            return Err(NotWeights::AllZero);
        }
        Ok(Self(given))
    }

    /// The weight of `dimension`.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> u8 {
        self.0.of(dimension)
    }

    /// The sum of all: 1 to 600.
    #[must_use]
    pub fn sum(&self) -> u64 {
        Dimension::ALL.iter().map(|dimension| u64::from(self.of(*dimension))).sum()
    }
}

impl TryFrom<Given> for Weights {
    type Error = NotWeights;
    fn try_from(given: Given) -> Result<Self, NotWeights> {
        Self::new(given)
    }
}

impl From<Weights> for Given {
    fn from(weights: Weights) -> Self {
        weights.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_above_a_hundred_or_all_zero_are_refused() {
        let zero =
            Given { geography: 0, capacity: 0, bandwidth: 0, latency: 0, stability: 0, load: 0 };
        assert_eq!(Weights::new(zero), Err(NotWeights::AllZero));
        assert_eq!(Weights::new(Given { load: 100, ..zero }).unwrap().sum(), 100);
        let refused = Weights::new(Given { load: 101, ..zero }).unwrap_err();
        assert_eq!(refused.to_string(), "the weight of load is 0 to 100, not 101");
    }

    #[test]
    fn what_is_not_written_has_its_default_and_what_is_unknown_is_refused() {
        assert_eq!(Weights::default().sum(), 100);
        let read: Weights = serde_json::from_str(r#"{"latency": 40}"#).unwrap();
        assert_eq!((read.of(Dimension::Latency), read.of(Dimension::Stability)), (40, 25));
        assert!(serde_json::from_str::<Weights>(r#"{"latency": 101}"#).is_err());
        assert!(serde_json::from_str::<Weights>(r#"{"latencies": 1}"#).is_err());
    }
}
