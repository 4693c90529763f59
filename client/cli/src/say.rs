//! What the command says: text with progress bars on a terminal, plain text in a pipe, one
//! JSON object a line where programs listen.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use defs_client::{Phase, Progress, Watcher};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;

/// How often a progress event is written for programs.
const EVENT_EVERY: Duration = Duration::from_millis(500);

/// How to say things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    json: bool,
}

impl Say {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs listen.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// An event: the object for programs, the text for people. A closed pipe ends nothing.
    pub(crate) fn event(self, object: &Value, text: impl FnOnce() -> String) {
        let line = if self.json { object.to_string() } else { text() };
        if !line.is_empty() {
            write_line(&line);
        }
    }

    /// Something for people only, beside the output.
    #[expect(clippy::print_stderr, reason = "what people read beside the output")]
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// The last word of a command that failed.
    #[expect(clippy::print_stderr, reason = "what people read beside the output")]
    pub(crate) fn failed(self, error: &anyhow::Error) {
        if self.json {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            write_line(&json!({ "event": "error", "causes": causes }).to_string());
        } else {
            eprintln!("defs: {}", told(error));
        }
    }

    /// Shows how far `name` is until the operation's watcher is gone.
    pub(crate) fn watch(
        self,
        verb: &'static str,
        name: &str,
    ) -> (Watcher, impl Future<Output = ()> + use<>) {
        let (watcher, progress) = Watcher::new();
        let name = name.to_owned();
        let shows = async move {
            if self.json {
                tell_events(verb, &name, progress).await;
            } else if std::io::stderr().is_terminal() {
                draw_bar(verb, &name, progress).await;
            }
        };
        (watcher, shows)
    }
}

/// The error and its causes, each said once.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn write_line(line: &str) {
    // Nobody reads any more: the exit code still tells how it went.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

async fn tell_events(verb: &str, name: &str, mut progress: watch::Receiver<Progress>) {
    let tell = |Progress { phase, done, total }| {
        let event = json!({
            "event": "progress", "operation": verb, "name": name,
            "phase": phase_name(phase), "done": done, "total": total,
        });
        write_line(&event.to_string());
    };
    while progress.changed().await.is_ok() {
        let now = *progress.borrow_and_update();
        tell(now);
        // The next event comes in a while, and the last one at once: a command lasts as
        // long as its work.
        let done = progress.wait_for(|next| next.phase == Phase::Done);
        match tokio::time::timeout(EVENT_EVERY, done).await {
            Ok(Ok(last)) if now.phase != Phase::Done => return tell(*last),
            Ok(_) => return,
            Err(_elapsed) => {}
        }
    }
}

async fn draw_bar(verb: &str, name: &str, mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::no_length();
    let template =
        "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    while progress.changed().await.is_ok() {
        let Progress { phase, done, total } = *progress.borrow_and_update();
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
        bar.set_message(match phase {
            Phase::Committing => format!("committing {name}"),
            Phase::Preparing | Phase::Moving | Phase::Done => format!("{verb} {name}"),
        });
    }
    bar.finish_and_clear();
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::Moving => "moving",
        Phase::Committing => "committing",
        Phase::Done => "done",
    }
}

/// Bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Rows under headings, each column as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(missing))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(headings.to_vec());
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows =
            vec![vec!["a".to_owned(), "b".to_owned()], vec!["ccc".to_owned(), "ü".to_owned()]];
        assert_eq!(table(&["X", "YY"], &rows), "X    YY\na    b\nccc  ü");
    }

    #[test]
    fn a_cause_that_only_repeats_is_left_out() {
        let cause = anyhow::anyhow!("no room");
        assert_eq!(told(&cause.context("failed to put x")), "failed to put x: no room");
        let transparent = anyhow::anyhow!("the disk is full").context("the disk is full");
        assert_eq!(told(&transparent), "the disk is full");
    }
}
