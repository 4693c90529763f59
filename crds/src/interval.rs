//! A time span as objects carry it: `10m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use defs_core::settings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A whole number of milliseconds, seconds, minutes or hours: what both our settings and
/// CEL's `duration()` read, so no `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(Duration);

/// Why a text is not an interval.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a time span: write a whole number and a unit, such as 250ms, 5s, 10m or 1h")]
pub struct NotAnInterval(String);

impl Interval {
    /// How it is written. Six digits of hours are a century, and fit Go's duration.
    pub(crate) const PATTERN: &str = "^[0-9]{1,6}(ms|s|m|h)$";
    /// The longest text of the pattern.
    const LENGTH_MAX: usize = 8;

    /// `seconds`.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span of time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = NotAnInterval;
    fn from_str(text: &str) -> Result<Self, NotAnInterval> {
        let span =
            settings::time(text).ok_or_else(|| NotAnInterval(text.chars().take(40).collect()));
        span.map(Self)
    }
}

impl TryFrom<String> for Interval {
    type Error = NotAnInterval;
    fn try_from(text: String) -> Result<Self, NotAnInterval> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(span: Interval) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Interval {
    /// The largest unit that divides the span, so that the text reads back equal.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let (count, unit) = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, factor)| milliseconds > 0 && milliseconds.is_multiple_of(*factor))
            .map_or((milliseconds, "ms"), |(unit, factor)| (milliseconds / factor, unit));
        write!(out, "{count}{unit}")
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Self::PATTERN,
            "maxLength": Self::LENGTH_MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_in_its_largest_whole_unit() {
        for (given, written) in [
            ("0s", "0ms"),
            ("250ms", "250ms"),
            ("2000ms", "2s"),
            ("90s", "90s"),
            ("600s", "10m"),
            ("48h", "48h"),
        ] {
            let span: Interval = given.parse().unwrap();
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse(), Ok(span));
        }
    }

    #[test]
    fn what_settings_do_not_read_is_refused_with_examples() {
        let refused = "1h30m".parse::<Interval>().unwrap_err();
        assert!(refused.to_string().contains("such as 250ms"), "{refused}");
        assert!("10".parse::<Interval>().is_err());
    }
}
