//! Who takes the place of a member that is lost: a spare first, as far as can be from the
//! member that is left, with room for everything, the best by score among equals.

use std::cmp::Reverse;
use std::fmt;

use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};
use thiserror::Error;

use crate::planner::Apart;
use crate::score::Points;

/// A node that might take the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitute {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub labels: Labels,
    /// Whether it can be dialled.
    pub reach: Reach,
    /// Bytes that it may still take.
    pub free: u64,
    /// Its score.
    pub score: Points,
    /// Whether it is in no pair. A member of another pair may only help out: that pair is then
    /// short of one, and takes the next spare.
    pub is_spare: bool,
}

/// The member that is left, and what its new partner must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub labels: Labels,
    /// Whether it can be dialled.
    pub reach: Reach,
    /// Bytes that the pair holds.
    pub held: u64,
}

/// Why a node is not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unfit {
    /// It is the survivor itself, or the one that was lost.
    IsMember,
    /// Nobody can dial it, nor the survivor.
    IsHidden,
    /// It has not room for what the pair holds.
    TooSmall {
        /// Bytes that are missing.
        missing: u64,
    },
}

/// The choice, and what was weighed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The one chosen.
    pub chosen: Substitute,
    /// How far it stands from the survivor.
    pub apart: Apart,
    /// Bytes that it must copy.
    pub bytes: u64,
    /// The others that would do, the best first.
    pub others: Vec<NodeId>,
    /// Those that wouldn't, and why.
    pub unfit: Vec<(NodeId, Unfit)>,
}

/// Nobody can take the place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("none of {} nodes can take the place: the largest lacks {missing} bytes", unfit.len())]
pub struct NoSubstitute {
    /// What the one nearest to it lacks; 0 if there is no other node at all.
    pub missing: u64,
    /// Every node, and why not.
    pub unfit: Vec<(NodeId, Unfit)>,
}

/// Chooses the new partner of `survivor` in the place of `lost`. The same candidates give
/// the same choice in whatever order they come.
pub fn choose(
    survivor: &Survivor,
    lost: &NodeId,
    candidates: &[Substitute],
) -> Result<Replacement, NoSubstitute> {
    let mut unfit = Vec::new();
    let mut fit = Vec::new();
    for candidate in candidates {
        match obstacle(survivor, lost, candidate) {
            Some(why) => unfit.push((candidate.node, why)),
            None => fit.push(candidate),
        }
    }
    unfit.sort();
    let apart = |it: &Substitute| Apart::of(&survivor.labels, &it.labels);
    // One host is the last resort, even for a spare: the next failure would take both.
    let worth = |it: &&Substitute| {
        let apart = apart(it);
        (apart > Apart::SameHost, it.is_spare, apart, it.score, it.free, Reverse(it.node))
    };
    fit.sort_by_key(|it| Reverse(worth(it)));
    let mut ranked = fit.into_iter();
    let Some(chosen) = ranked.next() else {
        let lacks = |(_, why): &(NodeId, Unfit)| match why {
            Unfit::TooSmall { missing } => Some(*missing),
            Unfit::IsMember | Unfit::IsHidden => None,
        };
        let missing = unfit.iter().filter_map(lacks).min().unwrap_or(0);
        return Err(NoSubstitute { missing, unfit });
    };
    Ok(Replacement {
        apart: apart(chosen),
        chosen: chosen.clone(),
        bytes: survivor.held,
        others: ranked.map(|other| other.node).collect(),
        unfit,
    })
}

fn obstacle(survivor: &Survivor, lost: &NodeId, candidate: &Substitute) -> Option<Unfit> {
    if candidate.node == survivor.node || candidate.node == *lost {
        return Some(Unfit::IsMember);
    }
    if survivor.reach == Reach::Hidden && candidate.reach == Reach::Hidden {
        return Some(Unfit::IsHidden);
    }
    let missing = survivor.held.saturating_sub(candidate.free);
    (missing > 0).then_some(Unfit::TooSmall { missing })
}

