//! A part of one as objects carry it: `"0.4"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// 0 to 1 in steps of 0.001. A text, since floating point numbers don't survive all that
/// an object passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio {
    permille: u16,
}

/// Why a text is not a ratio.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a ratio: write 0 to 1 with at most three places, such as 0.4")]
pub struct NotARatio(String);

impl Ratio {
    /// How it is written.
    pub(crate) const PATTERN: &str = r"^(0(\.[0-9]{1,3})?|1(\.0{1,3})?)$";
    /// The longest text of the pattern.
    const LENGTH_MAX: usize = 5;
    /// One.
    const WHOLE: u16 = 1000;

    /// `permille` thousandths; more than a thousand are one.
    #[must_use]
    pub const fn permille(permille: u16) -> Self {
        Self { permille: if permille > Self::WHOLE { Self::WHOLE } else { permille } }
    }

    /// `0.400` as thousandths.
    fn read(text: &str) -> Option<u16> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = fraction.len() <= 3 && fraction.bytes().all(|digit| digit.is_ascii_digit());
        let fraction: u16 = digits.then(|| format!("{fraction:0<3}"))?.parse().ok()?;
        let permille =
            whole.parse::<u16>().ok()?.checked_mul(Self::WHOLE)?.checked_add(fraction)?;
        (permille <= Self::WHOLE).then_some(permille)
    }
}

impl FromStr for Ratio {
    type Err = NotARatio;
    fn from_str(text: &str) -> Result<Self, NotARatio> {
        let read = Self::read(text).ok_or_else(|| NotARatio(text.chars().take(40).collect()));
        read.map(Self::permille)
    }
}

impl TryFrom<String> for Ratio {
    type Error = NotARatio;
    fn try_from(text: String) -> Result<Self, NotARatio> {
        text.parse()
    }
}

impl From<Ratio> for String {
    fn from(ratio: Ratio) -> Self {
        ratio.to_string()
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.permille / Self::WHOLE, self.permille % Self::WHOLE);
        let text = format!("{whole}.{rest:03}");
        out.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
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
    fn a_ratio_reads_back_from_its_text() {
        for permille in 0..=1000 {
            let ratio = Ratio::permille(permille);
            assert_eq!(ratio.to_string().parse(), Ok(ratio));
        }
        assert_eq!(Ratio::permille(400).to_string(), "0.4");
        assert_eq!(Ratio::permille(0).to_string(), "0");
        assert_eq!(Ratio::permille(1000).to_string(), "1");
    }

    #[test]
    fn more_than_one_and_more_than_three_places_are_refused() {
        for text in ["1.001", "2", "0.1234", "-0.1", "", ".", "0.x"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }
}
