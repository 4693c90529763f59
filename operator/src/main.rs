//! The DeFS operator.

use std::process::ExitCode;

use clap::Parser;
use defs_operator::run::{Options, run};

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a process, also when logging failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("defs-operator: {error:#}");
    ExitCode::FAILURE
}