impl fmt::Display for Replacement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chosen, apart, bytes, others, unfit } = self;
        let kind = if chosen.is_spare { "a spare" } else { "no spare was fit" };
        write!(
            out,
            "{} takes the place: {kind}, {apart}, score {}, {} MiB to copy, one copy left until then; {} others would do, {} not",
            chosen.node,
            chosen.score,
            bytes >> 20,
            others.len(),
            unfit.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOST: NodeId = NodeId([99; 32]);

    fn labels([region, zone, host]: [&str; 3]) -> Labels {
        Labels { region: region.into(), zone: zone.into(), host: host.into() }
    }

    fn survivor() -> Survivor {
        let labels = labels(["r", "z", "h"]);
        Survivor { node: NodeId([1; 32]), labels, reach: Reach::Open, held: 1 << 30 }
    }

    fn substitute(node: u8, place: [&str; 3], score: u64) -> Substitute {
        Substitute {
            node: NodeId([node; 32]),
            labels: labels(place),
            reach: Reach::Open,
            free: 2 << 30,
            score: Points::at_most_full(score),
            is_spare: true,
        }
    }

    fn order(candidates: &[Substitute]) -> Vec<u8> {
        let chosen = choose(&survivor(), &LOST, candidates).unwrap();
        std::iter::once(chosen.chosen.node).chain(chosen.others).map(|node| node.0[0]).collect()
    }

    #[test]
    fn a_spare_comes_first_then_distance_then_score_and_one_host_last() {
        let busy = |node, place| Substitute { is_spare: false, ..substitute(node, place, 1000) };
        let candidates = [
            substitute(2, ["r", "z", "h"], 1000),
            substitute(3, ["r", "z", "other"], 900),
            substitute(4, ["r", "other", "h"], 800),
            substitute(5, ["r", "other", "h"], 850),
            substitute(6, ["other", "z", "h"], 100),
            busy(7, ["other", "z", "h"]),
            busy(8, ["r", "z", "h"]),
        ];
        assert_eq!(order(&candidates), [6, 5, 4, 3, 7, 2, 8]);
    }

    #[test]
    fn the_choice_says_why() {
        let small = Substitute { free: 1 << 20, ..substitute(3, ["other", "z", "h"], 1000) };
        let lost = Substitute { node: LOST, ..substitute(4, ["other", "z", "h"], 1000) };
        let candidates = [substitute(2, ["r", "other", "h"], 700), small, lost];
        let chosen = choose(&survivor(), &LOST, &candidates).unwrap();
        let missing = (1 << 30) - (1 << 20);
        let unfit = [(NodeId([3; 32]), Unfit::TooSmall { missing }), (LOST, Unfit::IsMember)];
        assert_eq!(chosen.unfit, unfit);
        let expected = "02020202 takes the place: a spare, in two zones of one region, score 700, 1024 MiB to copy, one copy left until then; 0 others would do, 2 not";
        assert_eq!(chosen.to_string(), expected);
    }

    #[test]
    fn where_nobody_has_room_the_least_that_is_missing_is_said() {
        let sized = |node, free| Substitute { free, ..substitute(node, ["r", "z", "x"], 1) };
        let refused = choose(&survivor(), &LOST, &[sized(2, 24), sized(3, 1 << 29)]).unwrap_err();
        assert_eq!(refused.missing, 1 << 29);
        assert_eq!(choose(&survivor(), &LOST, &[]).unwrap_err().missing, 0);
    }

    #[test]
    fn a_survivor_that_nobody_can_dial_takes_somebody_who_can_be() {
        let hidden = Substitute { reach: Reach::Hidden, ..substitute(3, ["o", "z", "h"], 1000) };
        let open = substitute(2, ["r", "z", "h"], 1);
        let candidates = [hidden, open];
        assert_eq!(order(&candidates), [3, 2]);
        let survivor = Survivor { reach: Reach::Hidden, ..survivor() };
        let chosen = choose(&survivor, &LOST, &candidates).unwrap();
        assert_eq!(chosen.chosen.node, NodeId([2; 32]));
        assert_eq!(chosen.unfit, [(NodeId([3; 32]), Unfit::IsHidden)]);
    }

    proptest! {
        #[test]
        fn the_order_of_candidates_changes_nothing(
            places in prop::collection::vec((0_u8..3, 0_u8..3, 0_u8..3, 0_u64..5, any::<bool>()), 1..12), turn: prop::sample::Index,
        ) {
            let candidates: Vec<_> = (10_u8..).zip(&places).map(|(node, (region, zone, host, score, is_spare))| {
                let [region, zone, host] = [region, zone, host].map(u8::to_string);
                Substitute { is_spare: *is_spare, ..substitute(node, [&region, &zone, &host], *score) }
            }).collect();
            let mut turned = candidates.clone();
            turned.rotate_left(turn.index(candidates.len()));
            prop_assert_eq!(order(&candidates), order(&turned));
        }
    }
}
