//! Splits, and memberships that shrink.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn labels(host: u8) -> Labels {
    Labels { host: host.to_string(), ..Labels::default() }
}

fn agreed(nodes: u8, a_host: u8) -> Agreed {
    Agreed::new((0..nodes).map(|number| (node(number), labels(number / a_host))))
}

fn sees(agreed: &Agreed, reached: impl Fn(u8) -> bool) -> Standing {
    agreed.standing(FreezeAt::HALF, |node| reached(node.0[0]))
}

#[test]
fn exactly_half_freezes_and_one_more_heals() {
    let agreed = agreed(6, 1);
    let half = sees(&agreed, |number| number < 3);
    assert!(!half.may_heal());
    assert_eq!(half.to_string(), "healing is frozen: 3 of 6 nodes on 3 of 6 hosts answer");
    assert!(sees(&agreed, |number| number < 4).may_heal());
}

#[test]
fn a_host_with_most_nodes_is_no_majority_alone() {
    let big = (0..5).map(|number| (node(number), labels(0)));
    let small = (5..7).map(|number| (node(number), labels(number)));
    let agreed = Agreed::new(big.chain(small));
    let alone = sees(&agreed, |number| number < 5);
    assert_eq!(alone.nodes, Count { reached: 5, all: 7 });
    assert_eq!(alone.hosts, Count { reached: 1, all: 3 });
    assert!(!alone.may_heal());
    // Nor do the two others heal without it: it may be they who are cut off.
    assert!(!sees(&agreed, |number| number >= 5).may_heal());
}

#[test]
fn nodes_that_were_not_admitted_weigh_nothing() {
    let agreed = agreed(4, 1);
    assert!(!agreed.has(&node(9)));
    assert!(!sees(&agreed, |number| !(2..=3).contains(&number)).may_heal());
}

#[test]
fn a_person_may_freeze_earlier_and_never_later() {
    let agreed = agreed(10, 1);
    let sees_seven = |at| agreed.standing(at, |node| node.0[0] < 7);
    assert!(sees_seven(FreezeAt::HALF).may_heal());
    assert!(!sees_seven(FreezeAt::new(30).unwrap()).may_heal());
    assert_eq!(FreezeAt::new(51), Err(NotAFreezePoint(51)));
    assert_eq!(FreezeAt::new(0), Err(NotAFreezePoint(0)));
}

#[test]
fn of_twenty_two_may_be_replaced_in_an_hour_and_a_person_is_not_bound() {
    let mut agreed = agreed(20, 1);
    assert_eq!(agreed.leave(&node(0), Leave::Replaced, HOUR), Ok(()));
    assert_eq!(agreed.leave(&node(1), Leave::Replaced, HOUR), Ok(()));
    let refused = agreed.leave(&node(2), Leave::Replaced, HOUR + HOUR / 2);
    assert_eq!(refused, Err(TooFast { at: HOUR * 2 }));
    assert_eq!(agreed.len(), 18);
    assert_eq!(agreed.leave(&node(2), Leave::DeclaredLost, HOUR), Ok(()));
    assert_eq!(agreed.leave(&node(3), Leave::Drained, HOUR), Ok(()));
    assert_eq!(agreed.leave(&node(4), Leave::Replaced, HOUR * 2), Ok(()));
    assert_eq!(agreed.len(), 15);
}

#[test]
fn of_five_one_may_be_replaced_in_two_hours() {
    let mut agreed = agreed(5, 1);
    assert_eq!(agreed.leave(&node(0), Leave::Replaced, HOUR), Ok(()));
    let refused = agreed.leave(&node(1), Leave::Replaced, HOUR * 2);
    assert_eq!(refused, Err(TooFast { at: HOUR * 3 }));
    assert_eq!(agreed.leave(&node(1), Leave::Replaced, HOUR * 3), Ok(()));
}

proptest! {
    #[test]
    fn never_do_both_sides_of_a_split_heal(sides in prop::collection::vec(any::<bool>(), 1..60), a_host in 1_u8..5) {
        let agreed = agreed(u8::try_from(sides.len()).unwrap(), a_host);
        let side = |wanted: bool| sees(&agreed, |number| sides[usize::from(number)] == wanted);
        prop_assert!(!(side(true).may_heal() && side(false).may_heal()));
    }

    #[test]
    fn no_hour_sees_more_than_a_tenth_replaced(waits in prop::collection::vec(0_u64..1800, 1..60)) {
        let mut agreed = agreed(100, 1);
        let (mut now, mut gone) = (Duration::ZERO, Vec::new());
        for (number, wait) in (0..).zip(waits) {
            now += Duration::from_secs(wait);
            if agreed.leave(&node(number), Leave::Replaced, now).is_ok() {
                gone.push(now);
            }
            let lately = gone.iter().filter(|at| **at + HOUR > now).count();
            prop_assert!(lately * 10 <= agreed.len() + lately);
        }
    }
}
