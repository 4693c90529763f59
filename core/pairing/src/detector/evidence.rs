//! What was seen, by whom, when; and what is concluded from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::states::{NodeState, State};

/// What a node holds of its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It beats.
    Alive,
    /// It didn't beat for a while: reads go to the other member at once.
    Suspect,
    /// A second observer doesn't reach it either.
    Down,
    /// It is to be replaced: it was down too long, or a person said so.
    Lost,
}

impl State for Health {
    const MOVES: &'static [(Self, Self)] = &[
        (Self::Alive, Self::Suspect),
        (Self::Suspect, Self::Alive),
        (Self::Suspect, Self::Down),
        (Self::Down, Self::Alive),
        (Self::Down, Self::Lost),
        // Given up by time and back before it was replaced.
        (Self::Lost, Self::Alive),
    ];
}

impl Health {
    /// The state of a serving node of this health. What is lost stays down until a signed
    /// epoch makes it replaced.
    #[must_use]
    pub fn node_state(self) -> NodeState {
        match self {
            Self::Alive => NodeState::Serving,
            Self::Suspect => NodeState::Suspect,
            Self::Down | Self::Lost => NodeState::Down,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Alive => "Alive",
            Self::Suspect => "Suspect",
            Self::Down => "Down",
            Self::Lost => "Lost",
        })
    }
}

/// Who saw something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Observer {
    /// A node: the partner itself, or a witness.
    Node(NodeId),
    /// The operator, by its own probe or the word of the kubelet, or a person through it.
    Operator,
}

impl fmt::Display for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(out, "node {node}"),
            Self::Operator => out.write_str("the operator"),
        }
    }
}

/// What an observer other than the partners found when it tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Report {
    /// The node answered it.
    Reached,
    /// The node didn't.
    Unreachable,
}

/// What a person wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// It shall leave: if it goes down before it is empty, nobody waits for it.
    Drain,
    /// It will never come back.
    Lost,
}

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saw {
    /// A beat or an answer of the partner.
    Life,
    /// Nothing of it for so long, and how unlikely that is.
    Silence {
        /// While this node was looking.
        lasting: Duration,
        /// See the phi-accrual detector; in thousandths.
        phi_milli: u64,
    },
    /// Another observer's try.
    Try(Report),
    /// It was down so long, while a majority could be reached.
    Absence(Duration),
    /// A person's word.
    Wish(Intent),
}

impl fmt::Display for Saw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Life => out.write_str("heard it"),
            Self::Silence { lasting, phi_milli } => {
                let phi = phi_milli / 1000;
                write!(out, "heard nothing for {lasting:.1?} (phi {phi})")
            }
            Self::Try(Report::Reached) => out.write_str("reached it"),
            Self::Try(Report::Unreachable) => out.write_str("did not reach it"),
            Self::Absence(lasting) => write!(out, "held it to be down for {lasting:.0?}"),
            Self::Wish(Intent::Drain) => out.write_str("asked that it leaves"),
            Self::Wish(Intent::Lost) => out.write_str("declared it lost"),
        }
    }
}

/// Who saw what, when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Who.
    pub observer: Observer,
    /// What.
    pub saw: Saw,
    /// When, as the elapsed time of the node that keeps this.
    pub at: Duration,
}

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at {:.1?} {} {}", self.at, self.observer, self.saw)
    }
}

/// A change of health, with what it follows from. Legal by [`Health`]'s table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was held before.
    pub from: Health,
    /// What is held now.
    pub to: Health,
    /// When.
    pub at: Duration,
    /// Why: one to five things.
    pub evidence: Vec<Evidence>,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} → {}", self.from, self.to)?;
        let mut separator = ": ";
        for evidence in &self.evidence {
            write!(out, "{separator}{evidence}")?;
            separator = "; ";
        }
        Ok(())
    }
}

/// The last report of each observer, and when in attended time it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reports(BTreeMap<Observer, Dated>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dated {
    report: Report,
    attended: Duration,
    at: Duration,
}

impl Reports {
    pub(super) fn add(
        &mut self,
        observer: Observer,
        report: Report,
        attended: Duration,
        at: Duration,
    ) {
        self.0.insert(observer, Dated { report, attended, at });
    }

    /// Forgets who witnesses no more.
    pub(super) fn keep(&mut self, is_witness: impl Fn(&Observer) -> bool) {
        self.0.retain(|observer, _| is_witness(observer));
    }

    /// The reports of `kind` that came in after `since`.
    pub(super) fn of(&self, kind: Report, since: Duration) -> Vec<Evidence> {
        self.0
            .iter()
            .filter(|(_, dated)| dated.report == kind && dated.attended > since)
            .map(|(observer, dated)| Evidence {
                observer: *observer,
                saw: Saw::Try(kind),
                at: dated.at,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_health_is_a_legal_move_of_a_node() {
        for (from, to) in Health::MOVES {
            let (before, after) = (from.node_state(), to.node_state());
            assert!(before == after || before.may_become(after), "{from} → {to}");
        }
        assert!(!Health::Alive.may_become(Health::Down));
        assert!(!Health::Suspect.may_become(Health::Lost));
    }
}
