//! Commands of the system, and words about those that are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Runs a command whose words have no spaces in them.
pub(super) fn run(line: &str) -> Result<()> {
    let words: Vec<_> = line.split_whitespace().collect();
    told_by(&words).map(drop)
}

/// What a command says that succeeds.
pub(super) fn told_by(words: &[&str]) -> Result<String> {
    let line = words.join(" ");
    let (name, args) = words.split_first().context("a command")?;
    let ran = Command::new(name).args(args).output();
    let ran = ran.with_context(|| format!("failed to run {line}"))?;
    if !ran.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// A program, ready to run in a network namespace.
pub(crate) fn within(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// What a kernel says of what it doesn't do for anybody.
const REFUSED: [&str; 2] = ["Operation not permitted", "not supported"];

/// Says why a test checks nothing here, where it may: in continuous integration only where
/// the machine itself refuses it.
#[expect(clippy::print_stderr, reason = "whoever reads the report must know")]
pub(super) fn skipped(why: &anyhow::Error) -> Result<()> {
    let text = format!("{why:#}");
    let is_refused = REFUSED.iter().any(|refused| text.contains(refused));
    if std::env::var_os("CI").is_some() && !is_refused {
        bail!("continuous integration skips nothing: {text}");
    }
    eprintln!("skipped: {text}");
    Ok(())
}
