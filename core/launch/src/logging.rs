//! Where log lines go, and traces and metrics beside them. Lines are written before the program
//! goes on: after an abort the last one is there, and no queue of lines can grow.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use defs_core::settings::{LogFormat, LogLevel, Settings};
use defs_otel::{Asked, Export, Process};
use defs_telemetry::spans::TARGET;
use thiserror::Error;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use crate::settings::host_name;

/// Files of the log that are kept, one a day: two weeks to look back on.
const LOG_FILES_MAX: usize = 14;

/// Why logging could not start.
#[derive(Debug, Error)]
pub enum LogError {
    /// `logDir` can't be made.
    #[error("failed to make the log folder {folder}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// No file can be made in `logDir`.
    #[error("failed to open a log file in {folder}")]
    File {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        source: InitError,
    },
    /// Logging had been started before.
    #[error("failed to start logging")]
    Started(#[from] TryInitError),
}

/// Whether a process keeps a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// It does.
    Kept,
    /// It says what it has to say in another way.
    None,
}

/// Starts logging as `settings` say: to the standard error stream, or to a file a day
/// named `PROGRAM.DATE.log`. The process's own crates log at `logLevel`, all others what
/// is wrong only.
pub fn start(settings: &Settings, program: &str) -> Result<(), LogError> {
    tracing_subscriber::registry().with(log(settings, program)?).try_init()?;
    Ok(())
}

/// The same, and records traces if the standard `OTEL_…` variables of `environment` name a
/// receiver. What comes back is to be [started](Export::start) in a runtime, and to be
/// [ended](defs_otel::Exporting::end) before the process ends; nothing where nothing is exported.
pub fn start_with_traces(
    settings: &Settings,
    program: &'static str,
    lines: Lines,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Option<Export>, LogError> {
    let version = env!("CARGO_PKG_VERSION");
    let process = Process { program, version, host: host_name() };
    let Asked { export, complaints } = defs_otel::asked(process, environment);
    let mut layers: Vec<_> = export.as_ref().and_then(Export::layer).into_iter().collect();
    if lines == Lines::Kept {
        layers.push(log(settings, program)?);
    }
    if !layers.is_empty() {
        tracing_subscriber::registry().with(layers).try_init()?;
    }
    for complaint in complaints {
        tracing::warn!("{complaint}");
    }
    Ok(export)
}

type AnyLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// What writes lines, where they are wanted.
fn log(settings: &Settings, program: &str) -> Result<AnyLayer, LogError> {
    let lines = match &settings.log_dir {
        None => lines(settings.log_format, io::stderr().is_terminal(), io::stderr),
        Some(folder) => lines(settings.log_format, false, files(folder, program)?),
    };
    Ok(lines.with_filter(filter(settings.log_level)).boxed())
}

fn filter(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let others = if level == LogLevel::Trace { Level::DEBUG } else { ours.min(Level::WARN) };
    let mut targets = Targets::new()
        .with_default(LevelFilter::from_level(others))
        .with_target("defs", ours)
        // Lines say what happened by themselves: spans are for those who collect traces.
        .with_target(TARGET, LevelFilter::OFF);
    if level != LogLevel::Trace {
        // Gossip that is said again and a hash table without company are no news.
        for chatty in ["libp2p_gossipsub", "libp2p_kad"] {
            targets = targets.with_target(chatty, others.min(Level::ERROR));
        }
    }
    targets
}

fn files(folder: &Path, program: &str) -> Result<RollingFileAppender, LogError> {
    fs::create_dir_all(folder)
        .map_err(|source| LogError::Folder { folder: folder.to_owned(), source })?;
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(program)
        .filename_suffix("log")
        .max_log_files(LOG_FILES_MAX)
        .build(folder)
        .map_err(|source| LogError::File { folder: folder.to_owned(), source })
}

fn lines<W>(format: LogFormat, colours: bool, out: W) -> AnyLayer
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(out).with_ansi(colours);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tell` writes to files under these settings.
    fn logged(set: &[(&str, &str)], tell: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        for (name, value) in set {
            settings.set(name, value).unwrap();
        }
        let lines = lines(settings.log_format, false, files(folder.path(), "test").unwrap())
            .with_filter(filter(settings.log_level));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), tell);
        let mut files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let file = files.next().unwrap();
        assert_eq!(files.next(), None);
        fs::read_to_string(file).unwrap()
    }

    fn tell_everything() {
        tell_ours();
        tell_others();
    }

    fn tell_ours() {
        tracing::debug!(target: "defs_engine", "ours in detail");
        tracing::info!(target: "defs_engine", shard = 7, "ours");
    }

    fn tell_others() {
        tracing::info!(target: "libp2p_swarm", "chatter");
        tracing::warn!(target: "libp2p_swarm", "trouble");
    }

    #[test]
    fn our_lines_come_at_the_level_asked_for_and_others_only_warn() {
        let text = logged(&[], tell_everything);
        assert!(text.contains("ours shard=7") && text.contains("trouble"), "{text}");
        assert!(!text.contains("detail") && !text.contains("chatter"), "{text}");
    }

    #[test]
    fn spans_of_traces_are_no_part_of_any_line() {
        for level in ["info", "trace"] {
            let text = logged(&[("logLevel", level)], || {
                let span = defs_telemetry::spans::put();
                assert!(span.is_disabled());
                span.in_scope(tell_ours);
            });
            assert!(text.contains("ours") && !text.contains("defs.put"), "{text}");
        }
    }

    #[test]
    fn at_level_error_nobody_warns() {
        assert_eq!(logged(&[("logLevel", "error")], tell_everything), "");
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_on_top() {
        let text = logged(&[("logFormat", "json"), ("logLevel", "debug")], tell_everything);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with('{') && lines[1].ends_with('}'));
        assert!(lines[1].contains(r#""shard":7"#) && lines[1].contains(r#""message":"ours""#));
    }

    #[test]
    fn a_log_folder_that_cant_be_made_is_named() {
        let mut settings = Settings::default();
        settings.set("logDir", "/dev/null/logs").unwrap();
        assert_eq!(
            start(&settings, "test").unwrap_err().to_string(),
            "failed to make the log folder /dev/null/logs"
        );
    }
}
