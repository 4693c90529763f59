//! The DeFS storage node.

mod admin;
mod args;
mod data_folder;
mod membership;
mod run;
mod secret_file;
mod status_port;

use std::process::ExitCode;

fn main() -> ExitCode {
    let settings = match args::parse() {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    match run::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a process, also when logging failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("defs-node: {error:#}");
    ExitCode::FAILURE
}
