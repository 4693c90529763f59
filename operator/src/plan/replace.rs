//! Members that are gone or shall go, and who comes for them.

use std::collections::BTreeMap;
use std::time::Duration;

use defs_crds::cluster::Hard;
use defs_pairing::replacement::{self, Substitute, Survivor};
use defs_pairing::score::Points;

use super::{Asked, Cause, Decision, Judgement, KnownPair, Machine, Member, Wanted, are_apart};

type ByName<'a> = BTreeMap<&'a str, &'a Member>;

/// Pairs of which nothing is left: what each member held is gone, as it is a new node now or a
/// person gave it up.
pub(super) fn dissolve(members: &ByName<'_>, pairs: &[KnownPair], judgement: &mut Judgement) {
    for pair in pairs.iter().filter(|pair| pair.is_forgotten && !pair.is_paused) {
        let those: Vec<_> = pair.members.iter().filter_map(|it| members.get(it.as_str())).collect();
        let is_given_up = |it: &&&&Member| it.asked == Asked::GivenUp;
        if those.len() == 2 && those.iter().all(|it| it.is_heard || it.asked == Asked::GivenUp) {
            let given_up = those.iter().filter(is_given_up).map(|it| it.name.clone()).collect();
            judgement.decisions.push(Decision::Dissolve { pair: pair.name.clone(), given_up });
        }
    }
}

/// Finds substitutes for those that are gone, and takes them out of `free`.
pub(super) fn replace(
    members: &ByName<'_>,
    pairs: &[KnownPair],
    wanted: &Wanted,
    free: &mut Vec<&Member>,
    judgement: &mut Judgement,
) {
    let left_alone = |pair: &KnownPair| pair.is_paused || pair.is_changing() || pair.is_forgotten;
    for pair in pairs.iter().filter(|pair| !left_alone(pair)) {
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
            if judgement.frozen.is_some() && !cause.is_intent {
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

/// Why `member` should be replaced, if it should, and whether it is there to hand over.
fn cause(member: &Member, pair: &KnownPair, replace_after: Duration) -> Option<(Cause, bool)> {
    let because = |text: &str, is_intent| Cause { text: text.to_owned(), is_intent };
    match member.asked {
        Asked::GivenUp => return Some((because("a person has given it up", true), false)),
        Asked::Leave => {
            let cause = because("a person asked for another in its place", true);
            return Some((cause, member.is_heard));
        }
        Asked::Shrink => {
            return Some((because("the cluster shall have fewer nodes", true), member.is_heard));
        }
        Asked::Stay => {}
    }
    if pair.strangers.contains(&member.name) && pair.held_down.contains(&member.name) {
        let text = "it came back without what it held: its volume is another one";
        return Some((because(text, false), false));
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
    let silent = Duration::from_secs(member.silent.as_secs());
    let text = format!("{partner}, {machine}, the operator has not heard it for {silent:?}");
    Some((Cause { text, is_intent: false }, false))
}

/// Who comes. A node that lost what it held may come back to its own place: it is as free as
/// any other, and its machine is the one that was chosen.
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
    let is_fit = |it: &&Member| are_apart(&stays.labels, &it.labels, hard);
    let itself = pair.strangers.contains(&lost.name) && lost.is_heard && is_fit(&lost);
    if itself && lost.capacity.saturating_sub(lost.used) >= pair.held {
        return Some(lost.name.clone());
    }
    let candidates: Vec<_> = free
        .iter()
        .copied()
        .filter(is_fit)
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
