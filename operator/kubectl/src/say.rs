//! What the command says: text for people, JSON for programs.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::args::Output;

/// How to say things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    output: Output,
}

impl Say {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    /// The answer of a command that has one: the object for programs, the text for people.
    pub(crate) fn answer(self, object: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        match self.output {
            Output::Json => write_line(&format!("{:#}", object())),
            Output::Table => write_line(&text()),
        }
    }

    /// One of several things that happen: one object a line for programs.
    pub(crate) fn event(self, object: &Value, text: impl FnOnce() -> String) {
        match self.output {
            Output::Json => write_line(&object.to_string()),
            Output::Table => write_line(&text()),
        }
    }

    /// The last word of a command that failed.
    #[expect(clippy::print_stderr, reason = "what people read beside the output")]
    pub(crate) fn failed(self, error: &anyhow::Error) {
        match self.output {
            Output::Json => {
                let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
                write_line(&json!({ "event": "error", "causes": causes }).to_string());
            }
            Output::Table => eprintln!("kubectl-defs: {}", told(error)),
        }
    }
}

/// An error and its causes, each said once.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn write_line(line: &str) {
    // Nobody reads any more: the exit code still tells how it went.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// Rows under headings, each column as wide as its widest cell. The headings come first.
pub(crate) fn lines(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(missing))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(headings.to_vec());
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(body).collect()
}

/// Rows under headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    lines(headings, rows).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows =
            vec![vec!["├─ a".to_owned(), "b".to_owned()], vec!["c".to_owned(), "ü".to_owned()]];
        assert_eq!(table(&["X", "YY"], &rows), "X     YY\n├─ a  b\nc     ü");
    }

    #[test]
    fn a_cause_that_only_repeats_is_left_out() {
        let error = anyhow::anyhow!("no room").context("failed to put x");
        assert_eq!(told(&error), "failed to put x: no room");
        let repeats = anyhow::anyhow!("no room").context("failed to put x: no room");
        assert_eq!(told(&repeats), "failed to put x: no room");
    }
}
