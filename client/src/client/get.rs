//! Gets files, by name or ticket, whole or in part.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::{Digest, NetworkId};
use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::states::TaskState;
use defs_telemetry::{spans, trace};
use thiserror::Error;

use super::put::whole_text;
use super::tasks::Stopped;
use super::{Client, ConnectError, Shared};
use crate::catalogue::CatalogueError;
use crate::download::{Download, DownloadError, Downloaded, Journalled, OpenFile, open_file};
use crate::journal::{Claim, DownloadPlan, JournalError, Plan, SliceRow, TaskId};
use crate::pipeline::harm::DamagedShard;
use crate::pipeline::sink::{Sink, SinkError, SliceWriter, partial_of};
use crate::ports::World;
use crate::progress::{Phase, Watcher};
use crate::records::Lookup;
use crate::ticket::Ticket;

/// How long a manifest may take to be brought up to date after a file was got.
const REWRITE_MAX: Duration = Duration::from_secs(10);

/// Which file is meant.
#[derive(Debug)]
pub enum FileRef {
    /// By its name in the owner's catalogue.
    Name(String),
    /// By its ticket.
    Ticket(Ticket),
}

/// How a file is to be got.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Which of its bytes; `None`: all.
    pub range: Option<Range<u64>>,
    /// Told how far it is.
    pub watcher: Watcher,
}

/// A file that was got.
#[derive(Debug)]
pub struct Got {
    /// The name under which it was put.
    pub name: String,
    /// Bytes of the whole file.
    pub length: u64,
    /// Bytes that were written now.
    pub written: u64,
    /// Digest of the whole content.
    pub digest: Digest,
    /// How its manifest was found.
    pub lookup: Lookup,
    /// Slices that parity had to help out with.
    pub decoded: usize,
    /// Shards that nodes sent damaged or forged, and that were had elsewhere.
    pub damaged: Vec<DamagedShard>,
    /// Versions of the manifest side by side; more than 1 after two writers met.
    pub versions: usize,
    /// The task that got it, if it was one.
    pub task: Option<TaskId>,
}

/// Why a file was not got.
#[derive(Debug, Clone, Error)]
pub enum GetError {
    /// The network was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The catalogue doesn't have the name.
    #[error("the name {name:?} is unknown")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The ticket is for another network.
    #[error("the ticket is for network {ticket}, this client is in {here}")]
    OtherNetwork {
        /// The ticket's.
        ticket: NetworkId,
        /// This client's.
        here: NetworkId,
    },
    /// The catalogue failed.
    #[error("failed to look the name up")]
    Catalogue(#[from] CatalogueError),
    /// The download failed.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Its owner stopped the task.
    #[error("task {0} was stopped")]
    Stopped(TaskId),
}

impl GetError {
    /// Whether the same question may be answered later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Stopped(_) => true,
            Self::Download(error) => error.is_retryable(),
            Self::UnknownName { .. } | Self::OtherNetwork { .. } | Self::Catalogue(_) => false,
        }
    }
}

impl From<JournalError> for GetError {
    fn from(error: JournalError) -> Self {
        Self::Download(error.into())
    }
}

impl From<SinkError> for GetError {
    fn from(error: SinkError) -> Self {
        Self::Download(error.into())
    }
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// Writes a file's bytes to `sink`, every one of them checked. A file sink shows the
    /// file when it is whole; getting a whole large file into one is a task.
    pub async fn get(
        &self,
        file: FileRef,
        sink: Sink,
        options: GetOptions,
    ) -> Result<Got, GetError> {
        // On the heap: callers' futures stay small.
        Box::pin(trace::within(spans::get(), self.shared.get(file, sink, options))).await
    }
}

impl<W: World> Shared<W> {
    async fn get(&self, file: FileRef, sink: Sink, options: GetOptions) -> Result<Got, GetError> {
        let GetOptions { range, watcher } = options;
        let ticket = self.ticket(file).await?;
        let open = self.open_ticket(&ticket).await?;
        let is_task = range.is_none() && open.head.inline.is_none();
        if let (Sink::File(target), true) = (&sink, is_task) {
            let plan = Plan::Download(DownloadPlan {
                ticket,
                name: open.head.name.clone(),
                partial: partial_of(target, self.random()),
                target: target.clone(),
            });
            let claim = self.journal.begin(&plan, Some(open.head.length), self.random()).await?;
            let Plan::Download(plan) = &plan else { return Err(GetError::Stopped(claim.task)) };
            return self.download_task(&claim, plan, open, watcher).await;
        }
        let partial = match &sink {
            Sink::File(target) => Some(partial_of(target, self.random())),
            Sink::Writer(_) => None,
        };
        let mut writer = SliceWriter::open(sink, partial, self.buffer, &self.tasks).await?;
        let (nodes, memory, watching) = (&self.nodes, &self.memory, watcher.clone());
        let download = Download { nodes, memory, file: &open, watcher: watching, journalled: None };
        let done = download.run(range, &mut writer).await?;
        writer.finish().await?;
        watcher.enters(Phase::Done);
        self.note_moves(&open).await;
        Ok(got(open, done, None))
    }

