//! How far an operation is, for whoever watches it.

use tokio::sync::watch;

/// What an operation does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Looks at file, network and journal.
    #[default]
    Preparing,
    /// Moves bytes.
    Moving,
    /// Writes the manifest and tells the holders to keep the shards.
    Committing,
    /// All is done.
    Done,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What it does now.
    pub phase: Phase,
    /// Bytes of the file that are stored, or written.
    pub done: u64,
    /// Bytes of the file, where that is known.
    pub total: Option<u64>,
}

/// Tells progress to nobody or to those who hold the receivers.
#[derive(Debug, Clone, Default)]
pub struct Watcher(Option<watch::Sender<Progress>>);

impl Watcher {
    /// A watcher, and what to watch.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn begins(&self, done: u64, total: Option<u64>) {
        self.set(|now| *now = Progress { phase: Phase::Moving, done, total });
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.set(|now| now.done += bytes);
    }

    pub(crate) fn enters(&self, phase: Phase) {
        self.set(|now| now.phase = phase);
    }

    fn set(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(sender) = &self.0 {
            sender.send_modify(change);
        }
    }
}
