//! A detector against partners that live, die, flap and lie, and against its own stalls.

use std::time::Duration;

use super::*;
use crate::majority::{Agreed, FreezeAt};
use defs_core::ids::NodeId;
use defs_core::network::Labels;
use defs_core::states::State;

mod laws;

const ME: NodeId = NodeId([1; 32]);
const PARTNER: NodeId = NodeId([2; 32]);
const WITNESS: NodeId = NodeId([3; 32]);
const SECOND: NodeId = NodeId([4; 32]);

/// Millis between two looks.
const TICK: u64 = 500;

fn standing(reached: u8) -> Standing {
    let members = (1..=5).map(|node| {
        let labels = Labels { host: node.to_string(), ..Labels::default() };
        (NodeId([node; 32]), labels)
    });
    Agreed::new(members).standing(FreezeAt::HALF, |node| node.0[0] <= reached)
}

/// A detector, its clock in milliseconds, and what happened.
struct World {
    detector: Detector,
    now: u64,
    beaten: u64,
    reached: u8,
    witness: Option<Report>,
    changes: Vec<(Health, u64)>,
    hold: Option<Hold>,
}

impl World {
    fn new() -> Self {
        let witnesses = BTreeSet::from([WITNESS, SECOND]);
        let detector =
            Detector::new([ME, PARTNER], witnesses, Timings::default(), Duration::from_secs(1));
        Self {
            detector,
            now: 1000,
            beaten: 0,
            reached: 4,
            witness: Some(Report::Unreachable),
            changes: Vec::new(),
            hold: None,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    fn look(&mut self) {
        let before = self.detector.health();
        let look = self.detector.look(self.now(), standing(self.reached));
        let mut last = before;
        for change in &look.changes {
            assert!(change.from == last && last.may_become(change.to), "{change}");
            assert!((1..=5).contains(&change.evidence.len()), "{change}");
            last = change.to;
            self.changes.push((change.to, self.now));
        }
        assert_eq!(last, self.detector.health());
        self.hold = look.hold;
        if let (Some(report), Some(_)) = (self.witness, look.ask) {
            self.detector.witnessed(Observer::Node(WITNESS), report, self.now());
        }
    }

    /// Runs for `millis`; the partner beats every two seconds, or is silent.
    fn run(&mut self, millis: u64, beats: bool) {
        let end = self.now + millis;
        while self.now < end {
            self.now += TICK;
            if beats && self.now.abs_diff(self.beaten) >= 2000 {
                self.detector.beat(self.now());
                self.beaten = self.now;
            }
            self.look();
        }
    }

    /// Beats and answers for a minute.
    fn alive() -> Self {
        let mut world = Self::new();
        world.run(59_000, true);
        assert_eq!((world.now, world.changes.len()), (60_000, 0));
        world
    }
}

#[test]
fn a_partner_that_dies_is_suspect_then_down_then_lost_and_each_step_says_why() {
    let mut world = World::alive();
    world.run(700_000, false);
    let expected = [(Health::Suspect, 65_500), (Health::Down, 70_000), (Health::Lost, 670_000)];
    assert_eq!(world.changes, expected);
}

#[test]
fn the_evidence_names_both_observers() {
    let mut world = World::alive();
    world.run(9_500, false);
    world.now += TICK;
    let look = world.detector.look(world.now(), standing(4));
    let text = look.changes.first().unwrap().to_string();
    let expected = format!(
        "Suspect → Down: at 70.0s node {ME} heard nothing for 10.0s (phi 848); at 69.5s node {WITNESS} did not reach it"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_partner_whom_a_witness_reaches_is_never_down() {
    let mut world = World::alive();
    world.witness = Some(Report::Reached);
    world.run(3_600_000, false);
    assert_eq!(world.changes, [(Health::Suspect, 65_500)]);
    assert!(matches!(&world.hold, Some(Hold::Reached(by)) if by.len() == 1));
}

#[test]
fn one_witness_who_reaches_it_outweighs_another_who_does_not() {
    let mut world = World::alive();
    world.run(9_500, false);
    world.detector.witnessed(Observer::Node(SECOND), Report::Reached, world.now());
    world.run(9_000, false);
    assert_eq!(world.detector.health(), Health::Suspect);
    // Its word is forgotten after ten seconds.
    world.run(1_500, false);
    assert_eq!(world.detector.health(), Health::Down);
}

#[test]
fn without_a_second_witness_it_stays_suspect_and_says_so() {
    let mut world = World::alive();
    world.witness = None;
    world.run(60_000, false);
    assert_eq!(world.detector.health(), Health::Suspect);
    assert_eq!(world.hold, Some(Hold::NoSecondWitness));
    // The word of somebody who is no witness is nothing; the operator's is enough.
    world.detector.witnessed(Observer::Node(NodeId([9; 32])), Report::Unreachable, world.now());
    world.detector.witnessed(Observer::Node(PARTNER), Report::Unreachable, world.now());
    world.run(TICK, false);
    assert_eq!(world.detector.health(), Health::Suspect);
    world.detector.witnessed(Observer::Operator, Report::Unreachable, world.now());
    world.run(TICK, false);
    assert_eq!(world.detector.health(), Health::Down);
}

#[test]
fn a_minority_freezes_and_frozen_time_does_not_count_for_replacement() {
    let mut world = World::alive();
    world.reached = 2;
    world.run(3_600_000, false);
    assert_eq!(world.changes, [(Health::Suspect, 65_500)]);
    let hold = world.hold.clone().unwrap();
    assert_eq!(hold.to_string(), "healing is frozen: 2 of 5 nodes on 2 of 5 hosts answer");
    world.reached = 3;
    world.run(TICK, false);
    assert_eq!(world.detector.health(), Health::Down);
    world.run(300_000, false);
    world.reached = 2;
    world.run(3_600_000, false);
    assert_eq!(world.detector.health(), Health::Down);
    world.reached = 3;
    world.run(299_500, false);
    assert_eq!(world.detector.health(), Health::Down);
    world.run(TICK, false);
    assert_eq!(world.detector.health(), Health::Lost);
}

#[test]
fn a_stop_of_this_process_for_five_seconds_changes_nothing() {
    let mut world = World::alive();
    world.run(1_500, true);
    world.now += 5_000;
    world.look();
    assert_eq!(world.hold, None);
    world.run(30_000, true);
    assert_eq!(world.changes, []);
}

#[test]
fn a_stall_in_the_midst_of_a_silence_gives_the_partner_two_beats_to_be_heard() {
    let mut world = World::alive();
    world.run(4_000, false);
    world.now += 60_000;
    world.look();
    assert_eq!(world.hold, Some(Hold::Stalled(Duration::from_secs(60))));
    world.run(3_500, false);
    assert_eq!(world.changes, []);
    world.run(TICK, false);
    assert_eq!(world.changes, [(Health::Suspect, 128_000)]);
}

#[test]
fn a_person_who_says_lost_is_believed_even_when_frozen() {
    let mut world = World::alive();
    world.reached = 1;
    world.detector.intend(Intent::Lost, world.now());
    world.run(TICK, true);
    let steps: Vec<_> = world.changes.iter().map(|(to, _)| *to).collect();
    assert_eq!(steps, [Health::Suspect, Health::Down, Health::Lost]);
    world.run(60_000, true);
    assert_eq!(world.detector.health(), Health::Lost);
}

#[test]
fn a_draining_node_that_goes_down_is_not_waited_for() {
    let mut world = World::alive();
    world.detector.intend(Intent::Drain, world.now());
    world.run(60_000, true);
    assert_eq!(world.changes, []);
    world.run(12_000, false);
    let steps: Vec<_> = world.changes.iter().map(|(to, _)| *to).collect();
    assert_eq!(steps, [Health::Suspect, Health::Down, Health::Lost]);
}

#[test]
fn a_partner_that_returns_is_trusted_at_once_the_first_time_and_later_when_it_flaps() {
    let mut world = World::alive();
    let mut waited = Vec::new();
    for _ in 0..5 {
        world.run(12_000, false);
        assert_eq!(world.detector.health(), Health::Down);
        let back = world.now;
        while world.detector.health() == Health::Down {
            world.run(2_000, true);
        }
        waited.push(world.now - back);
    }
    assert_eq!(waited, [2_000, 4_000, 8_000, 16_000, 32_000]);
    assert_eq!(world.detector.flaps_milli() / 100, 47);
}

#[test]
fn what_was_given_up_by_time_may_come_back() {
    let mut world = World::alive();
    world.run(700_000, false);
    assert_eq!(world.detector.health(), Health::Lost);
    world.run(2_000, true);
    assert_eq!(world.detector.health(), Health::Alive);
}

#[test]
fn answers_are_as_good_as_beats() {
    let mut world = World::alive();
    for _ in 0..60 {
        world.run(2_000, false);
        world.detector.answered(Duration::from_millis(20), world.now());
    }
    assert_eq!(world.changes, []);
    assert_eq!(world.detector.round_trip(), Some(Duration::from_millis(20)));
}
