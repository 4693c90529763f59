//! How an exchange is carried out: replacements that pairs can do one after the other, each by
//! a node that is in no pair at that moment. So at no moment is a pair short of a member for
//! the sake of another, and whoever is stopped half-way leaves whole pairs.
//!
//! A ring that begins with a spare is done in its order: whoever leaves is free for the next
//! pair. A closed ring needs a spare to hold one place meanwhile, and that pair is copied twice.

use std::collections::BTreeSet;
use std::fmt;

use defs_core::ids::{NodeId, PairId};
use thiserror::Error;

use super::report::{Exchange, Move};

/// One member of a pair is replaced by a node that is free when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replace {
    /// Which pair.
    pub pair: PairId,
    /// The member that stays, from which everything is copied.
    pub stays: NodeId,
    /// The member that leaves, and is free from then on.
    pub leaves: NodeId,
    /// The one that comes.
    pub joins: NodeId,
    /// Bytes that are copied.
    pub bytes: u64,
}

/// Why an exchange can't be carried out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Blocked {
    /// All that change places are in pairs, and nobody is free to hold a place meanwhile.
    #[error(
        "no spare node has room to hold a place meanwhile: start one more with room for {bytes} bytes"
    )]
    NoSpare {
        /// What the spare must have room for.
        bytes: u64,
    },
    /// A node has not room for what it would have to hold.
    #[error("node {node} lacks {missing} bytes for what its new pair holds")]
    NoRoom {
        /// Which node.
        node: NodeId,
        /// What it lacks, in bytes.
        missing: u64,
    },
}

/// The replacements of `exchange` in their order. `spares` are in no pair, `room` is what a
/// node may still take.
pub fn steps(
    exchange: &Exchange,
    spares: &[NodeId],
    room: impl Fn(&NodeId) -> u64,
) -> Result<Vec<Replace>, Blocked> {
    let mut left: Vec<Replace> = exchange.moves.iter().map(replace).collect();
    for Replace { joins, bytes, .. } in &left {
        let missing = bytes.saturating_sub(room(joins));
        if missing > 0 {
            return Err(Blocked::NoRoom { node: *joins, missing });
        }
    }
    let leaving: BTreeSet<_> = left.iter().map(|step| step.leaves).collect();
    let mut free: BTreeSet<_> =
        left.iter().map(|step| step.joins).filter(|joins| !leaving.contains(joins)).collect();
    let holders = spares.iter().filter(|spare| !free.contains(*spare));
    let holder = holders.max_by_key(|spare| (room(spare), std::cmp::Reverse(**spare)));
    let mut done = Vec::with_capacity(left.len() + 1);
    while !left.is_empty() {
        let ready = left.iter().position(|step| free.contains(&step.joins));
        let step = match ready {
            Some(place) => left.remove(place),
            None => hold(&mut left, holder, &room)?,
        };
        free.remove(&step.joins);
        free.insert(step.leaves);
        done.push(step);
    }
    Ok(done)
}

/// Lets `holder` take the place that is the least to copy; whoever is to have it takes it over
/// at the end.
fn hold(
    left: &mut [Replace],
    holder: Option<&NodeId>,
    room: impl Fn(&NodeId) -> u64,
) -> Result<Replace, Blocked> {
    let smallest = left.iter_mut().min_by_key(|step| (step.bytes, step.pair));
    // The caller asks while something is left.
    let bytes = smallest.as_ref().map_or(0, |step| step.bytes);
    let holder = holder.copied().filter(|holder| room(holder) >= bytes);
    let (Some(step), Some(holder)) = (smallest, holder) else {
        return Err(Blocked::NoSpare { bytes });
    };
    let held = Replace { joins: holder, ..*step };
    step.leaves = holder;
    Ok(held)
}

fn replace(Move { pair, stays, leaves, joins, bytes, .. }: &Move) -> Replace {
    Replace { pair: *pair, stays: *stays, leaves: *leaves, joins: *joins, bytes: *bytes }
}

impl fmt::Display for Replace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pair, stays, leaves, joins, bytes } = self;
        let mib = bytes >> 20;
        write!(out, "pair {pair}: {joins} takes over {mib} MiB from {stays}, then {leaves} leaves")
    }
}

#[cfg(test)]
mod tests;
