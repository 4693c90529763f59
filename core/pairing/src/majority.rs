//! Whether this node may still judge others: only while strictly more than half of the
//! last agreed membership answers it. Who sees fewer is himself the one cut off, and
//! heals nothing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::Labels;
use thiserror::Error;

/// The time in which the membership may shrink by a tenth without a person. A split that
/// lasts so long is noticed by somebody; a split of minutes can't talk itself into a
/// majority.
const SHRINK_WINDOW: Duration = Duration::from_secs(3600);

/// The part of the membership that may go in one [`SHRINK_WINDOW`]: one in ten.
const SHRINK_PART: usize = 10;

/// The share of unreachable members, in percent, from which on nothing is healed: 1 to 50.
/// More than 50 would let both halves of a split heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FreezeAt(u8);

/// Why a number is not a [`FreezeAt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("healing can be frozen at 1 to 50 percent of unreachable members, not at {0}")]
pub struct NotAFreezePoint(u8);

impl FreezeAt {
    /// Exactly half.
    pub const HALF: Self = Self(50);

    /// At `percent` unreachable members.
    pub fn new(percent: u8) -> Result<Self, NotAFreezePoint> {
        if (1..=50).contains(&percent) { Ok(Self(percent)) } else { Err(NotAFreezePoint(percent)) }
    }

    fn leaves_enough(self, reached: usize, all: usize) -> bool {
        let away = all.saturating_sub(reached);
        away.saturating_mul(100) < all.saturating_mul(usize::from(self.0))
    }
}

/// Why a member is one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// A person drained it.
    Drained,
    /// A person said that it is lost.
    DeclaredLost,
    /// A witnessed change of epoch replaced it.
    Replaced,
}

/// Why a member still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the membership shrinks by one in ten an hour at most without a person: not before {at:?} of elapsed time"
)]
pub struct TooFast {
    /// When it may go.
    pub at: Duration,
}

/// The membership last agreed on: admitted nodes only, so that nodes made up by one party
/// weigh nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreed {
    members: BTreeMap<NodeId, Labels>,
    /// The members on each host. A host's name counts within its zone, a zone's within its
    /// region.
    hosts: BTreeMap<Labels, BTreeSet<NodeId>>,
    /// When members were replaced, within the last shrink window.
    replaced: VecDeque<Duration>,
}

impl Agreed {
    /// The membership of these admitted nodes.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (NodeId, Labels)>) -> Self {
        let mut agreed = Self::default();
        for (node, labels) in members {
            agreed.admit(node, labels);
        }
        agreed
    }

    /// Counts an admitted node from now on.
    pub fn admit(&mut self, node: NodeId, labels: Labels) {
        if self.members.get(&node) != Some(&labels) {
            self.forget(&node);
            self.hosts.entry(labels.clone()).or_default().insert(node);
            self.members.insert(node, labels);
        }
    }

    fn forget(&mut self, node: &NodeId) {
        let Some(labels) = self.members.remove(node) else { return };
        if let Entry::Occupied(mut host) = self.hosts.entry(labels) {
            host.get_mut().remove(node);
            if host.get().is_empty() {
                host.remove();
            }
        }
    }

    /// Counts `node` no more. Replacements by the nodes themselves wait for their turn;
    /// the word of a person doesn't.
    pub fn leave(&mut self, node: &NodeId, why: Leave, now: Duration) -> Result<(), TooFast> {
        if !self.members.contains_key(node) {
            return Ok(());
        }
        if why == Leave::Replaced {
            self.spend(now)?;
        }
        self.forget(node);
        Ok(())
    }

    /// Admitted nodes that count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `node` counts, so that its word as a witness does too.
    #[must_use]
    pub fn has(&self, node: &NodeId) -> bool {
        self.members.contains_key(node)
    }

    /// What is reachable now, by nodes and by hosts. A node reaches itself.
    #[must_use]
    pub fn standing(&self, freeze: FreezeAt, reaches: impl Fn(&NodeId) -> bool) -> Standing {
        let mut nodes = Count { reached: 0, all: self.members.len() };
        let mut hosts = Count { reached: 0, all: self.hosts.len() };
        for members in self.hosts.values() {
            let reached = members.iter().filter(|node| reaches(node)).count();
            nodes.reached = nodes.reached.saturating_add(reached);
            hosts.reached = hosts.reached.saturating_add(usize::from(reached > 0));
        }
        Standing { nodes, hosts, freeze }
    }

    /// Takes one replacement from what the window allows. A membership of fewer than ten
    /// has a longer window instead of a smaller part: of five nodes, one in two hours.
    fn spend(&mut self, now: Duration) -> Result<(), TooFast> {
        let whole = self.members.len().saturating_add(self.replaced.len());
        let hours = SHRINK_PART.div_ceil(whole.clamp(1, SHRINK_PART));
        let window = SHRINK_WINDOW.saturating_mul(u32::try_from(hours).unwrap_or(u32::MAX));
        while self.replaced.front().is_some_and(|at| at.saturating_add(window) <= now) {
            self.replaced.pop_front();
        }
        let whole = self.members.len().saturating_add(self.replaced.len());
        let allowed = (whole.saturating_mul(hours) / SHRINK_PART).max(1);
        match self.replaced.front() {
            Some(first) if self.replaced.len() >= allowed => {
                Err(TooFast { at: first.saturating_add(window) })
            }
            _ => {
                self.replaced.push_back(now);
                Ok(())
            }
        }
    }
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Those that answer.
    pub reached: usize,
    /// All that count.
    pub all: usize,
}

/// How much of the agreed membership is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Admitted nodes.
    pub nodes: Count,
    /// Their hosts: a machine with many nodes has one voice here, so that it can't take
    /// its own nodes for the majority when its network card fails.
    pub hosts: Count,
    freeze: FreezeAt,
}

impl Standing {
    /// Whether healing may go on: strictly more than half of the nodes and of the hosts
    /// answer. Exactly half freezes.
    #[must_use]
    pub fn may_heal(&self) -> bool {
        let enough = |count: Count| {
            count.reached.saturating_mul(2) > count.all
                && self.freeze.leaves_enough(count.reached, count.all)
        };
        enough(self.nodes) && enough(self.hosts)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, hosts, .. } = self;
        let verdict = if self.may_heal() { "healing goes on" } else { "healing is frozen" };
        write!(
            out,
            "{verdict}: {} of {} nodes on {} of {} hosts answer",
            nodes.reached, nodes.all, hosts.reached, hosts.all
        )
    }
}

#[cfg(test)]
mod tests;
