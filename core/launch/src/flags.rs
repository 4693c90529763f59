//! The settings as flags of a command line, made from their table.

use clap::{Arg, ArgMatches};
use defs_core::settings::{Setting, Side, table};

/// A flag for each setting that means something to `side` or to every process. A switch
/// without a value is on.
pub fn arguments(side: Side) -> impl Iterator<Item = Arg> {
    of(side).map(|setting| {
        let argument = Arg::new(setting.name)
            .long(setting.flag)
            .value_name(value_name(setting))
            .help(help(setting))
            .help_heading("Settings")
            .global(true);
        if setting.is_switch() {
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        } else {
            argument.num_args(1)
        }
    })
}

/// The (name, value) of each setting that was given as a flag.
#[must_use]
pub fn given(matches: &ArgMatches, side: Side) -> Vec<(String, String)> {
    let value = |setting: &Setting| {
        // `try_`: a command may leave out some of the flags.
        matches.try_get_one::<String>(setting.name).ok().flatten().cloned()
    };
    of(side).filter_map(|setting| Some((setting.name.to_owned(), value(setting)?))).collect()
}

fn of(side: Side) -> impl Iterator<Item = &'static Setting> {
    table().iter().filter(move |setting| setting.side == side || setting.side == Side::Both)
}

fn value_name(setting: &Setting) -> &'static str {
    match setting.unit() {
        _ if setting.is_path() => "PATH",
        "" => "VALUE",
        "bytes" => "SIZE",
        "time" => "TIME",
        _ => "NUMBER",
    }
}

fn help(setting: &Setting) -> String {
    let sentence = setting.effect.trim_end_matches('.');
    match setting.default {
        "" => format!("{sentence} [{}]", setting.bounds()),
        default => format!("{sentence} [default {default}; {}]", setting.bounds()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn given_in(line: &[&str], side: Side) -> Vec<(String, String)> {
        let command = Command::new("test").args(arguments(side));
        given(&command.try_get_matches_from(line).unwrap(), side)
    }

    #[test]
    fn flags_come_back_under_the_settings_names() {
        assert_eq!(
            given_in(&["test", "--data-shards", "4", "--mdns", "--log-dir=/x"], Side::Client),
            [("dataShards", "4"), ("mdns", "true"), ("logDir", "/x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(
            given_in(&["test", "--mdns=off"], Side::Node),
            [("mdns".to_owned(), "off".to_owned())]
        );
        assert_eq!(given_in(&["test"], Side::Node), []);
    }

    #[test]
    fn a_node_has_no_flags_of_the_owners_side() {
        let command = Command::new("test").args(arguments(Side::Node));
        assert!(command.try_get_matches_from(["test", "--data-shards", "4"]).is_err());
    }

    #[test]
    fn clap_finds_no_fault_with_the_flags() {
        Command::new("test").args(arguments(Side::Client)).debug_assert();
        Command::new("test").args(arguments(Side::Node)).debug_assert();
    }
}
