//! What is decided in which situation.

use std::num::NonZeroUsize;

use defs_crds::cluster::status::PlanStep;
use defs_pairing::planner::Candidate;
use defs_pairing::score::Weights;
use defs_pairing::score::observers::Observers;
use defs_pairing::survey::{Survey, Surveyed};

use super::better::Going;
use super::*;

fn labels(number: u8) -> Labels {
    Labels {
        host: format!("host-{number}"),
        zone: format!("zone-{}", number % 3),
        region: String::new(),
    }
}

fn member(number: u8) -> Member {
    Member {
        name: format!("c-{number}"),
        node: Some(NodeId([number; 32])),
        labels: labels(number),
        reach: Reach::Open,
        capacity: 100,
        used: 10,
        score: None,
        rated: Some(Rated::unknown(Candidate {
            node: NodeId([number; 32]),
            labels: labels(number),
            capacity: 100,
            reach: Reach::Open,
        })),
        is_heard: true,
        silent: Duration::ZERO,
        is_ready: true,
        machine: Machine::Ready,
        asked: Asked::Stay,
        is_outdated: false,
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
        id: Some(PairId([number; 16])),
        members: members.map(|it| format!("c-{it}")),
        primary: Some(format!("c-{}", members[0])),
        is_paused: false,
        comes: None,
        is_pinned: false,
        is_healthy: held_down.is_empty(),
        held_down: held_down.iter().map(|it| format!("c-{it}")).collect(),
        strangers: BTreeSet::new(),
        is_forgotten: false,
        held: 10,
        changed: None,
    }
}

fn changing(pair: KnownPair, comes: u8) -> KnownPair {
    KnownPair { comes: Some(format!("c-{comes}")), ..pair }
}

fn wanted() -> Wanted {
    Wanted {
        pairs: 2,
        replicas: 5,
        hard: Hard::Node,
        replace_after: Duration::from_secs(600),
        freeze_above_percent: 50,
        policy: Policy::default(),
        is_paused: false,
    }
}

fn now(members: &[Member], pairs: &[KnownPair]) -> Judgement {
    judge(members, (pairs, &[]), &wanted(), Duration::ZERO)
}

#[test]
fn pairs_form_across_zones_when_all_nodes_are_in_and_spares_are_left() {
    let members: Vec<_> = (0..5).map(member).collect();
    let judgement = now(&members, &[]);
    assert_eq!(judgement.decisions.len(), 2, "{judgement:?}");
    for decision in &judgement.decisions {
        let Decision::Form(formed) = decision else { panic!("{decision:?}") };
        let zone =
            |name: &String| members.iter().find(|it| it.name == *name).map(|it| &it.labels.zone);
        assert_ne!(zone(&formed[0]), zone(&formed[1]));
    }
    assert_eq!(now(&members[..4], &[]).decisions, [], "one is still to come");
    let later = judge(&members[..4], (&[], &[]), &wanted(), SETTLED);
    assert_eq!(later.decisions.len(), 2, "it is not waited for for ever");
}

#[test]
fn only_who_could_take_a_place_counts_as_spare() {
    let pairs = [pair(0, [0, 1], &[])];
    let counted = |last: Member| spares(&[member(0), member(1), member(2), last], &pairs);
    assert_eq!(counted(member(3)), 2);
    assert_eq!(counted(away(3, 1)), 2, "its connection may just have broken");
    assert_eq!(counted(away(3, 600)), 1);
    for asked in [Asked::Leave, Asked::Shrink, Asked::GivenUp] {
        assert_eq!(counted(Member { asked, ..member(3) }), 1, "{asked:?}");
    }
    assert_eq!(counted(Member { node: None, ..member(3) }), 1);
    let called = [changing(pair(0, [0, 1], &[1]), 3)];
    assert_eq!(spares(&[member(0), member(1), member(2), member(3)], &called), 1);
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
    assert_eq!(judge(&crowded, (&[], &[]), &any, Duration::ZERO).decisions.len(), 2);
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
    members[1].asked = Asked::GivenUp;
    let judgement = now(&members, &pairs);
    assert_eq!(judgement.decisions.len(), 1, "{judgement:?}");
}

