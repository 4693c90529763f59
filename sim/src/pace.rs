//! How fast a run goes: the times after which nodes give each other up, and the network
//! that fits them.

use std::time::Duration;

use defs_engine::Timings;
use defs_pairing::detector;
use defs_port_suite::Weather;

/// What a run's times are divided by.
const SCALE: u32 = 20;

/// Cards are told less often than the other times would have it: nobody is given up for
/// want of a card, and cards are most of what a large network says.
const CARD_SCALE: u32 = 2;

/// Of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A twentieth of the usual times, over a fast network.
    Fast,
    /// The usual times, over the internet.
    Usual,
}

impl Pace {
    /// Every fiftieth seed runs at the usual times.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        if seed % 50 == 49 { Self::Usual } else { Self::Fast }
    }

    /// How many times as long as a fast run this one takes for what nodes do by themselves.
    #[must_use]
    pub fn times_usual(self) -> u32 {
        match self {
            Self::Fast => 1,
            Self::Usual => SCALE,
        }
    }

    /// What the nodes go by.
    #[must_use]
    pub fn timings(self) -> Timings {
        let usual = Timings {
            // Nobody waits a day here.
            lease_min: Duration::from_secs(60),
            lease_grace: Duration::from_secs(20),
            expire: Duration::from_secs(20),
            ..Timings::default()
        };
        match self {
            Self::Usual => usual,
            Self::Fast => Timings {
                watch: fast(usual.watch).unwrap_or(usual.watch),
                probe: usual.probe / SCALE * 4,
                renew_witnesses: usual.renew_witnesses / SCALE,
                compare: usual.compare / SCALE,
                repair: usual.repair / SCALE,
                repair_turn: usual.repair_turn / SCALE,
                balance: usual.balance / SCALE,
                card: usual.card / CARD_SCALE,
                card_stale: usual.card_stale / CARD_SCALE,
                settle: usual.settle / SCALE * 4,
                form: usual.form / SCALE * 2,
                broadcast: usual.broadcast / SCALE * 2,
                ..usual
            },
        }
    }

    /// The weather on a good day.
    #[must_use]
    pub fn weather(self) -> Weather {
        let (least, most, patience) = match self {
            Self::Fast => (1, 5, Duration::from_millis(1500)),
            Self::Usual => (20, 100, Duration::from_secs(30)),
        };
        Weather {
            delay_min: Duration::from_millis(least),
            delay_max: Duration::from_millis(most),
            lost: 0,
            doubled: 10,
            patience,
        }
    }
}

/// The failover times, scaled: they still rise.
fn fast(usual: detector::Timings) -> Option<detector::Timings> {
    let [beat, suspect, fail, replace] =
        [usual.heartbeat(), usual.suspect_after(), usual.fail_after(), usual.replace_after()];
    detector::Timings::new(beat / SCALE, suspect / SCALE, fail / SCALE, replace / SCALE).ok()
}
