//! What is to be done about a cluster's pairs: pure, from what nodes and Kubernetes say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};
use defs_crds::cluster::Hard;
use defs_pairing::planner::{Candidate, Match, plan};
use defs_pairing::replacement::{self, Substitute, Survivor};
use defs_pairing::score::{Points, Score};

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

/// A node, as the planner sees it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is another witness's or person's word")]
pub(crate) struct Member {
    /// Its DefsNode.
    pub(crate) name: String,
    /// Who it is in the network, once it was heard.
    pub(crate) node: Option<NodeId>,
    pub(crate) labels: Labels,
    pub(crate) reach: Reach,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
    pub(crate) score: Option<Score>,
    /// Whether the operator hears it.
    pub(crate) is_heard: bool,
    /// For how long the operator hasn't, while it heard others.
    pub(crate) silent: Duration,
    /// Whether its pod runs and is ready, as the kubelet says.
    pub(crate) is_ready: bool,
    pub(crate) machine: Machine,
    /// A person's word that it is lost for good.
    pub(crate) is_given_up: bool,
    /// A person's word that another shall take its place.
    pub(crate) is_leaving: bool,
}

impl Member {
    fn candidate(&self) -> Option<Candidate> {
        let (labels, capacity, reach) = (self.labels.clone(), self.capacity, self.reach);
        Some(Candidate { node: self.node?, labels, capacity, reach })
    }
}

/// A pair, as the planner sees it.
#[derive(Debug, Clone)]
pub(crate) struct KnownPair {
    /// Its DefsPair.
    pub(crate) name: String,
    /// The DefsNodes that are its members.
    pub(crate) members: [String; 2],
    /// Whether the operator leaves it alone.
    pub(crate) is_paused: bool,
    /// Whether a change of members is under way.
    pub(crate) is_changing: bool,
    /// What its members make of each other: those that one of them holds to be down.
    pub(crate) held_down: BTreeSet<String>,
    /// Bytes that it holds.
    pub(crate) held: u64,
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
    /// Another node has the place of one that is gone.
    Replace { pair: String, gone: String, comes: String, cause: Cause },
    /// A member hands its place over.
    Yield { pair: String, leaves: String, comes: String, cause: Cause },
}

/// What follows for all pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Judgement {
    pub(crate) decisions: Vec<Decision>,
    /// Nodes that are silent, if that are so many that nobody is replaced.
    pub(crate) frozen: Option<usize>,
    /// Members that should be replaced, and for whom there is nobody.
    pub(crate) without_substitute: Vec<String>,
}

/// New nodes are waited for so long before pairs are made of those that are there.
const SETTLED: Duration = Duration::from_secs(30);

/// What is to be done now. `settled` is for how long the free nodes have been just these.
pub(crate) fn judge(
    members: &[Member],
    pairs: &[KnownPair],
    wanted: &Wanted,
    settled: Duration,
) -> Judgement {
    let mut judgement = Judgement::default();
    let by_name: BTreeMap<_, _> = members.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut free = free_members(members, pairs);
    replace(&by_name, pairs, wanted, &mut free, &mut judgement);
    let are_all = members.iter().filter(|it| it.is_heard).count() >= wanted.replicas;
    if are_all || settled >= SETTLED {
        let missing = wanted.pairs.saturating_sub(pairs.len());
        judgement.decisions.extend(form(&free, wanted.hard, missing));
    }
    judgement
}

/// Nodes that are heard and in no pair.
fn free_members<'a>(members: &'a [Member], pairs: &[KnownPair]) -> Vec<&'a Member> {
    let taken: BTreeSet<_> = pairs.iter().flat_map(|pair| pair.members.iter()).collect();
    let is_free = |it: &&Member| {
        it.is_heard && it.node.is_some() && !it.is_leaving && !taken.contains(&it.name)
    };
    members.iter().filter(is_free).collect()
}

