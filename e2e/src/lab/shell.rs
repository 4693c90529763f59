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

/// Says why a test checks nothing here, where it may.
#[expect(clippy::print_stderr, reason = "whoever reads the report must know")]
pub(super) fn skipped(why: &anyhow::Error) -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("continuous integration skips nothing: {why:#}");
    }
    eprintln!("skipped: {why:#}");
    Ok(())
}
