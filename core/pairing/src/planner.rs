//! Pairs from candidates: the two of a pair stand as far apart as the network allows,
//! then fit as well as can be, and pairs that are there already change only for what is
//! worth the bytes.
//!
//! The same candidates give the same pairs in whatever order they come, so nodes that see
//! the same network propose the same pairs without asking each other.

use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};

use crate::score::{Dimension, Points, Score, Weights, clusters::Cluster};

pub use self::arrange::{arrange, measure};
pub use self::board::{EXACT_MAX, Effort};
pub use self::cost::Total;
pub use self::fit::{Apart, Fit};
pub use self::network::{Network, Paired};
pub use self::policy::Policy;
pub use self::report::{Exchange, Formed, Gain, Move, Plan, Risk, Wait};
pub use self::steps::{Blocked, Replace, steps};

mod arrange;
mod blossom;
mod board;
mod chains;
mod cost;
mod curve;
mod exchange;
mod fit;
mod fold;
mod near;
mod network;
mod policy;
mod reach;
mod report;
mod ring;
mod steps;
mod today;

/// A node that is in no pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub labels: Labels,
    /// Bytes that it offers.
    pub capacity: u64,
    /// Whether it can be dialled: two that can't are never a pair.
    pub reach: Reach,
}

/// A candidate with what was measured of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rated {
    /// Who and where.
    pub candidate: Candidate,
    /// How fast bytes go to and from it.
    pub bandwidth: Points,
    /// Whether it stays.
    pub stability: Points,
    /// How much of it is idle.
    pub load: Points,
    /// Which nodes it is near to, by round trip.
    pub cluster: Option<Cluster>,
}

impl Rated {
    /// A candidate of which nothing is measured yet.
    #[must_use]
    pub fn unknown(candidate: Candidate) -> Self {
        let points = Points::UNKNOWN;
        Self { candidate, bandwidth: points, stability: points, load: points, cluster: None }
    }

    /// A candidate with its score.
    #[must_use]
    pub fn new(candidate: Candidate, score: &Score, cluster: Option<Cluster>) -> Self {
        Self {
            candidate,
            bandwidth: score.points(Dimension::Bandwidth),
            stability: score.points(Dimension::Stability),
            load: score.points(Dimension::Load),
            cluster,
        }
    }
}

/// Two nodes to pair: the primary, then the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match(pub NodeId, pub NodeId);

/// Pairs up `candidates`; of an odd number one stays a spare. `round_trip` is what was
/// measured between two nodes, if it was.
#[must_use]
pub fn plan(
    candidates: Vec<Candidate>,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> Vec<Match> {
    arrange::matches(candidates, round_trip)
}

/// How well two nodes fit that are a pair, or could be one.
#[must_use]
pub fn fit(
    one: &Rated,
    other: &Rated,
    round_trip: Option<Duration>,
    weights: &Weights,
) -> Option<Fit> {
    match &cost::sites(&[one.clone(), other.clone()])[..] {
        [one, other] => Some(Fit::new(one, other, round_trip, weights)),
        _ => None,
    }
}

/// The lower of the two hashes is the primary: a rule that needs no agreement.
fn in_order(a: NodeId, b: NodeId) -> Match {
    if a < b { Match(a, b) } else { Match(b, a) }
}

#[cfg(test)]
mod tests;