fn form(free: &[&Member], hard: Hard, missing: usize) -> Vec<Decision> {
    let names: BTreeMap<_, _> =
        free.iter().filter_map(|it| Some((it.node?, it.name.clone()))).collect();
    let labels: BTreeMap<_, _> =
        free.iter().filter_map(|it| Some((it.node?, &it.labels))).collect();
    let candidates = free.iter().filter_map(|it| it.candidate()).collect();
    let stand_apart = |Match(a, b): &Match| match (labels.get(a), labels.get(b)) {
        (Some(a), Some(b)) => are_apart(a, b, hard),
        _ => false,
    };
    let named =
        |Match(a, b): Match| Some(Decision::Form([names.get(&a)?.clone(), names.get(&b)?.clone()]));
    let matches = plan(candidates, |_, _| None).into_iter().filter(stand_apart);
    matches.filter_map(named).take(missing).collect()
}

/// Whether two may be a pair though `hard` says in what they must differ.
pub(crate) fn are_apart(a: &Labels, b: &Labels, hard: Hard) -> bool {
    match hard {
        Hard::None => true,
        Hard::Node => a.host != b.host,
        Hard::Zone => a.host != b.host && (&a.region, &a.zone) != (&b.region, &b.zone),
        Hard::Region => a.region != b.region,
    }
}

/// Finds substitutes for those that are gone, and takes them out of `free`.
fn replace(
    members: &BTreeMap<&str, &Member>,
    pairs: &[KnownPair],
    wanted: &Wanted,
    free: &mut Vec<&Member>,
    judgement: &mut Judgement,
) {
    let silent = members.values().filter(|it| it.node.is_some() && is_silent(it)).count();
    let known = members.values().filter(|it| it.node.is_some()).count();
    let is_frozen = silent * 100 > known * usize::from(wanted.freeze_above_percent);
    if is_frozen {
        judgement.frozen = Some(silent);
    }
    if wanted.is_paused {
        return;
    }
    for pair in pairs.iter().filter(|pair| !pair.is_paused && !pair.is_changing) {
        for (name, other) in [(0, 1), (1, 0)].map(|(a, b)| (&pair.members[a], &pair.members[b])) {
            let (Some(member), Some(stays)) =
                (members.get(name.as_str()), members.get(other.as_str()))
            else {
                continue;
            };
            let Some((cause, is_there)) = cause(member, pair, wanted.replace_after) else {
                continue;
            };
            // What a person said is done also while everybody else seems to be away.
            if is_frozen && !cause.is_intent {
                continue;
            }
            let Some(comes) = substitute(stays, member, pair, free, wanted.hard) else {
                judgement.without_substitute.push(name.clone());
                break;
            };
            free.retain(|it| it.name != comes);
            let (pair, leaves) = (pair.name.clone(), name.clone());
            judgement.decisions.push(if is_there {
                Decision::Yield { pair, leaves, comes, cause }
            } else {
                Decision::Replace { pair, gone: leaves, comes, cause }
            });
            break;
        }
    }
}

/// Nobody says that it lives: neither it itself nor its kubelet.
fn is_silent(member: &Member) -> bool {
    !member.is_heard && !member.is_ready
}

/// Why `member` should be replaced, if it should, and whether it is there to hand over.
fn cause(member: &Member, pair: &KnownPair, replace_after: Duration) -> Option<(Cause, bool)> {
    if member.is_given_up {
        let text = "a person has given it up".to_owned();
        return Some((Cause { text, is_intent: true }, false));
    }
    if member.is_leaving {
        let text = "a person asked for another in its place".to_owned();
        return Some((Cause { text, is_intent: true }, member.is_heard));
    }
    // Two who are independent of each other: the operator's own connection and its partner's
    // detector tell of the node, kubelet and control plane of its machine.
    let is_held_down = pair.held_down.contains(&member.name);
    let is_away = !member.is_heard && !member.is_ready;
    let has_gone = member.machine == Machine::Gone;
    if !is_away || !(is_held_down || has_gone) || (member.silent < replace_after && !has_gone) {
        return None;
    }
    let machine = match member.machine {
        Machine::Gone => "its machine is gone",
        Machine::NotReady => "its kubelet is silent",
        Machine::Ready => "its pod is not ready",
        Machine::None => "its pod runs nowhere",
    };
    let partner = if is_held_down { "its partner holds it to be down" } else { "nobody hears it" };
    let text =
        format!("{partner}, {machine}, the operator has not heard it for {:?}", member.silent);
    Some((Cause { text, is_intent: false }, false))
}

