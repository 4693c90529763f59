//! The `defs` command: the owner's files in a DeFS network, and a network on this machine
//! to try it with.

mod admin;
mod args;
mod cluster;
mod command;
mod exit;
mod home;
mod open;
mod say;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let said = say::Say::new(args.json);
    match command::run(args, said) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            said.failed(&error);
            exit::code(&error)
        }
    }
}
