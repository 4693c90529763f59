//! `kubectl defs`: how DeFS networks on Kubernetes are, why, and what is done about it. It reads
//! the objects alone, so it works as well while no operator runs.

mod access;
mod api;
mod args;
mod command;
mod conditions;
mod events;
#[cfg(test)]
mod example;
mod exit;
mod figures;
mod find;
mod leader;
mod migration;
mod say;
mod seen;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let say = say::Say::new(args.output);
    match command::run(&args, say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say.failed(&error);
            exit::code(&error)
        }
    }
}