#[test]
fn who_shall_leave_hands_over_while_it_is_there() {
    let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
    let mut members: Vec<_> = (0..5).map(member).collect();
    members[1].asked = Asked::Leave;
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
fn a_spare_that_is_called_to_one_pair_is_not_called_to_another() {
    let members = [member(0), away(1, 600), member(2), away(3, 600), member(4), member(5)];
    let pairs = |comes| [changing(pair(0, [0, 1], &[1]), comes), pair(1, [2, 3], &[3])];
    for (called, free) in [(4, "c-5"), (5, "c-4")] {
        let decisions = now(&members, &pairs(called)).decisions;
        let [Decision::Replace { pair, comes, .. }] = &decisions[..] else {
            panic!("{decisions:?}");
        };
        assert_eq!((pair.as_str(), comes.as_str()), ("pair-1", free));
    }
    let judgement = now(&members[..5], &pairs(4));
    assert_eq!(judgement.decisions, []);
    assert_eq!(judgement.without_substitute, ["c-3"]);
}

#[test]
fn what_changes_or_is_paused_is_left_alone() {
    let members = [member(0), away(1, 600), member(2), member(3), member(4)];
    let changing = changing(pair(0, [0, 1], &[1]), 5);
    let paused = KnownPair { is_paused: true, ..pair(0, [0, 1], &[1]) };
    for quiet in [changing, paused] {
        assert_eq!(now(&members, &[quiet, pair(1, [2, 3], &[])]).decisions, []);
    }
    let all = Wanted { is_paused: true, ..wanted() };
    let pairs = [pair(0, [0, 1], &[1]), pair(1, [2, 3], &[])];
    assert_eq!(judge(&members, (&pairs, &[]), &all, Duration::ZERO).decisions, []);
}

#[test]
fn an_operator_that_hears_nobody_takes_itself_to_be_cut_off_though_kubelets_say_all_is_well() {
    let unheard = |number| Member { is_ready: true, machine: Machine::Ready, ..away(number, 900) };
    let members: Vec<_> = (0..5).map(unheard).collect();
    let judgement = now(&members, &[pair(0, [0, 1], &[]), pair(1, [2, 3], &[])]);
    assert_eq!((judgement.decisions, judgement.frozen), (vec![], Some(5)));
    let just_now: Vec<_> =
        (0..5).map(|number| Member { silent: Duration::ZERO, ..unheard(number) }).collect();
    assert_eq!(now(&just_now, &[]).frozen, None, "it has just begun to listen");
}

#[test]
fn who_came_back_without_its_data_has_its_own_place_again() {
    let stranger =
        KnownPair { strangers: BTreeSet::from(["c-1".to_owned()]), ..pair(0, [0, 1], &[1]) };
    let members: Vec<_> = (0..5).map(member).collect();
    let judgement = now(&members, &[stranger.clone(), pair(1, [2, 3], &[])]);
    assert!(
        matches!(&judgement.decisions[..], [Decision::Replace { gone, comes, cause, .. }]
        if gone == "c-1" && comes == "c-1" && cause.text.contains("volume")),
        "{judgement:?}"
    );
    let waits = KnownPair { held_down: BTreeSet::new(), ..stranger };
    assert_eq!(now(&members, &[waits, pair(1, [2, 3], &[])]).decisions, []);
}

#[test]
fn a_pair_of_which_nothing_is_left_is_dissolved_and_its_nodes_are_free() {
    let forgotten = KnownPair { is_forgotten: true, ..pair(0, [0, 1], &[]) };
    let mut members: Vec<_> = (0..5).map(member).collect();
    let pairs = [forgotten, pair(1, [2, 3], &[])];
    let dissolved = |given_up: &[&str]| Decision::Dissolve {
        pair: "pair-0".to_owned(),
        given_up: given_up.iter().map(|it| (*it).to_owned()).collect(),
    };
    assert_eq!(now(&members, &pairs).decisions, [dissolved(&[])]);
    members[0] = Member { asked: Asked::GivenUp, ..away(0, 5) };
    assert_eq!(now(&members, &pairs).decisions, [dissolved(&["c-0"])]);
    members[0].asked = Asked::Stay;
    assert_eq!(now(&members, &pairs).decisions, [], "it may still have everything");
}

#[test]
fn a_pair_that_lost_its_object_gets_one_and_its_nodes_are_put_into_no_other() {
    let members: Vec<_> = (0..5).map(member).collect();
    let orphan = Orphan { id: PairId([9; 16]), members: ["c-1".to_owned(), "c-0".to_owned()] };
    let judgement =
        judge(&members, (&[], std::slice::from_ref(&orphan)), &wanted(), Duration::ZERO);
    let [Decision::Adopt(adopted), Decision::Form(formed)] = &judgement.decisions[..] else {
        panic!("{judgement:?}")
    };
    assert_eq!(*adopted, orphan);
    assert!(!formed.iter().any(|name| orphan.members.contains(name)));
}

#[test]
fn an_odd_node_is_said_to_be_unpaired_only_where_a_pair_is_missing() {
    let members: Vec<_> = (0..5).map(member).collect();
    let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
    assert_eq!(now(&members, &pairs).unpaired, Vec::<String>::new(), "it is a spare");
    let three = Wanted { pairs: 3, ..wanted() };
    let judgement = judge(&members, (&pairs, &[]), &three, Duration::ZERO);
    assert_eq!(judgement.unpaired, ["c-4"]);
}

#[test]
fn the_last_nodes_go_when_there_are_too_many_and_members_hand_over_first() {
    let mut members: Vec<_> = (0..6).map(member).collect();
    members[4].asked = Asked::Shrink;
    members[3].asked = Asked::Shrink;
    let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
    let judgement = now(&members, &pairs);
    assert!(
        matches!(&judgement.decisions[..], [Decision::Yield { leaves, comes, .. }, Decision::Remove(removed)]
        if leaves == "c-3" && comes == "c-5" && removed == "c-4"),
        "{judgement:?}"
    );
}

#[test]
fn pods_are_made_anew_one_by_one_and_only_while_every_pair_is_whole() {
    let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
    let mut members: Vec<_> = (0..5).map(member).collect();
    assert_eq!(next_restart(&members, &pairs), None);
    let mut order = Vec::new();
    members.iter_mut().for_each(|it| it.is_outdated = true);
    while let Some(next) = next_restart(&members, &pairs).map(str::to_owned) {
        members.iter_mut().find(|it| it.name == next).unwrap().is_outdated = false;
        order.push(next);
    }
    assert_eq!(order, ["c-4", "c-1", "c-3", "c-0", "c-2"], "spare, mirrors, primaries");
    members[0].is_outdated = true;
    let copying = [KnownPair { is_healthy: false, ..pairs[1].clone() }, pairs[0].clone()];
    assert_eq!(next_restart(&members, &copying), None);
    let crashing = Member { machine: Machine::Ready, is_outdated: true, ..away(1, 5) };
    members[1] = crashing;
    assert_eq!(next_restart(&members, &copying), Some("c-1"), "it doesn't serve anyway");
}

/// Of nodes in zones by number: 0 and 3 stand in one, 1 and 4, 2 and 5.
fn survey(members: &[Member]) -> Survey {
    let surveyed = members
        .iter()
        .filter_map(|it| Some(Surveyed { candidate: it.rated.clone()?.candidate, used: it.used }));
    Survey::new(surveyed.collect(), Observers::default(), Weights::default())
}

#[test]
fn pairs_within_a_zone_change_members_by_way_of_a_spare_and_pinned_ones_stay() {
    let members: Vec<_> = (0..7).map(member).collect();
    let pairs = [pair(0, [0, 3], &[]), pair(1, [1, 4], &[])];
    let policy = Policy::default();
    let find = |pairs: &[KnownPair]| {
        better(&members, pairs, (&policy, Hard::Node), &survey(&members), Duration::from_secs(9999))
    };
    let found = find(&pairs);
    assert!(!found.is_empty());
    let pinned = pairs.clone().map(|pair| KnownPair { is_pinned: true, ..pair });
    assert_eq!(find(&pinned), []);
    let fresh =
        pairs.clone().map(|pair| KnownPair { changed: Some(Duration::from_secs(9998)), ..pair });
    assert_eq!(find(&fresh), [], "they have just changed");
    // Step by step, as if each were carried out at once.
    let (mut now, mut left) = (pairs.to_vec(), found);
    for _ in 0..10 {
        let Going::On { left: rest, begins } = carry_on(&left, &members, &now, NonZeroUsize::MIN)
        else {
            panic!("broken")
        };
        left = rest;
        for begun in begins {
            let Decision::Yield { pair, leaves, comes, .. } = begun else { panic!("{begun:?}") };
            let pair = now.iter_mut().find(|it| it.name == pair).unwrap();
            *pair.members.iter_mut().find(|it| **it == leaves).unwrap() = comes;
        }
    }
    assert_eq!(left, []);
    let zone = |name: &String| members.iter().find(|it| it.name == *name).map(|it| &it.labels.zone);
    assert!(now.iter().all(|pair| zone(&pair.members[0]) != zone(&pair.members[1])), "{now:?}");
}

#[test]
fn a_plan_whose_newcomer_is_gone_or_taken_is_broken_and_waits_while_its_pair_copies() {
    let step = PlanStep {
        pair: "pair-0".to_owned(),
        leaves: "c-0".to_owned(),
        comes: "c-4".to_owned(),
        gain_percent: 20,
        why: String::new(),
    };
    let plan = [step];
    let mut members: Vec<_> = (0..5).map(member).collect();
    let pairs = [pair(0, [0, 1], &[]), pair(1, [2, 3], &[])];
    let go = |members: &[Member], pairs: &[KnownPair]| {
        carry_on(&plan, members, pairs, NonZeroUsize::MIN)
    };
    assert!(matches!(go(&members, &pairs), Going::On { begins, .. } if begins.len() == 1));
    let copying = changing(pairs[0].clone(), 4);
    let waits = Going::On { left: plan.to_vec(), begins: Vec::new() };
    assert_eq!(go(&members, &[copying, pairs[1].clone()]), waits);
    let elsewhere = changing(pairs[1].clone(), 6);
    assert_eq!(go(&members, &[pairs[0].clone(), elsewhere]), waits, "one pair at a time");
    members[4] = away(4, 60);
    assert!(matches!(go(&members, &pairs), Going::Broken(why) if why.contains("not free")));
    assert!(matches!(go(&members, &pairs[1..]), Going::Broken(why) if why.contains("no pair")));
}
