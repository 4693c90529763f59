//! Why a conclusion waits.

use std::fmt;
use std::time::Duration;

use super::evidence::Evidence;
use crate::majority::Standing;

/// Why something that may be due doesn't happen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// This node didn't look for so long, and gives the partner time to be heard.
    Stalled(Duration),
    /// Fewer than a majority are reachable: perhaps it is this node that is cut off.
    Frozen(Standing),
    /// Nobody else's word is in yet; where there is nobody, it never will be.
    NoSecondWitness,
    /// These do reach it.
    Reached(Vec<Evidence>),
    /// It is back, and flapped: it must be heard for so much longer.
    Probation(Duration),
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(lasting) => {
                write!(out, "this node itself did not run for {lasting:.1?}")
            }
            Self::Frozen(standing) => standing.fmt(out),
            Self::NoSecondWitness => out.write_str("no second observer has confirmed it"),
            Self::Reached(evidence) => {
                let who: Vec<_> = evidence.iter().map(|seen| seen.observer.to_string()).collect();
                write!(out, "reached by {}", who.join(", "))
            }
            Self::Probation(left) => {
                write!(out, "came and went; trusted after {left:.1?} more")
            }
        }
    }
}
