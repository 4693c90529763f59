//! What is to be done about a cluster's nodes and pairs: pure, from what nodes and Kubernetes say.

mod better;
mod form;
mod replace;
mod roll;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};
use defs_core::network::{Labels, Reach};
use defs_crds::cluster::Hard;
use defs_pairing::planner::{Policy, Rated};
use defs_pairing::score::Score;

pub(crate) use better::{Going, better, carry_on};
pub(crate) use form::are_apart;
pub(crate) use roll::next_restart;

/// What Kubernetes says of the machine that a node's pod runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Its kubelet is there.
    Ready,
    /// Its kubelet is silent, or says that the machine isn't well.
    NotReady,
    /// There is no such machine any more, or somebody declared it out of service.
    Gone,
    /// The pod runs nowhere.
    None,
}

/// What is wanted of a node that has a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Asked {
    /// To stay.
    #[default]
    Stay,
    /// A person's word that another shall take its place.
    Leave,
    /// There are more nodes than the cluster shall have, and this is one of the last.
    Shrink,
    /// A person's word that it is lost for good.
    GivenUp,
}

/// A node, as the planner sees it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its DefsNode.
    pub(crate) name: String,
    /// Who it is in the network, once it was heard.
    pub(crate) node: Option<NodeId>,
    pub(crate) labels: Labels,
    pub(crate) reach: Reach,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    /// What all others measured of it.
    pub(crate) score: Option<Score>,
    /// The same, as the planner of pairs takes it.
    pub(crate) rated: Option<Rated>,
    /// Whether the operator hears it.
    pub(crate) is_heard: bool,
    /// For how long the operator hasn't.
    pub(crate) silent: Duration,
    /// Whether its pod runs and is ready, as the kubelet says.
    pub(crate) is_ready: bool,
    pub(crate) machine: Machine,
    pub(crate) asked: Asked,
    /// Whether its pod is made of what a pod would not be made of now.
    pub(crate) is_outdated: bool,
}

impl Member {
    /// Whether it may be in a pair.
    fn is_to_stay(&self) -> bool {
        self.asked == Asked::Stay
    }
}

/// A pair, as the planner sees it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is another side of how it is")]
pub(crate) struct KnownPair {
    /// Its DefsPair.
    pub(crate) name: String,
    /// Its id in the network.
    pub(crate) id: Option<PairId>,
    /// The DefsNodes that are its members.
    pub(crate) members: [String; 2],
    /// Which of them takes writes.
    pub(crate) primary: Option<String>,
    /// Whether the operator leaves it alone.
    pub(crate) is_paused: bool,
    /// Who comes, while a change of members is under way.
    pub(crate) comes: Option<String>,
    /// Whether a person chose its members.
    pub(crate) is_pinned: bool,
    /// Whether both members are there and hold the same.
    pub(crate) is_healthy: bool,
    /// What its members make of each other: those that one of them holds to be down.
    pub(crate) held_down: BTreeSet<String>,
    /// Members under whose name another node answers now: what they held is gone.
    pub(crate) strangers: BTreeSet<String>,
    /// Whether the pair has formed, and none of the nodes that are heard is in it any more.
    pub(crate) is_forgotten: bool,
    /// Bytes that it holds.
    pub(crate) held: u64,
    /// When its members last changed, in Unix time.
    pub(crate) changed: Option<Duration>,
}

impl KnownPair {
    /// Whether a change of members is under way.
    pub(crate) fn is_changing(&self) -> bool {
        self.comes.is_some()
    }

    /// Its members, and whoever is called to be one.
    fn takes(&self) -> impl Iterator<Item = &String> {
        self.members.iter().chain(&self.comes)
    }
}

/// A pair of the network that no DefsPair stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Orphan {
    /// Its id.
    pub(crate) id: PairId,
    /// The DefsNodes that are its members, the primary first.
    pub(crate) members: [String; 2],
}

/// What is wanted of the pairs.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Pairs that there should be.
    pub(crate) pairs: usize,
    /// Nodes that there should be.
    pub(crate) replicas: usize,
    pub(crate) hard: Hard,
    pub(crate) replace_after: Duration,
    pub(crate) freeze_above_percent: u8,
    /// When a better pair is worth the trouble.
    pub(crate) policy: Policy,
    /// Whether nobody is to be replaced for now.
    pub(crate) is_paused: bool,
}

