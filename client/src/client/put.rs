//! Puts files: chooses how, keeps small ones inside their manifest, uploads the others as
//! tasks, and gives them their names.

use std::sync::Arc;

use bytes::Bytes;
use defs_codec::{SliceSizes, SliceSizesError, slice_size};
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, SliceNo};
use defs_core::manifest::{INLINE_MAX, NAME_MAX};
use defs_core::mode::{Layout, LayoutError, Mode, Wish};
use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::size::Size;
use defs_core::states::TaskState;
use defs_telemetry::{spans, trace};
use thiserror::Error;

use super::tasks::Stopped;
use super::{Client, ConnectError, Shared};
use crate::catalogue::{CatalogueError, Entry, Stored};
use crate::journal::{Claim, JournalError, Plan, TaskId, UploadPlan};
use crate::keys::FileKey;
use crate::pipeline::FileContext;
use crate::pipeline::source::{SliceReader, Source, SourceError};
use crate::ports::World;
use crate::progress::{Phase, Watcher};
use crate::small::{SmallError, SmallFile, SmallPut};
use crate::ticket::Ticket;
use crate::upload::{Upload, UploadError, Uploaded};

/// How a file is to be put.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// The name it gets: any Unicode text of 1 to 4,096 bytes.
    pub name: String,
    /// How to store it.
    pub wish: Wish,
    /// Whether an existing name is to stand for this file from now on; what it stood for
    /// is deleted.
    pub replace: bool,
    /// Told how far it is.
    pub watcher: Watcher,
}

impl PutOptions {
    /// Without replacing and without anybody watching.
    #[must_use]
    pub fn new(name: impl Into<String>, wish: Wish) -> Self {
        Self { name: name.into(), wish, replace: false, watcher: Watcher::default() }
    }
}

/// A file that is stored.
#[derive(Debug)]
pub struct Put {
    /// Its name.
    pub name: String,
    /// Finds and opens it.
    pub ticket: Ticket,
    /// Its bytes.
    pub length: u64,
    /// Digest of its content.
    pub digest: Digest,
    /// How it is stored.
    pub mode: Mode,
    /// How each slice is coded.
    pub geometry: Geometry,
    /// Whether the name stood for another file before.
    pub replaced: bool,
    /// The task that put it; small files have none.
    pub task: Option<TaskId>,
}

