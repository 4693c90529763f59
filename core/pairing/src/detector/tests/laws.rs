//! What holds of a detector whatever happens.

use proptest::prelude::*;

use super::*;

/// What may happen between two looks of a detector whose partner lives.
#[derive(Debug, Clone)]
enum Trouble {
    Stall(u64),
    JumpBack(u64),
    Beats(u8),
    Answer(u64),
    Witness(bool),
    Cut(u8),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        (0_u64..100_000_000).prop_map(Trouble::Stall),
        (0_u64..100_000_000).prop_map(Trouble::JumpBack),
        (0_u8..50).prop_map(Trouble::Beats),
        any::<u64>().prop_map(Trouble::Answer),
        any::<bool>().prop_map(Trouble::Witness),
        (0_u8..6).prop_map(Trouble::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stalls_jumps_and_garbage_never_bring_a_living_partner_down(troubles in prop::collection::vec(trouble(), 0..30)) {
        let mut world = World::alive();
        world.now += 200_000_000;
        for trouble in troubles {
            match trouble {
                Trouble::Stall(millis) => world.now += millis,
                Trouble::JumpBack(millis) => world.now = world.now.saturating_sub(millis),
                Trouble::Beats(count) => (0..count).for_each(|_| world.detector.beat(world.now())),
                Trouble::Answer(nanos) => {
                    world.detector.answered(Duration::from_nanos(nanos), world.now());
                }
                Trouble::Witness(reached) => {
                    let report = if reached { Report::Reached } else { Report::Unreachable };
                    world.witness = Some(report);
                }
                Trouble::Cut(reached) => world.reached = reached,
            }
            world.look();
            world.run(4_000, true);
        }
        prop_assert_eq!(world.changes, vec![]);
    }

    #[test]
    fn whatever_is_seen_every_change_is_legal_and_no_minority_holds_anybody_down(
        steps in prop::collection::vec((any::<bool>(), 0_u8..6, any::<bool>(), 0_u64..20_000), 0..80),
    ) {
        let mut world = World::new();
        for (beats, reached, witness, millis) in steps {
            world.reached = reached;
            world.witness = witness.then_some(Report::Unreachable);
            let before = world.changes.len();
            world.run(millis, beats);
            let held_down = world.changes[before..].iter().any(|(to, _)| *to == Health::Down);
            prop_assert!(!(held_down && reached < 3));
        }
    }
}
