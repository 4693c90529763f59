//! What all observers of a node say, as one set of inputs: the middle word counts, so that no
//! minority of liars moves a score beyond what honest ones say. Where two differ, the kinder
//! one counts; what a node says of itself counts nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::reading::Reading;

use super::measured::{Bandwidth, Capacity, Geography, Latency, Load, Measured, Stability};

/// Readings by the node that they are of, then by the observer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observers {
    words: BTreeMap<NodeId, BTreeMap<NodeId, Reading>>,
}

impl Observers {
    /// Takes what `observer` says; its first word of each other node.
    pub fn hear(&mut self, observer: NodeId, readings: impl IntoIterator<Item = Reading>) {
        for reading in readings.into_iter().filter(|reading| reading.node != observer) {
            self.words.entry(reading.node).or_default().entry(observer).or_insert(reading);
        }
    }

    /// How many speak of `node`.
    #[must_use]
    pub fn count(&self, node: &NodeId) -> usize {
        self.words.get(node).map_or(0, BTreeMap::len)
    }

    /// The usual round trip between two nodes. If both have measured it the longer one
    /// counts: nobody seems nearer than the other says.
    #[must_use]
    pub fn round_trip(&self, a: &NodeId, b: &NodeId) -> Option<Duration> {
        let said = |of: &NodeId, by: &NodeId| {
            let reading = self.words.get(of)?.get(by)?;
            (reading.answers > 0).then(|| Duration::from_micros(reading.p50_us))
        };
        said(a, b).max(said(b, a))
    }

    /// The inputs of the score of `node`. Places and room are not measured by others: room is
    /// what the node's card says, since nobody can look at a disk that isn't its own.
    #[must_use]
    pub fn measured(&self, node: &NodeId, geography: Geography, capacity: Capacity) -> Measured {
        let words: Vec<&Reading> =
            self.words.get(node).into_iter().flat_map(BTreeMap::values).collect();
        Measured {
            geography,
            capacity,
            bandwidth: bandwidth(&words),
            latency: latency(&words),
            stability: stability(&words),
            load: Load { busy_permille: kinder(&words, |word| word.busy_permille).unwrap_or(0) },
        }
    }
}

/// The middle of what is said, ordered by how bad it is; of an even number the better one.
fn kinder<T: Ord + Copy>(words: &[&Reading], badness: impl Fn(&Reading) -> T) -> Option<T> {
    let mut said: Vec<_> = words.iter().map(|word| badness(word)).collect();
    said.sort_unstable();
    said.get(said.len().saturating_sub(1) / 2).copied()
}

fn latency(words: &[&Reading]) -> Latency {
    let heard: Vec<_> = words.iter().copied().filter(|word| word.answers > 0).collect();
    Latency {
        p50_us: kinder(&heard, |word| word.p50_us).unwrap_or(0),
        p95_us: kinder(&heard, |word| word.p95_us).unwrap_or(0),
        answers: sum(&heard, |word| word.answers),
    }
}

fn bandwidth(words: &[&Reading]) -> Bandwidth {
    let moved: Vec<_> = words.iter().copied().filter(|word| word.transfers > 0).collect();
    let rate = kinder(&moved, |word| Reverse(word.bytes_per_second));
    Bandwidth {
        bytes_per_second: rate.map_or(0, |rate| rate.0),
        transfers: sum(&moved, |word| word.transfers),
    }
}

fn stability(words: &[&Reading]) -> Stability {
    // One observer's two times belong together: a share of one and a length of another would
    // be nobody's word.
    let times = kinder(words, |word| (away_ppm(word), Reverse(word.watched_s), word.away_s));
    let (watched_s, away_s) =
        times.map_or((0, 0), |(_, Reverse(watched_s), away_s)| (watched_s, away_s));
    let asked = |word: &&Reading| word.audits_passed > 0 || word.audits_failed > 0;
    let auditors: Vec<_> = words.iter().copied().filter(asked).collect();
    let audits = kinder(&auditors, |word| (word.audits_failed, Reverse(word.audits_passed)));
    let (audits_failed, Reverse(audits_passed)) = audits.unwrap_or((0, Reverse(0)));
    Stability {
        watched_s,
        away_s,
        flaps_milli: kinder(words, |word| word.flaps_milli).unwrap_or(0),
        audits_passed,
        audits_failed,
    }
}

