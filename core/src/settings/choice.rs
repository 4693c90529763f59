//! Settings that are one of a few words.

use std::fmt;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// What an operator must act on.
    Error,
    /// What may become an error.
    Warn,
    /// What a healthy process does now and then.
    Info,
    /// What each request does.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who decides which nodes are pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pairing {
    /// The nodes themselves.
    #[default]
    Own,
    /// Whoever holds the network's invite key. Nobody joins a pair otherwise, and no member is
    /// replaced.
    Assigned,
}

/// A value that is one of a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The value of `word`, in any case.
    fn of(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(word));
        known.map(|(value, _)| *value)
    }

    /// Every word, for people.
    fn words() -> String {
        let words: Vec<_> = Self::WORDS.iter().map(|(_, word)| *word).collect();
        words.join(", ")
    }

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| *word)
    }
}

impl Choice for LogLevel {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Error, "error"),
        (Self::Warn, "warn"),
        (Self::Info, "info"),
        (Self::Debug, "debug"),
        (Self::Trace, "trace"),
    ];
}

impl Choice for LogFormat {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Text, "text"), (Self::Json, "json")];
}

impl Choice for Pairing {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Own, "own"), (Self::Assigned, "assigned")];
}

impl Choice for bool {
    /// The first word of each value is the one that is shown.
    const WORDS: &'static [(Self, &'static str)] = &[
        (true, "true"),
        (false, "false"),
        (true, "yes"),
        (false, "no"),
        (true, "on"),
        (false, "off"),
        (true, "1"),
        (false, "0"),
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}