    /// The file is there already: what its manifest says is for the next reader.
    async fn note_moves(&self, file: &OpenFile) {
        let limit = self.nodes.world.clock().sleep(REWRITE_MAX);
        tokio::select! {
            biased;
            result = self.nodes.rewrite_moved(file) => {
                if let Err(error) = result {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "the manifest still names pairs that are gone");
                }
            }
            () = limit => tracing::debug!("no time to write where shards have moved to"),
        }
    }

    /// The ticket that is meant.
    pub(crate) async fn ticket(&self, file: FileRef) -> Result<Ticket, GetError> {
        match file {
            FileRef::Ticket(ticket) => Ok(ticket),
            FileRef::Name(name) => match self.catalogue.find(&name).await? {
                Some(entry) => Ok(entry.ticket),
                None => Err(GetError::UnknownName { name }),
            },
        }
    }

    /// Finds and opens the manifest that a ticket names.
    pub(crate) async fn open_ticket(&self, ticket: &Ticket) -> Result<OpenFile, GetError> {
        self.connect().await?;
        let here = self.nodes.links.network();
        if ticket.network != here {
            return Err(GetError::OtherNetwork { ticket: ticket.network, here });
        }
        let (key, lock) = (Arc::new(ticket.key.share()), self.owner.lock(ticket.lock_seed));
        Ok(open_file(&self.nodes, ticket.file, (key, lock), &ticket.hints).await?)
    }

    /// Runs a claimed download to its end and moves its task on.
    pub(crate) async fn download_task(
        &self,
        claim: &Claim,
        plan: &DownloadPlan,
        open: OpenFile,
        watcher: Watcher,
    ) -> Result<Got, GetError> {
        let journal = &self.journal;
        let work = self.download_to_file(claim, plan, &open, watcher.clone());
        match self.until_stopped(claim, work).await {
            Err(Stopped { state }) => {
                if state == TaskState::Cancelled {
                    self.remove_partial(plan).await;
                }
                journal.move_to(claim, state, None).await?;
                Err(GetError::Stopped(claim.task))
            }
            Ok(Err(error)) => {
                if !error.is_retryable() {
                    self.remove_partial(plan).await;
                }
                journal.move_to(claim, TaskState::Failed, Some(whole_text(&error))).await?;
                Err(error)
            }
            Ok(Ok(done)) => {
                journal.move_to(claim, TaskState::Done, None).await?;
                watcher.enters(Phase::Done);
                self.note_moves(&open).await;
                Ok(got(open, done, Some(claim.task)))
            }
        }
    }

    async fn download_to_file(
        &self,
        claim: &Claim,
        plan: &DownloadPlan,
        open: &OpenFile,
        watcher: Watcher,
    ) -> Result<Downloaded, GetError> {
        let rows = self.journal.slices(claim.task).await?;
        let before = rows.into_iter().filter_map(|(number, row)| match row {
            SliceRow::Done(entry) => Some((number, entry)),
            SliceRow::Begun(_) => None,
        });
        let journalled = Journalled { journal: &self.journal, claim, before: before.collect() };
        let sink = Sink::File(plan.target.clone());
        let partial = Some(plan.partial.clone());
        let mut writer = SliceWriter::open(sink, partial, self.buffer, &self.tasks).await?;
        // What is written stays for a resume, whatever ends this one.
        writer.keep_partial();
        let (nodes, memory, journalled) = (&self.nodes, &self.memory, Some(journalled));
        let download = Download { nodes, memory, file: open, watcher, journalled };
        let done = download.run(None, &mut writer).await?;
        writer.finish().await?;
        Ok(done)
    }

    pub(crate) async fn remove_partial(&self, plan: &DownloadPlan) {
        let partial = plan.partial.clone();
        let removing = self.tasks.spawn_blocking(move || match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(path = %partial.display(), error, "a partial file was left");
            }
            _ => {}
        });
        if removing.await.is_err() {
            tracing::warn!(path = %plan.partial.display(), "a partial file was left");
        }
    }
}

fn got(open: OpenFile, done: Downloaded, task: Option<TaskId>) -> Got {
    let Downloaded { bytes, decoded, damaged } = done;
    let OpenFile { head, lookup, versions, .. } = open;
    Got {
        name: head.name,
        length: head.length,
        written: bytes,
        digest: head.digest,
        lookup,
        decoded,
        damaged,
        versions,
        task,
    }
}
