//! What came of the cases, for the table at the end of a run: one line each, in a file, since
//! every case is a process of its own.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Args;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

/// Says it to whoever looks on.
#[expect(clippy::print_stderr, reason = "how a run goes is for people to see")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Writes down that a case has begun: one that is killed has no other line.
pub(crate) fn begun(args: &Args, case: &str) -> Result<()> {
    append(&args.results, &["begun", case])
}

/// Writes down how a case ended.
pub(crate) fn ended(args: &Args, case: &str, outcome: Outcome, took: Duration) -> Result<()> {
    let outcome = match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
    };
    append(&args.results, &["ended", case, outcome, &took.as_secs().to_string()])
}

/// Tells a figure that a case has measured, and keeps it for the table.
pub fn figure(args: &Args, case: &str, what: &str, value: impl std::fmt::Display) -> Result<()> {
    say(&format!("figure: {what}: {value}"));
    append(&args.results, &["figure", case, &format!("{what}: {value}")])
}

fn append(path: &Path, cells: &[&str]) -> Result<()> {
    let line = cells.iter().map(|cell| cell.replace(['\t', '\n'], " ")).collect::<Vec<_>>();
    let write = || -> std::io::Result<()> {
        let mut file: File = match OpenOptions::new().create(true).append(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
                OpenOptions::new().create(true).append(true).open(path)?
            }
            opened => opened?,
        };
        file.write_all(format!("{}\n", line.join("\t")).as_bytes())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_is_one_line_of_cells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.tsv");
        append(&path, &["begun", "a-case"]).unwrap();
        append(&path, &["figure", "a-case", "two\nlines\tand a tab"]).unwrap();
        let said = std::fs::read_to_string(&path).unwrap();
        assert_eq!(said, "begun\ta-case\nfigure\ta-case\ttwo lines and a tab\n");
    }
}
