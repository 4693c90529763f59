//! Each command in a file of its own.

mod check;
mod node;
mod pair;
mod plan;
mod status;
mod tree;
mod why;

use anyhow::{Context as _, Result};

use crate::access::{self, Access};
use crate::args::{Args, Command};
use crate::say::Say;

pub(crate) use check::CheckFailed;

pub(crate) fn run(args: &Args, say: Say) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let access = access::open(&args.target).await?;
        dispatch(&access, &args.command, say).await
    })
}

async fn dispatch(access: &Access, command: &Command, say: Say) -> Result<()> {
    match command {
        Command::Status { cluster } => status::run(access, cluster.as_deref(), say).await,
        Command::Tree { cluster } => tree::run(access, cluster.as_deref(), say).await,
        Command::Why { name } => why::run(access, name, say).await,
        Command::Pair { command } => pair::run(access, command.as_ref(), say).await,
        Command::Node { command } => node::run(access, command.as_ref(), say).await,
        Command::Plan { cluster } => plan::show(access, cluster.as_deref(), say).await,
        Command::Approve { cluster } => plan::approve(access, cluster, say).await,
        Command::Check(check) => Box::pin(check::run(access, check, say)).await,
    }
}
