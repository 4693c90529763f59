//! The kinds of settings: how each is read from text, and what it may be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Settings;
use super::choice::{Choice, LogFormat, LogLevel, Pairing};
use crate::mode::{Durability, Mode};
use crate::network::{ADDRESS_MAX, ADDRESSES_MAX, LABEL_MAX};
use crate::size::Size;

/// Where a setting is kept.
type Field<T> = fn(&mut Settings) -> &mut T;

/// What a setting holds, its bounds and where it is kept.
pub(super) enum Kind {
    Mode(Field<Mode>),
    Durability(Field<Durability>),
    Level(Field<LogLevel>),
    Format(Field<LogFormat>),
    Pairing(Field<Pairing>),
    Switch(Field<bool>),
    Count { unit: &'static str, min: u32, max: u32, field: Field<u32> },
    AutoCount { unit: &'static str, min: u32, max: u32, field: Field<Option<u32>> },
    Ratio(Field<u32>),
    Port(Field<u16>),
    Ip(Field<IpAddr>),
    Size { min: Size, max: Size, field: Field<Size> },
    AutoSize { min: Size, max: Size, field: Field<Option<Size>> },
    Time { min: Duration, max: Duration, field: Field<Duration> },
    AutoTime { min: Duration, max: Duration, field: Field<Option<Duration>> },
    Folder(Field<PathBuf>),
    OptionalPath(Field<Option<PathBuf>>),
    Label(Field<String>),
    Addresses(Field<Vec<String>>),
}

/// The word for "choose for me".
const AUTO: &str = "auto";

impl Kind {
    /// Writes what `text` says to the setting's place, unless it isn't allowed.
    pub(super) fn assign(&self, settings: &mut Settings, text: &str) -> Option<()> {
        match self {
            Self::Mode(field) => *field(settings) = text.parse().ok()?,
            Self::Durability(field) => *field(settings) = text.parse().ok()?,
            Self::Level(field) => *field(settings) = LogLevel::of(text)?,
            Self::Format(field) => *field(settings) = LogFormat::of(text)?,
            Self::Pairing(field) => *field(settings) = Pairing::of(text)?,
            Self::Switch(field) => *field(settings) = bool::of(text)?,
            Self::Count { min, max, field, .. } => *field(settings) = within(text, min, max)?,
            Self::AutoCount { min, max, field, .. } => {
                *field(settings) = unless_auto(text, |text| within(text, min, max))?;
            }
            Self::Ratio(field) => *field(settings) = permille(text)?,
            Self::Port(field) => *field(settings) = text.parse().ok()?,
            Self::Ip(field) => *field(settings) = text.parse().ok()?,
            Self::Size { min, max, field } => *field(settings) = within(text, min, max)?,
            Self::AutoSize { min, max, field } => {
                *field(settings) = unless_auto(text, |text| within(text, min, max))?;
            }
            Self::Time { min, max, field } => {
                *field(settings) = time_within(text, min, max)?;
            }
            Self::AutoTime { min, max, field } => {
                *field(settings) = unless_auto(text, |text| time_within(text, min, max))?;
            }
            Self::Folder(field) => *field(settings) = path(text)?,
            Self::OptionalPath(field) => *field(settings) = path(text),
            Self::Label(field) => *field(settings) = label(text)?,
            Self::Addresses(field) => *field(settings) = addresses(text)?,
        }
        Some(())
    }

    /// What the numbers count.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Count { unit, .. } | Self::AutoCount { unit, .. } => unit,
            Self::Size { .. } | Self::AutoSize { .. } => "bytes",
            Self::Time { .. } | Self::AutoTime { .. } => "time",
            Self::Ratio(_) => "ratio",
            Self::Durability(_) => "pairs",
            Self::Mode(_)
            | Self::Level(_)
            | Self::Format(_)
            | Self::Pairing(_)
            | Self::Switch(_)
            | Self::Port(_)
            | Self::Ip(_)
            | Self::Folder(_)
            | Self::OptionalPath(_)
            | Self::Label(_)
            | Self::Addresses(_) => "",
        }
    }

    /// What is allowed, for people.
    pub(super) fn bounds(&self) -> String {
        match self {
            Self::Mode(_) => "auto, file, slice, rs-proportion, rs-size".to_owned(),
            Self::Durability(_) => "pair, or 1 to 100".to_owned(),
            Self::Level(_) => LogLevel::words(),
            Self::Format(_) => LogFormat::words(),
            Self::Pairing(_) => Pairing::words(),
            Self::Switch(_) => bool::words(),
            Self::Count { min, max, .. } => format!("{min} to {max}"),
            Self::AutoCount { min, max, .. } => format!("{AUTO}, or {min} to {max}"),
            Self::Ratio(_) => "0 to 1 in steps of 0.001".to_owned(),
            Self::Port(_) => "0 to 65535".to_owned(),
            Self::Ip(_) => "an IPv4 or IPv6 address".to_owned(),
            Self::Size { min, max, .. } => format!("{min} to {max}"),
            Self::AutoSize { min, max, .. } => format!("{AUTO}, or {min} to {max}"),
            Self::Time { min, max, .. } => format!("{min:?} to {max:?}"),
            Self::AutoTime { min, max, .. } => format!("{AUTO}, or {min:?} to {max:?}"),
            Self::Folder(_) => "a path".to_owned(),
            Self::OptionalPath(_) => "a path, or nothing".to_owned(),
            Self::Label(_) => {
                format!("at most {LABEL_MAX} letters, digits, dots, dashes and underscores")
            }
            Self::Addresses(_) => format!(
                "at most {ADDRESSES_MAX} multiaddresses of at most {ADDRESS_MAX} bytes, \
                 with commas between"
            ),
        }
    }
}

fn within<T: FromStr + PartialOrd>(text: &str, min: &T, max: &T) -> Option<T> {
    text.parse().ok().filter(|value| (min..=max).contains(&value))
}

fn unless_auto<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.eq_ignore_ascii_case(AUTO) { Some(None) } else { read(text).map(Some) }
}

/// A decimal number from 0 to 1 with at most three places, in thousandths.
fn permille(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u32 = format!("{fraction:0<3}").parse().ok()?;
    let value = whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)?;
    Some(value).filter(|value| *value <= 1000)
}

/// Reads a time as settings write it, a whole number and a unit: `250ms`, `5s`, `10m`, `1h`.
#[must_use]
pub fn time(text: &str) -> Option<Duration> {
    let split = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(milliseconds).map(Duration::from_millis)
}

fn time_within(text: &str, min: &Duration, max: &Duration) -> Option<Duration> {
    time(text).filter(|time| (min..=max).contains(&time))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn label(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (text.len() <= LABEL_MAX && text.bytes().all(allowed)).then(|| text.to_owned())
}

fn addresses(text: &str) -> Option<Vec<String>> {
    let addresses: Vec<_> =
        text.split(',').map(str::trim).filter(|address| !address.is_empty()).collect();
    let allowed = |address: &&str| address.starts_with('/') && address.len() <= ADDRESS_MAX;
    (addresses.len() <= ADDRESSES_MAX && addresses.iter().all(allowed))
        .then(|| addresses.into_iter().map(str::to_owned).collect())
}
