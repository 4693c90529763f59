//! Why a setting is refused.

use thiserror::Error;

use super::table::{Setting, table};

/// The most bytes of a refused value or name that an error repeats.
const SHOWN_MAX: usize = 80;

/// A name further than this from every setting gets no suggestion.
const DISTANCE_MAX: usize = 4;

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// The value is not of the setting's kind or outside its bounds.
    #[error("{name} is `{value}`, allowed is {bounds}")]
    OutOfBounds {
        /// The setting.
        name: &'static str,
        /// What it was set to, cut to 80 characters.
        value: String,
        /// What it may be set to.
        bounds: String,
    },
    /// No setting has this name.
    #[error("there is no setting `{name}`{}", suggestion(*nearest))]
    Unknown {
        /// The name, cut to 80 characters.
        name: String,
        /// The setting that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Two values don't go together.
    #[error("{first} and {second} don't go together: {rule}")]
    Conflict {
        /// One setting and its value.
        first: String,
        /// The other setting and its value.
        second: String,
        /// What must hold.
        rule: &'static str,
    },
}

impl SettingError {
    pub(super) fn unknown(name: &str) -> Self {
        Self::Unknown { name: shown(name), nearest: nearest(name) }
    }

    pub(super) fn out_of_bounds(setting: &Setting, text: &str) -> Self {
        Self::OutOfBounds { name: setting.name, value: shown(text), bounds: setting.bounds() }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

/// The setting whose name is the fewest edits away from `name`, whatever the case and
/// whether words are parted by capitals, dashes or underscores.
fn nearest(name: &str) -> Option<&'static str> {
    let plain = |name: &str| -> Vec<char> {
        shown(name).to_lowercase().chars().filter(|letter| letter.is_alphanumeric()).collect()
    };
    let wanted = plain(name);
    table()
        .iter()
        .map(|setting| (edits(&wanted, &plain(setting.name)), setting.name))
        .min()
        .filter(|(edits, name)| *edits <= DISTANCE_MAX && *edits < name.len())
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements that turn `from` into `to` (Levenshtein).
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