/// Why one node is replaced, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) text: String,
    /// Whether a person asked for it.
    pub(crate) is_intent: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Two nodes become a pair: the primary, then the mirror.
    Form([String; 2]),
    /// A pair of the network gets its object again.
    Adopt(Orphan),
    /// Another node has the place of one that is gone.
    Replace { pair: String, gone: String, comes: String, cause: Cause },
    /// A member hands its place over.
    Yield { pair: String, leaves: String, comes: String, cause: Cause },
    /// Nothing is left of a pair: its members are free, and others rebuild what it held.
    Dissolve { pair: String, given_up: Vec<String> },
    /// A node that is one too many, and in no pair, goes.
    Remove(String),
}

/// What follows for all pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Judgement {
    pub(crate) decisions: Vec<Decision>,
    /// Nodes that are silent, if that are so many that nobody is replaced.
    pub(crate) frozen: Option<usize>,
    /// Members that should be replaced, and for whom there is nobody.
    pub(crate) without_substitute: Vec<String>,
    /// Nodes that stay in no pair though pairs are missing.
    pub(crate) unpaired: Vec<String>,
}

/// New nodes are waited for so long before pairs are made of those that are there.
const SETTLED: Duration = Duration::from_secs(30);

/// What is to be done now. `orphans` are pairs without an object; `settled` is for how long the
/// free nodes have been just these.
pub(crate) fn judge(
    members: &[Member],
    (pairs, orphans): (&[KnownPair], &[Orphan]),
    wanted: &Wanted,
    settled: Duration,
) -> Judgement {
    let mut judgement = Judgement::default();
    let by_name: BTreeMap<_, _> = members.iter().map(|it| (it.name.as_str(), it)).collect();
    let silent = members.iter().filter(|it| it.node.is_some() && is_silent(it)).count();
    let known = members.iter().filter(|it| it.node.is_some()).count();
    judgement.frozen =
        (silent * 100 > known * usize::from(wanted.freeze_above_percent)).then_some(silent);
    judgement.decisions.extend(orphans.iter().cloned().map(Decision::Adopt));
    let adopted = orphans.iter().flat_map(|it| &it.members);
    let taken: BTreeSet<_> = pairs.iter().flat_map(KnownPair::takes).chain(adopted).collect();
    let mut free: Vec<_> =
        members.iter().filter(|it| is_free(it) && !taken.contains(&it.name)).collect();
    replace::dissolve(&by_name, pairs, &mut judgement);
    if !wanted.is_paused {
        replace::replace(&by_name, pairs, wanted, &mut free, &mut judgement);
    }
    let are_all = members.iter().filter(|it| it.is_heard).count() >= wanted.replicas;
    if are_all || settled >= SETTLED {
        let missing = wanted.pairs.saturating_sub(pairs.len() + orphans.len());
        let formed = form::form(&free, wanted, missing);
        let left = missing.saturating_sub(formed.len());
        let is_formed = |name: &String| {
            formed.iter().any(|it| matches!(it, Decision::Form(pair) if pair.contains(name)))
        };
        let unpaired = free.iter().map(|it| &it.name).filter(|it| left > 0 && !is_formed(it));
        judgement.unpaired = unpaired.cloned().collect();
        judgement.decisions.extend(formed);
    }
    let too_many = |it: &&Member| it.asked == Asked::Shrink && !taken.contains(&it.name);
    let removed = members.iter().filter(too_many).map(|it| Decision::Remove(it.name.clone()));
    judgement.decisions.extend(removed);
    judgement
}

/// Whether a node may be put into a pair, if it is in none.
fn is_free(member: &Member) -> bool {
    member.is_heard && member.node.is_some() && member.is_to_stay()
}

/// How many nodes could take a place: in no pair nor called to one, and not about to go. One whose
/// connection has just broken is counted on.
pub(crate) fn spares(members: &[Member], pairs: &[KnownPair]) -> usize {
    let taken: BTreeSet<_> = pairs.iter().flat_map(KnownPair::takes).collect();
    let is_spare = |it: &&Member| {
        it.node.is_some() && it.is_to_stay() && !is_silent(it) && !taken.contains(&it.name)
    };
    members.iter().filter(is_spare).count()
}

/// Whether the operator doesn't hear a node; a connection that has just broken is no silence.
fn is_silent(member: &Member) -> bool {
    !member.is_heard && member.silent >= crate::agents::SILENT_AFTER
}
