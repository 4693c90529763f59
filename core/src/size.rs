//! Byte counts with units, as people write them: `64Mi`, `1.5GiB`, `4096`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "SizeInput", into = "String")]
pub struct Size(pub u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a size: write a number and a unit, such as 512Ki, 64Mi, 1.5Gi or 2GB")]
pub struct NotASize(String);

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1000 * 1000),
    ("mb", 1000 * 1000),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1000 * 1000 * 1000),
    ("gb", 1000 * 1000 * 1000),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1000 * 1000 * 1000 * 1000),
    ("tb", 1000 * 1000 * 1000 * 1000),
    ("ti", 1 << 40),
    ("tib", 1 << 40),
];

impl Size {
    /// `count` KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// `count` GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refused = || NotASize(text.chars().take(40).collect());
        let trimmed = text.trim();
        let split = trimmed
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(refused)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().ok().ok_or_else(refused)?;
        let bytes = whole.checked_mul(factor).ok_or_else(refused)?;
        bytes
            .checked_add(fraction_of(fraction, factor).ok_or_else(refused)?)
            .map(Self)
            .ok_or_else(refused)
    }
}

/// `0.fraction` of `factor`, rounded down; exact, without floating point.
fn fraction_of(fraction: &str, factor: u64) -> Option<u64> {
    if fraction.is_empty() {
        return Some(0);
    }
    // Nine digits are below a byte for every unit up to GiB, and enough for TiB.
    let digits = fraction.get(..fraction.len().min(9))?;
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let value: u128 = digits.parse().ok()?;
    u64::try_from(u128::from(factor) * value / scale).ok()
}

impl fmt::Display for Size {
    /// The largest binary unit that divides the size, so that the text reads back equal.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in
            [("Ti", 1_u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
        {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(out, "{}{unit}", self.0 / factor);
            }
        }
        write!(out, "{}", self.0)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// What a settings file may hold: a bare number or a text with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeInput {
    Number(u64),
    Text(String),
}

impl TryFrom<SizeInput> for Size {
    type Error = NotASize;
    fn try_from(input: SizeInput) -> Result<Self, NotASize> {
        match input {
            SizeInput::Number(bytes) => Ok(Self(bytes)),
            SizeInput::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_mean_what_people_expect() {
        assert_eq!("64Mi".parse(), Ok(Size::mib(64)));
        assert_eq!("1.5 GiB".parse(), Ok(Size::mib(1536)));
        assert_eq!("2GB".parse(), Ok(Size(2_000_000_000)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for text in ["", "Mi", "-1", "1e3", "12parsecs", "99999999999999999999", "20000000Ti"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_size_reads_back_from_its_text(bytes: u64) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