/// Why a file was not put.
#[derive(Debug, Clone, Error)]
pub enum PutError {
    /// The network was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It can't be stored as asked.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The slice sizes asked for are none.
    #[error(transparent)]
    SliceSizes(#[from] SliceSizesError),
    /// The name is empty or too long.
    #[error("a name has 1 to {NAME_MAX} bytes, this one has {length}")]
    Name {
        /// Bytes of the name.
        length: usize,
    },
    /// The name stands for another file.
    #[error("the name {name:?} is taken: remove it, or ask to replace it")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The source was not read.
    #[error("failed to read what is put")]
    Source(#[from] SourceError),
    /// A small file was not stored.
    #[error("failed to put {name:?}")]
    Small {
        /// The name.
        name: String,
        /// Why.
        source: SmallError,
    },
    /// The upload failed; its task may be resumed if that helps.
    #[error("failed to put {name:?} (task {task})")]
    Upload {
        /// The name.
        name: String,
        /// The task.
        task: TaskId,
        /// Why.
        source: UploadError,
    },
    /// Its owner stopped the task.
    #[error("task {0} was stopped")]
    Stopped(TaskId),
    /// The journal failed.
    #[error("failed to keep the upload's progress")]
    Journal(#[from] JournalError),
    /// The catalogue failed.
    #[error("failed to name the file")]
    Catalogue(#[from] CatalogueError),
}

impl PutError {
    /// Whether putting or resuming again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Stopped(_) => true,
            Self::Small { source, .. } => {
                matches!(
                    source,
                    SmallError::NoTable(_) | SmallError::NoPairs | SmallError::Records(_)
                )
            }
            Self::Upload { source, .. } => source.is_retryable(),
            Self::Layout(_)
            | Self::SliceSizes(_)
            | Self::Name { .. }
            | Self::NameTaken { .. }
            | Self::Source(_)
            | Self::Journal(_)
            | Self::Catalogue(_) => false,
        }
    }
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// Stores a file and gives it a name. Returns when every shard is durable on both
    /// members of its pair and committed, and the name is durable here.
    ///
    /// Dropping the future breaks the upload off; its task can be resumed.
    pub async fn put(&self, source: Source, options: PutOptions) -> Result<Put, PutError> {
        // On the heap: callers' futures stay small.
        Box::pin(trace::within(spans::put(), self.shared.put(source, options))).await
    }
}

impl<W: World> Shared<W> {
    async fn put(&self, source: Source, options: PutOptions) -> Result<Put, PutError> {
        self.connect().await?;
        let PutOptions { name, wish, replace, watcher } = options;
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(PutError::Name { length: name.len() });
        }
        if !replace && self.catalogue.find(&name).await?.is_some() {
            return Err(PutError::NameTaken { name });
        }
        let sizes = SliceSizes::new(wish.slice_min, wish.slice_max)?;
        // A pipe is read up to its first slice: one that ends before has a known length.
        let ahead = usize::try_from(UNKNOWN_AHEAD.0.min(wish.slice_max.0)).unwrap_or(0) + 1;
        let mut reader = SliceReader::open(source, ahead, self.buffer, &self.tasks).await?;
        let layout = self.layout(reader.length(), &wish).await?;
        if layout.inline {
            let content = match reader.read(SliceNo(0), INLINE_MAX).await? {
                Some(slice) => slice.plain,
                None => Bytes::new(),
            };
            reader.check_unchanged().await?;
            return self.put_small(name, content, (layout, replace), &watcher).await;
        }
        let slice_size = match layout.mode {
            // One slice, whatever it takes: no more than the largest, or there were no layout.
            Mode::File => sizes.max(),
            _ => {
                let sizes = SliceSizes::new(wish.slice_min, wish.largest_slice(&layout))?;
                slice_size(reader.length(), sizes, layout.geometry, self.memory_budget)
            }
        };
        let plan = UploadPlan {
            name,
            source: reader.identity(),
            key: FileKey::from_bytes(self.random()),
            lock_seed: self.random(),
            file_random: self.random(),
            mode: layout.mode,
            geometry: layout.geometry,
            per_pair: u8::try_from(layout.per_pair).unwrap_or(u8::MAX),
            slice_size: slice_size.0,
            replace,
        };
        let plan = Plan::Upload(plan);
        let claim = self.journal.begin(&plan, reader.length(), self.random()).await?;
        let Plan::Upload(plan) = &plan else { return Err(PutError::Stopped(claim.task)) };
        self.upload(&claim, plan, reader, watcher).await
    }

    async fn put_small(
        &self,
        name: String,
        content: Bytes,
        (layout, replace): (Layout, bool),
        watcher: &Watcher,
    ) -> Result<Put, PutError> {
        let length = content.len() as u64;
        watcher.begins(0, Some(length));
        let (mode, geometry) = (layout.mode, layout.geometry);
        let file = SmallFile { name: name.clone(), content, layout, replace };
        let SmallPut { ticket, digest, named } = match self.small.put(file).await {
            Ok(put) => put,
            Err(source) => return Err(PutError::Small { name, source }),
        };
        let replaced = match self.settle_name(&named, &ticket)? {
            Name::Taken => return Err(PutError::NameTaken { name }),
            named => named == Name::Replaced,
        };
        watcher.moved(length);
        watcher.enters(Phase::Done);
        Ok(Put { name, ticket, length, digest, mode, geometry, replaced, task: None })
    }

    /// Runs a claimed upload to its end and moves its task on.
    pub(crate) async fn upload(
        &self,
        claim: &Claim,
        plan: &UploadPlan,
        reader: SliceReader,
        watcher: Watcher,
    ) -> Result<Put, PutError> {
        let lock = self.owner.lock(plan.lock_seed);
        let file = FileContext {
            file: lock.file(&plan.file_random),
            key: Arc::new(plan.key.share()),
            lock,
            geometry: plan.geometry,
        };
        let (nodes, journal, memory) = (&self.nodes, &self.journal, &self.memory);
        let upload = Upload { nodes, journal, memory, claim, plan, file, watcher: watcher.clone() };
        let outcome = match self.until_stopped(claim, upload.run(reader)).await {
            Err(Stopped { state }) => {
                journal.move_to(claim, state, None).await?;
                return Err(PutError::Stopped(claim.task));
            }
            Ok(Err(source)) => {
                let error = PutError::Upload { name: plan.name.clone(), task: claim.task, source };
                journal.move_to(claim, TaskState::Failed, Some(whole_text(&error))).await?;
                return Err(error);
            }
            Ok(Ok(uploaded)) => uploaded,
        };
        let naming = self.name_upload(claim, plan, outcome);
        let put = trace::within(spans::object_name(), naming).await;
        match &put {
            Ok(_) => journal.move_to(claim, TaskState::Done, None).await?,
            Err(error) => {
                journal.move_to(claim, TaskState::Failed, Some(whole_text(error))).await?;
            }
        }
        watcher.enters(Phase::Done);
        put
    }

    async fn name_upload(
        &self,
        claim: &Claim,
        plan: &UploadPlan,
        uploaded: Uploaded,
    ) -> Result<Put, PutError> {
        let Uploaded { length, digest, set } = uploaded;
        let lock = self.owner.lock(plan.lock_seed);
        let ticket = Ticket {
            network: self.nodes.links.network(),
            file: lock.file(&plan.file_random),
            key: plan.key.share(),
            lock_seed: plan.lock_seed,
            hints: set.pairs,
        };
        let (name, mode) = (plan.name.clone(), plan.mode);
        let put_at = self.nodes.world.clock().now();
        let entry = Entry { name, length, mode, put_at, digest, ticket: ticket.share() };
        let sealed = self.catalogue.seal(&entry, self.random());
        let stored = self.catalogue.store(vec![(sealed, plan.replace)]).await;
        let stored = stored.map_err(CatalogueError::from)?.pop().unwrap_or(Stored::New);
        let replaced = match self.settle_name(&stored, &ticket)? {
            Name::Taken => return Err(PutError::NameTaken { name: entry.name }),
            named => named == Name::Replaced,
        };
        let (geometry, task) = (plan.geometry, Some(claim.task));
        Ok(Put { name: entry.name, ticket, length, digest, mode, geometry, replaced, task })
    }

    /// What a name stood for before is deleted in the background, and so is a file whose
    /// name somebody else took meanwhile.
    fn settle_name(&self, stored: &Stored, ticket: &Ticket) -> Result<Name, CatalogueError> {
        match stored {
            Stored::New => Ok(Name::New),
            Stored::Taken => {
                self.delete_in_background(ticket.share());
                Ok(Name::Taken)
            }
            Stored::Replaced(before) => {
                let before = self.catalogue.open_before(before)?;
                // A resumed task may name the same file twice.
                if before.ticket.file != ticket.file {
                    self.delete_in_background(before.ticket);
                }
                Ok(Name::Replaced)
            }
        }
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        self.nodes.world.random().array()
    }
}

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    New,
    Replaced,
    Taken,
}

/// How much of a pipe is read before its length counts as unknown.
const UNKNOWN_AHEAD: Size = Size::mib(16);

/// An error with its causes, for the journal.
pub(crate) fn whole_text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