/// The part of the time that a node was away, in millionths; unwatched it was never there.
fn away_ppm(word: &Reading) -> u64 {
    let away = u128::from(word.away_s) * 1_000_000;
    let ppm = away.checked_div(u128::from(word.watched_s)).unwrap_or(1_000_000);
    u64::try_from(ppm).unwrap_or(1_000_000)
}

fn sum(words: &[&Reading], of: impl Fn(&Reading) -> u32) -> u32 {
    words.iter().map(|word| of(word)).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    const OF: NodeId = NodeId([99; 32]);

    /// A word of `OF` in which all that can be good or bad is `bad`.
    fn word(bad: u32) -> Reading {
        Reading {
            node: OF,
            p50_us: bad.into(),
            p95_us: u64::from(bad) * 2,
            answers: 10,
            bytes_per_second: u64::MAX - u64::from(bad),
            transfers: 1,
            watched_s: 10_000,
            away_s: bad.into(),
            flaps_milli: bad,
            audits_passed: 5,
            audits_failed: bad,
            busy_permille: u16::try_from(bad.min(1000)).unwrap(),
        }
    }

    fn measured(words: &[(u8, Reading)]) -> Measured {
        let mut observers = Observers::default();
        words.iter().for_each(|(by, reading)| observers.hear(node(*by), [*reading]));
        observers.measured(&OF, Geography::default(), Capacity::default())
    }

    #[test]
    fn what_nobody_measured_is_nothing_and_nobody_speaks_for_itself() {
        let mut observers = Observers::default();
        observers.hear(OF, [word(0)]);
        let nothing = observers.measured(&OF, Geography::default(), Capacity::default());
        assert_eq!((observers.count(&OF), nothing), (0, Measured::default()));
    }

    #[test]
    fn the_middle_word_counts_and_of_two_the_kinder() {
        let p50 = |words: &[(u8, Reading)]| measured(words).latency.p50_us;
        assert_eq!(p50(&[(1, word(30)), (2, word(10)), (3, word(20))]), 20);
        assert_eq!(p50(&[(1, word(30)), (2, word(10))]), 10);
        let silent = Reading { answers: 0, ..word(0) };
        assert_eq!(p50(&[(1, word(30)), (2, silent), (3, silent)]), 30);
    }

    #[test]
    fn a_round_trip_is_the_longer_of_the_two_that_were_measured() {
        let mut observers = Observers::default();
        let saw = |of: u8, p50_us| Reading { node: node(of), p50_us, ..word(100) };
        observers.hear(node(1), [saw(2, 5), saw(3, 7)]);
        observers.hear(node(2), [saw(1, 6), Reading { answers: 0, ..saw(3, 9) }]);
        let trip = |a, b| observers.round_trip(&node(a), &node(b)).map(|took| took.as_micros());
        assert_eq!(
            [trip(1, 2), trip(2, 1), trip(1, 3), trip(2, 3)],
            [Some(6), Some(6), Some(7), None]
        );
    }

    proptest! {
        #[test]
        fn liars_in_the_minority_move_nothing_beyond_what_honest_ones_say(
            honest in prop::collection::vec(0_u32..1000, 1..8), lies: bool, turn: prop::sample::Index,
        ) {
            let liars = honest.len() - 1;
            let lie = if lies { word(10_000) } else { word(0) };
            let mut words: Vec<_> = honest.iter().map(|bad| word(*bad)).collect();
            words.extend((0..liars).map(|_| lie));
            let mut said: Vec<_> = (0..).zip(words).collect();
            let found = measured(&said);
            let range = *honest.iter().min().unwrap()..=*honest.iter().max().unwrap();
            prop_assert!(range.contains(&u32::try_from(found.latency.p50_us).unwrap()));
            prop_assert!(range.contains(&u32::try_from(u64::MAX - found.bandwidth.bytes_per_second).unwrap()));
            prop_assert!(range.contains(&u32::try_from(found.stability.away_s).unwrap()));
            prop_assert!(range.contains(&found.stability.flaps_milli));
            prop_assert!(range.contains(&found.stability.audits_failed));
            let places = said.len();
            said.rotate_left(turn.index(places));
            prop_assert_eq!(measured(&said), found);
        }
    }
}
