//! Whether a node was there whenever it was looked for, and how often it came back.

use std::time::Duration;

use defs_core::format::{Format, FormatError, Reader, Writer};

use crate::detector::Returns;

/// Time watched, time away, and returns. Time in which nobody looked counts as neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    watched: Duration,
    away: Duration,
    is_away: bool,
    returns: Returns,
}

impl Presence {
    /// The node was heard or not, and `passed` since it was last looked for.
    pub fn look(&mut self, is_heard: bool, passed: Duration) {
        self.watched = self.watched.saturating_add(passed);
        if !is_heard {
            self.away = self.away.saturating_add(passed);
        } else if self.is_away {
            self.returns.count(self.watched);
        }
        self.is_away = !is_heard;
    }

    /// How long it was looked for.
    #[must_use]
    pub fn watched(&self) -> Duration {
        self.watched
    }

    /// How long of that it was not heard.
    #[must_use]
    pub fn away(&self) -> Duration {
        self.away
    }

    /// Its returns of late, in thousandths: each counts half as much after ten minutes.
    #[must_use]
    pub fn flaps_milli(&self) -> u32 {
        self.returns.milli_at(self.watched)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Format for Presence {
    const NAME: &'static str = "presence";
    fn write(&self, out: &mut Writer) {
        out.u64(millis(self.watched));
        out.u64(millis(self.away));
        out.u8(self.is_away.into());
        self.returns.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let watched = Duration::from_millis(input.u64("watched")?);
        let away = Duration::from_millis(input.u64("away")?);
        let is_away = match input.u8("is away")? {
            0 => false,
            1 => true,
            _ => return Err(FormatError::Invalid("is away")),
        };
        let returns = Returns::read(input)?;
        if away > watched {
            return Err(FormatError::Invalid("away"));
        }
        Ok(Self { watched, away, is_away, returns })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_return_counts_when_the_node_is_heard_again_and_fades() {
        let mut presence = Presence::default();
        let second = Duration::from_secs(1);
        for is_heard in [true, false, false, true] {
            presence.look(is_heard, second);
        }
        assert_eq!([presence.watched(), presence.away()], [4 * second, 2 * second]);
        assert_eq!(presence.flaps_milli(), 1000);
        presence.look(true, Duration::from_secs(600));
        assert_eq!(presence.flaps_milli(), 500);
    }

    proptest! {
        #[test]
        fn nobody_is_away_for_longer_than_watched_and_all_reads_back(
            looks in prop::collection::vec((any::<bool>(), 0_u64..100_000), 0..50),
        ) {
            let mut presence = Presence::default();
            for (is_heard, passed) in looks {
                presence.look(is_heard, Duration::from_millis(passed));
            }
            prop_assert!(presence.away() <= presence.watched());
            prop_assert_eq!(Presence::decode(&presence.encode()), Ok(presence));
        }
    }
}
