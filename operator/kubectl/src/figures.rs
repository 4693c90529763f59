//! Figures as people read them: bytes, spans of time, moments.

use defs_core::port::Clock as _;
use defs_launch::SystemClock;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

const UNITS: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Where a figure is not known.
pub(crate) const UNKNOWN: &str = "-";

/// `7.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let Some((unit, size)) = UNITS.iter().find(|(_, size)| count >= *size) else {
        return format!("{count} B");
    };
    let tenths = (u128::from(count) * 10 + u128::from(size / 2)) / u128::from(*size);
    match tenths % 10 {
        fraction if fraction > 0 && tenths < 1000 => format!("{}.{fraction} {unit}", tenths / 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

/// A span in its unit: two of one unit are said in the next smaller.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Seconds from `then` to `now`; none if clocks differ so much that it is yet to come.
pub(crate) fn seconds_since(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second().saturating_sub(then.as_second())).unwrap_or(0)
}

/// How long ago `then` was, without the word.
pub(crate) fn age(then: Option<&Time>, now: Timestamp) -> String {
    then.map_or_else(|| UNKNOWN.to_owned(), |then| span(seconds_since(then.0, now)))
}

/// A moment that people may compare with a log.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `12 %`.
pub(crate) fn percent(percent: Option<u8>) -> String {
    percent.map_or_else(|| UNKNOWN.to_owned(), |percent| format!("{percent} %"))
}

/// `1 pair`, `2 pairs`.
pub(crate) fn counted(count: impl Into<u64>, one: &str) -> String {
    let count = count.into();
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let millis = i64::try_from(SystemClock::new().now().0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_place_where_it_says_something() {
        for (count, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (8 << 20, "8 MiB"),
            (15 << 29, "7.5 GiB"),
            ((61 << 30) + 12_345, "61 GiB"),
            (250 << 30, "250 GiB"),
            ((123 << 30) + (1 << 29), "123 GiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(bytes(count), said);
        }
    }

    #[test]
    fn spans_change_their_unit_at_two_of_it() {
        for (seconds, said) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(span(seconds), said);
        }
    }

    #[test]
    fn what_is_yet_to_come_was_now() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(seconds_since(at(5), at(3)), 0);
        assert_eq!(seconds_since(at(3), at(5)), 2);
        assert_eq!(moment(at(0)), "1970-01-01 00:00:00 UTC");
    }
}
