//! Skewed networks, and that nothing moves in vain.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn filled(pair: u8, capacity: u64, used: u64) -> Filled {
    Filled { pair: PairId([pair; 16]), capacity, used, busy_permille: 0 }
}

#[test]
fn the_fullest_gives_to_the_emptiest_until_all_are_within_five_percent() {
    let pairs = [
        filled(1, 1000 * MIB, 800 * MIB),
        filled(2, 1000 * MIB, 500 * MIB),
        filled(3, 1000 * MIB, 200 * MIB),
    ];
    let plan = balance(&pairs, u64::MAX);
    let expected = "skew 60.0 % → 5.0 %, 275 MiB to move\n  01010101 → 03030303: 275 MiB";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn what_is_even_enough_stays() {
    let pairs = [filled(1, 100 * MIB, 55 * MIB), filled(2, 100 * MIB, 50 * MIB)];
    let plan = balance(&pairs, u64::MAX);
    assert_eq!((plan.shifts, plan.skew_before), (vec![], 50));
}

#[test]
fn an_empty_pair_that_joins_takes_from_all_who_are_above_the_band() {
    let mut pairs: Vec<_> = (1..=9).map(|pair| filled(pair, 1000 * MIB, 900 * MIB)).collect();
    pairs.push(filled(10, 1000 * MIB, 0));
    let plan = balance(&pairs, u64::MAX);
    assert_eq!((plan.shifts.len(), plan.skew_after), (9, 50));
    let taken = plan.bytes() / MIB;
    assert_eq!(taken, 765);
}

#[test]
fn a_budget_is_kept_and_what_is_left_is_said() {
    let pairs = [filled(1, 1000 * MIB, 800 * MIB), filled(2, 1000 * MIB, 200 * MIB)];
    let plan = balance(&pairs, 100 * MIB);
    assert_eq!((plan.bytes(), plan.left), (100 * MIB, 175 * MIB));
    assert_eq!(plan.skew_after, 400);
}

#[test]
fn the_busiest_gives_to_the_idlest_what_the_band_of_fills_allows() {
    let busy = |pair, used, busy_permille| Filled {
        busy_permille,
        ..filled(pair, 1000 * MIB, used * MIB)
    };
    let plan = balance(&[busy(1, 520, 300), busy(2, 500, 200), busy(3, 500, 220)], u64::MAX);
    let expected = "skew 2.0 % → 5.0 %, 35 MiB to move, load skew 10.0 % → 6.0 %\n  01010101 → 02020202: 35 MiB";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn nobody_and_nothing_is_even() {
    assert_eq!(balance(&[], u64::MAX), Balance::default());
    assert_eq!(balance(&[filled(1, 0, 0)], u64::MAX), Balance::default());
}

fn network() -> impl Strategy<Value = Vec<Filled>> {
    let pair = (MIB..1_000_000 * MIB, 0_u64..=1000, 0_u16..=1000);
    prop::collection::vec(pair, 1..30).prop_map(|pairs| {
        let filled = |(number, (capacity, permille, busy_permille)): (u8, (u64, u64, u16))| {
            let used = capacity / 1000 * permille;
            Filled { busy_permille, ..filled(number, capacity, used) }
        };
        (0..).zip(pairs).map(filled).collect()
    })
}

proptest! {
    #[test]
    fn the_skew_ends_at_five_percent_and_no_band_needs_fewer_bytes(pairs in network()) {
        let pairs: Vec<_> = pairs.iter().map(|it| Filled { busy_permille: 0, ..*it }).collect();
        let plan = balance(&pairs, u64::MAX);
        prop_assert!(plan.skew_after <= 50, "{plan}");
        let highest = pairs.iter().map(fill).max().unwrap();
        let slack = pairs.len() as u64;
        for low in (0..=highest).step_by(997) {
            let (above, below) = needs(&pairs, low);
            prop_assert!(plan.bytes() <= above.max(below).saturating_add(slack));
        }
    }

    #[test]
    fn nobody_gives_what_it_has_not_and_nobody_both_gives_and_takes(pairs in network(), budget in 0..1_000_000 * MIB) {
        let plan = balance(&pairs, budget);
        prop_assert!(plan.bytes() <= budget);
        prop_assert!(plan.skew_after <= plan.skew_before.max(50));
        prop_assert!(plan.shifts.len() <= pairs.len() * 3);
        for pair in &pairs {
            let gives = sum(plan.shifts.iter().filter(|it| it.from == pair.pair).map(|it| it.bytes));
            let takes = sum(plan.shifts.iter().filter(|it| it.to == pair.pair).map(|it| it.bytes));
            prop_assert!(gives == 0 || takes == 0);
            prop_assert!(gives <= pair.used && pair.used + takes <= pair.capacity);
        }
        let turned: Vec<_> = pairs.iter().rev().copied().collect();
        prop_assert_eq!(balance(&turned, budget), plan);
    }
}
