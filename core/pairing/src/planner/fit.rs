//! How well two nodes fit, for people.

use std::fmt;
use std::time::Duration;

use defs_core::network::Labels;

use super::cost::{Site, missing};
use crate::score::{Dimension, Part, Points, Weights, weighted};

/// How far apart two nodes stand by their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Apart {
    /// On one host: one machine takes both.
    SameHost,
    /// In one zone.
    SameZone,
    /// In one region.
    SameRegion,
    /// In two regions.
    Regions,
}

impl Apart {
    /// How far apart two labels say that their nodes are. A host's name counts within its
    /// zone, a zone's within its region.
    #[must_use]
    pub fn of(a: &Labels, b: &Labels) -> Self {
        if a.region != b.region {
            Self::Regions
        } else if a.zone != b.zone {
            Self::SameRegion
        } else if a.host != b.host {
            Self::SameZone
        } else {
            Self::SameHost
        }
    }
}

impl fmt::Display for Apart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::SameHost => "on one host",
            Self::SameZone => "in one zone",
            Self::SameRegion => "in two zones of one region",
            Self::Regions => "in two regions",
        })
    }
}

/// What speaks for two nodes as one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Their places.
    pub apart: Apart,
    /// The time that an answer takes between them, if it was measured.
    pub round_trip: Option<Duration>,
    /// By dimension.
    pub parts: [Part; 6],
    /// The weighted mean of the parts.
    pub total: Points,
}

impl Fit {
    pub(super) fn new(a: &Site, b: &Site, round_trip: Option<Duration>, weights: &Weights) -> Self {
        let apart = if a.host == b.host {
            Apart::SameHost
        } else if a.zone == b.zone {
            Apart::SameZone
        } else if a.region == b.region {
            Apart::SameRegion
        } else {
            Apart::Regions
        };
        let mut missing = missing(a, b, round_trip).into_iter();
        let parts = Dimension::ALL.map(|dimension| Part {
            dimension,
            points: Points::at_most_full(1000_u64.saturating_sub(missing.next().unwrap_or(0))),
            weight: weights.of(dimension),
        });
        Self { apart, round_trip, parts, total: weighted(&parts) }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fit {} {}", self.total, self.apart)?;
        if let Some(took) = self.round_trip {
            write!(out, ", {took:.1?} apart")?;
        }
        for Part { dimension, points, .. } in &self.parts {
            write!(out, ", {dimension} {points}")?;
        }
        Ok(())
    }
}
