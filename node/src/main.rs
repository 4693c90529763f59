//! The DeFS storage node.

mod admin;
mod args;
mod arrange;
mod data_folder;
mod enrolment;
mod fsck;
mod hand_over;
mod membership;
mod metrics;
mod place;
mod run;
mod secret_file;
mod status_port;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;

use std::process::ExitCode;

use args::Asked;

fn main() -> ExitCode {
    let done = args::parse().and_then(|asked| match asked {
        Asked::Serve(settings) => run::run(settings).map(|()| ExitCode::SUCCESS),
        Asked::HandOver(settings) => hand_over::run(&settings).map(|()| ExitCode::SUCCESS),
        Asked::Fsck { settings, repair } => {
            fsck::run(&settings, repair).map(|verdict| ExitCode::from(verdict as u8))
        }
    });
    done.unwrap_or_else(|error| fail(&error))
}

#[expect(clippy::print_stderr, reason = "the last word of a process, also when logging failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("defs-node: {error:#}");
    ExitCode::FAILURE
}
