//! Each command in a file of its own.

mod explain;
mod files;
mod get;
mod key;
mod local;
mod network;
mod node;
mod pairs;
mod put;
mod stat;
mod tasks;
mod why;

use anyhow::Result;
use clap::CommandFactory as _;
use defs_core::settings::{LogLevel, Settings};
use defs_launch::logging::{self, Lines};
use defs_launch::{Export, Exporting, SystemClock, environment};
use defs_telemetry::{ClientMetrics, ExportMetrics, Registry};

use crate::args::{Args, Command};
use crate::home::Home;
use crate::open;
use crate::say::Say;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) args: Args,
    pub(crate) home: Home,
    pub(crate) say: Say,
    pub(crate) metrics: ClientMetrics,
}

pub(crate) fn run(args: Args, say: Say) -> Result<()> {
    let settings = open::settings(&args)?;
    let export = logging::start_with_traces(&settings, "defs", lines(&settings), environment())?;
    let home = Home::find(environment(), &settings.data_dir)?;
    let mut registry = Registry::new();
    let metrics = ClientMetrics::register(&mut registry);
    let context = Context { args, home, say, metrics };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let exporting = export.map(|export| begin(export, registry));
        let outcome = dispatch(&context).await;
        if let Some(exporting) = exporting {
            exporting.end().await;
        }
        outcome
    });
    // A read from the terminal may never end; nothing that matters runs any more.
    runtime.shutdown_background();
    outcome
}

/// A log is kept by those who ask for one: people read what a command says instead.
fn lines(settings: &Settings) -> Lines {
    let is_asked = settings.log_dir.is_some() || settings.log_level >= LogLevel::Debug;
    if is_asked { Lines::Kept } else { Lines::None }
}

/// Begins to export what the command records and counts.
fn begin(export: Export, mut registry: Registry) -> Exporting {
    let counts = ExportMetrics::register(&mut registry);
    export.start(counts, SystemClock::new(), move || registry.read())
}

async fn dispatch(context: &Context) -> Result<()> {
    match &context.args.command {
        Command::Up(up) => local::up(context, up).await,
        Command::Down => local::down(context).await,
        Command::Status => local::status(context).await,
        Command::Key { command } => key::run(context, command),
        Command::Put(put) => put::run(context, put).await,
        Command::Get(get) => get::run(context, get).await,
        Command::Ls { prefix } => files::list(context, prefix.as_deref()).await,
        Command::Stat { name, ask, ticket } => stat::run(context, name, *ask, *ticket).await,
        Command::Why { name } => why::run(context, name).await,
        Command::Node { command } => node::run(context, command).await,
        Command::Rm { names } => files::remove(context, names).await,
        Command::Nodes { explain: Some(id) } => explain::run(context, id).await,
        Command::Nodes { explain: None } => network::nodes(context).await,
        Command::Pairs { plan: true, .. } => pairs::plan(context).await,
        Command::Pairs { apply: true, .. } => pairs::apply(context).await,
        Command::Pairs { auto: true, every, .. } => pairs::auto(context, *every).await,
        Command::Pairs { .. } => network::pairs(context).await,
        Command::Tasks { command } => tasks::run(context, command.as_ref()).await,
        Command::Settings => {
            let page = defs_core::settings::markdown();
            context
                .say
                .event(&serde_json::json!({ "event": "settings", "markdown": page }), || {
                    page.clone()
                });
            Ok(())
        }
        Command::Completions { shell } => {
            let mut command = Args::command();
            clap_complete::generate(*shell, &mut command, "defs", &mut std::io::stdout());
            Ok(())
        }
    }
}
