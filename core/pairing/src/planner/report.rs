//! A plan, with the reason of everything in it.

use std::fmt;
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};

use super::Match;
use super::fit::Fit;

/// What to do now, what better pairs wait for, and who is left over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// New pairs of free nodes.
    pub formed: Vec<Formed>,
    /// Changes of pairs to begin now, the most urgent first.
    pub exchanges: Vec<Exchange>,
    /// Changes that would be better, and why they wait.
    pub waiting: Vec<(Exchange, Wait)>,
    /// Who stays in no pair.
    pub spares: Vec<NodeId>,
    /// Pairs that are left as they are.
    pub kept: usize,
}

/// A new pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formed {
    /// Primary and mirror.
    pub pair: Match,
    /// What speaks for it.
    pub fit: Fit,
}

/// Pairs that change together: none of the moves makes sense alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// One for each pair.
    pub moves: Vec<Move>,
    /// Why.
    pub gain: Gain,
    /// Bytes that are copied.
    pub bytes: u64,
    /// What may go wrong meanwhile.
    pub risk: Risk,
}

/// One member of a pair is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Of which pair.
    pub pair: PairId,
    /// Who stays.
    pub stays: NodeId,
    /// Who goes.
    pub leaves: NodeId,
    /// Who comes.
    pub joins: NodeId,
    /// What who comes must copy.
    pub bytes: u64,
    /// The fit of today's members.
    pub before: Fit,
    /// The fit of tomorrow's.
    pub after: Fit,
}

/// Why an exchange is better than today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gain {
    /// The pairs fit better by so many hundredths of points together, and by so many
    /// percent on average.
    Fit {
        /// Hundredths of points, of all its pairs together.
        hundredths: u64,
        /// Of today's fit.
        percent: u64,
    },
    /// So many pairs fewer are in one region.
    Regions(u64),
    /// So many pairs fewer are in one zone.
    Zones(u64),
    /// So many pairs fewer are farther apart than allowed.
    RoundTrips(u64),
    /// So many pairs fewer are on one host.
    Hosts(u64),
    /// So many pairs fewer are of two nodes that nobody can dial.
    Unmet(u64),
}

/// What may go wrong while members change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Nothing is stored there yet.
    Nothing,
    /// Both old members serve until the new one has everything: no copy is given up, but
    /// so many pairs carry the copying beside their work.
    Copying {
        /// How many.
        pairs: usize,
    },
}

/// Why a better arrangement waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// This pair changed not long ago.
    CoolingDown {
        /// Which.
        pair: PairId,
        /// When it may change again, in elapsed time.
        until: Duration,
    },
    /// It isn't better by enough.
    TooLittle {
        /// By how many percent.
        percent: u64,
    },
    /// As many pairs change already as may at one time.
    TooMany,
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Formed { pair: Match(primary, mirror), fit } in &self.formed {
            writeln!(out, "form {primary} + {mirror}: {fit}")?;
        }
        for exchange in &self.exchanges {
            writeln!(out, "{exchange}")?;
        }
        for (exchange, why) in &self.waiting {
            writeln!(out, "later ({why}): {exchange}")?;
        }
        let spares: Vec<_> = self.spares.iter().map(NodeId::to_string).collect();
        let spares = if spares.is_empty() { "none".to_owned() } else { spares.join(", ") };
        write!(out, "{} pairs stay as they are; spares: {spares}", self.kept)
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moves, gain, bytes, risk } = self;
        write!(out, "change {} pairs: {gain}; {} MiB to copy; {risk}", moves.len(), bytes >> 20)?;
        for Move { pair, stays, leaves, joins, bytes, before, after } in moves {
            write!(
                out,
                "\n  pair {pair}: {stays} stays, {joins} comes for {leaves}, {} MiB\n    now {before}\n    then {after}",
                bytes >> 20
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fit { hundredths, percent } => {
                write!(out, "fit better by {} points, {percent} %", hundredths / 100)
            }
            Self::Regions(pairs) => write!(out, "{pairs} fewer in one region"),
            Self::Zones(pairs) => write!(out, "{pairs} fewer in one zone"),
            Self::RoundTrips(pairs) => write!(out, "{pairs} fewer too far apart"),
            Self::Hosts(pairs) => write!(out, "{pairs} fewer on one host"),
            Self::Unmet(pairs) => write!(out, "{pairs} fewer of two that nobody can dial"),
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => out.write_str("no risk: nothing is stored there yet"),
            Self::Copying { pairs } => write!(
                out,
                "both old members serve until the new one has everything; {pairs} pairs are busier"
            ),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoolingDown { pair, until } => {
                write!(out, "pair {pair} changed lately, not before {until:.0?}")
            }
            Self::TooLittle { percent } => write!(out, "only {percent} % better"),
            Self::TooMany => out.write_str("enough pairs change already"),
        }
    }
}