fn substitute(
    stays: &Member,
    lost: &Member,
    pair: &KnownPair,
    free: &[&Member],
    hard: Hard,
) -> Option<String> {
    let survivor = Survivor {
        node: stays.node?,
        labels: stays.labels.clone(),
        reach: stays.reach,
        held: pair.held,
    };
    let fit = free.iter().filter(|it| are_apart(&stays.labels, &it.labels, hard));
    let candidates: Vec<_> = fit
        .filter_map(|it| {
            Some(Substitute {
                node: it.node?,
                labels: it.labels.clone(),
                reach: it.reach,
                free: it.capacity.saturating_sub(it.used),
                score: it.score.as_ref().map_or(Points::UNKNOWN, |score| score.total),
                is_spare: true,
            })
        })
        .collect();
    let chosen = replacement::choose(&survivor, &lost.node?, &candidates).ok()?.chosen.node;
    free.iter().find(|it| it.node == Some(chosen)).map(|it| it.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> Member {
        Member {
            name: format!("c-{number}"),
            node: Some(NodeId([number; 32])),
            labels: Labels {
                host: format!("host-{number}"),
                zone: format!("zone-{}", number % 3),
                region: String::new(),
            },
            reach: Reach::Open,
            capacity: 100,
            used: 10,
            score: None,
            is_heard: true,
            silent: Duration::ZERO,
            is_ready: true,
            machine: Machine::Ready,
            is_given_up: false,
            is_leaving: false,
        }
    }

    fn away(number: u8, silent: u64) -> Member {
        Member {
            is_heard: false,
            is_ready: false,
            silent: Duration::from_secs(silent),
            machine: Machine::NotReady,
            ..member(number)
        }
    }

    fn pair(number: u8, members: [u8; 2], held_down: &[u8]) -> KnownPair {
        KnownPair {
            name: format!("pair-{number}"),
            members: members.map(|it| format!("c-{it}")),
            is_paused: false,
            is_changing: false,
            held_down: held_down.iter().map(|it| format!("c-{it}")).collect(),
            held: 10,
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            pairs: 2,
            replicas: 5,
            hard: Hard::Node,
            replace_after: Duration::from_secs(600),
            freeze_above_percent: 50,
            is_paused: false,
        }
    }

    fn now(members: &[Member], pairs: &[KnownPair]) -> Judgement {
        judge(members, pairs, &wanted(), Duration::ZERO)
    }

    #[test]
    fn pairs_form_across_zones_when_all_nodes_are_in_and_spares_are_left() {
        let members: Vec<_> = (0..5).map(member).collect();
        let judgement = now(&members, &[]);
        assert_eq!(judgement.decisions.len(), 2, "{judgement:?}");
        for decision in &judgement.decisions {
            let Decision::Form(formed) = decision else { panic!("{decision:?}") };
            let zone = |name: &String| {
                members.iter().find(|it| it.name == *name).map(|it| &it.labels.zone)
            };
            assert_ne!(zone(&formed[0]), zone(&formed[1]));
        }
        assert_eq!(now(&members[..4], &[]).decisions, [], "one is still to come");
        let later = judge(&members[..4], &[], &wanted(), SETTLED);
        assert_eq!(later.decisions.len(), 2, "it is not waited for for ever");
    }

    #[test]
    fn two_on_one_machine_are_no_pair_unless_that_is_allowed() {
        let crowded: Vec<_> = (0..5)
            .map(|number| Member {
                labels: Labels { host: "one".to_owned(), ..Labels::default() },
                ..member(number)
            })
            .collect();
        assert_eq!(now(&crowded, &[]).decisions, []);
        let any = Wanted { hard: Hard::None, ..wanted() };
        assert_eq!(judge(&crowded, &[], &any, Duration::ZERO).decisions.len(), 2);
    }

    #[test]
    fn a_member_is_replaced_when_partner_and_kubelet_agree_for_long_enough() {
        let pairs = [pair(0, [0, 1], &[1]), pair(1, [2, 3], &[])];
        let with = |away: Member| [member(0), away, member(2), member(3), member(4)];
        let judgement = now(&with(away(1, 600)), &pairs);
        let [Decision::Replace { pair, gone, comes, cause }] = &judgement.decisions[..] else {
            panic!("{judgement:?}")
        };
        assert_eq!((pair.as_str(), gone.as_str(), comes.as_str()), ("pair-0", "c-1", "c-4"));
        assert!(cause.text.contains("its kubelet is silent"), "{cause:?}");
        for (why, not_gone) in [
            ("it is too early", away(1, 599)),
            ("its kubelet says that it runs", Member { is_ready: true, ..away(1, 600) }),
            ("the operator hears it", Member { is_heard: true, ..away(1, 600) }),
        ] {
            assert_eq!(now(&with(not_gone), &pairs).decisions, [], "{why}");
        }
        let unsure = [self::pair(0, [0, 1], &[]), pairs[1].clone()];
        assert_eq!(now(&with(away(1, 600)), &unsure).decisions, [], "its partner hears it");
        let gone = Member { machine: Machine::Gone, ..away(1, 0) };
        assert_eq!(
            now(&with(gone), &unsure).decisions.len(),
            1,
            "a machine that is gone isn't waited for"
        );
    }

    #[test]
    fn when_most_are_silent_nobody_is_replaced_but_who_a_person_gave_up() {
        let pairs = [pair(0, [0, 1], &[1]), pair(1, [2, 3], &[3])];
        let mut members = [member(0), away(1, 900), away(2, 900), away(3, 900), member(4)];
        let judgement = now(&members, &pairs);
        assert_eq!((judgement.decisions, judgement.frozen), (vec![], Some(3)));
        members[1].is_given_up = true;
        let judgement = now(&members, &pairs);
        assert_eq!(judgement.decisions.len(), 1, "{judgement:?}");
    }

    #[test]
    fn who_shall_leave_hands_over_while_it_is_there() {
        let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
        let mut members: Vec<_> = (0..5).map(member).collect();
        members[1].is_leaving = true;
        let judgement = now(&members, &pairs);
        assert!(
            matches!(&judgement.decisions[..], [Decision::Yield { leaves, comes, .. }]
            if leaves == "c-1" && comes == "c-4"),
            "{judgement:?}"
        );
    }

    #[test]
    fn one_spare_goes_to_one_pair_and_the_other_is_told_apart() {
        let pairs = [pair(0, [0, 1], &[1]), pair(1, [2, 3], &[3])];
        let members = [member(0), away(1, 600), member(2), away(3, 600), member(4)];
        let judgement = now(&members, &pairs);
        assert_eq!(judgement.decisions.len(), 1);
        assert_eq!(judgement.without_substitute, ["c-3"]);
    }

    #[test]
    fn what_changes_or_is_paused_is_left_alone() {
        let members = [member(0), away(1, 600), member(2), member(3), member(4)];
        let changing = KnownPair { is_changing: true, ..pair(0, [0, 1], &[1]) };
        let paused = KnownPair { is_paused: true, ..pair(0, [0, 1], &[1]) };
        for quiet in [changing, paused] {
            assert_eq!(now(&members, &[quiet, pair(1, [2, 3], &[])]).decisions, []);
        }
        let all = Wanted { is_paused: true, ..wanted() };
        let pairs = [pair(0, [0, 1], &[1]), pair(1, [2, 3], &[])];
        assert_eq!(judge(&members, &pairs, &all, Duration::ZERO).decisions, []);
    }
}
