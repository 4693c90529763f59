//! Small files, many at once: what is put while a batch is under way makes the next batch.
//! The files of a batch share a lock, a signature, a set of pairs, one message to each of
//! them and one commit of the catalogue; each has a key and an id of its own.
//!
//! A batch is durable here before it is sent and until its files are named. One that was
//! cut off between is sent again, the same bytes, and named when a client is opened next.

mod batches;
mod earlier;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::digest::BATCH_MAX;
use defs_core::ids::{Digest, NetworkId};
use defs_core::manifest::{content_digest, slice_digest};
use defs_core::mode::Layout;
use defs_core::port::{Clock as _, Compute as _, Randomness as _, UnixMillis};
use defs_core::record::{Record, RecordSet};
use defs_telemetry::spans;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument as _, Span};

use batches::{BatchId, Batches, KeptBatch};

use crate::catalogue::{Catalogue, Entry, Stored};
use crate::database::{Database, DatabaseError};
use crate::directory::Unreachable;
use crate::keys::{FileKey, FileLock, Owner};
use crate::nodes::Nodes;
use crate::pipeline::FileContext;
use crate::pipeline::index::{
    About, Before, ManifestError, Version, draw_set, pages, seal_pages, sign,
};
use crate::ports::World;
use crate::records::WriteRecordsError;
use crate::ticket::Ticket;

/// Small files that may wait for a batch; more callers wait for room.
const WAITING_MAX: usize = 256;

/// How long a batch waits for more, where the last one had more than one file: callers
/// that were answered together come back together. A lone caller waits for nobody.
const GATHERING: Duration = Duration::from_millis(2);

/// Sets of pairs that are tried for a batch.
const SETS_TRIED: u32 = 3;

/// Why a small file was not put.
#[derive(Debug, Clone, Error)]
pub enum SmallError {
    /// The manifest that carries it was not made.
    #[error("failed to make the manifest")]
    Manifest(#[from] ManifestError),
    /// There is no table of the network.
    #[error("failed to place the file")]
    NoTable(#[from] Unreachable),
    /// No pair is open.
    #[error("no pair is open for the file")]
    NoPairs,
    /// Too few pairs keep it.
    #[error("failed to store the file")]
    Records(#[from] WriteRecordsError),
    /// The catalogue failed.
    #[error("failed to name the file")]
    Database(#[from] DatabaseError),
    /// Other processes can't be told that this one works on the file.
    #[error("failed to lock {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What failed.
        source: Arc<std::io::Error>,
    },
    /// The client is closing.
    #[error("the client is closing")]
    Closing,
}

/// A small file to put.
#[derive(Debug)]
pub(crate) struct SmallFile {
    pub(crate) name: String,
    pub(crate) content: Bytes,
    pub(crate) layout: Layout,
    pub(crate) replace: bool,
}

/// A small file that was put, and what became of its name.
#[derive(Debug)]
pub(crate) struct SmallPut {
    pub(crate) ticket: Ticket,
    pub(crate) digest: Digest,
    pub(crate) named: Stored,
}

type Answer = Result<SmallPut, SmallError>;

struct Waiting {
    file: SmallFile,
    reply: oneshot::Sender<Answer>,
    /// Of the put.
    span: Span,
}

/// The way in to the batches.
#[derive(Debug, Clone)]
pub(crate) struct Small(mpsc::Sender<Waiting>);

/// What a batch is made with.
pub(crate) struct Batcher<W> {
    nodes: Nodes<W>,
    owner: Arc<Owner>,
    catalogue: Catalogue,
    batches: Batches,
}

impl Small {
    /// Starts the task that makes batches; it ends with the last handle.
    pub(crate) fn start<W: World>(batcher: &Arc<Batcher<W>>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        batcher.nodes.tasks.spawn(make_batches(Arc::clone(batcher), waiting));
        Self(sender)
    }

    pub(crate) async fn put(&self, file: SmallFile) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Waiting { file, reply, span: Span::current() }).await;
        sent.map_err(|_closed| SmallError::Closing)?;
        answer.await.map_err(|_closed| SmallError::Closing)?
    }
}

/// One batch after the other: two at a time would be half as large, and each costs the
/// same dozen signature checks.
async fn make_batches<W: World>(batcher: Arc<Batcher<W>>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    let mut last = 0;
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if last > 1 {
            batcher.gather(&mut waiting, &mut batch).await;
        }
        last = batch.len();
        // A batch has one trace: that of its first file.
        let first = batch.first().map_or_else(Span::none, |one| one.span.clone());
        let span = first.in_scope(|| spans::batch_store(last as u64));
        drop(first);
        let (files, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|one| (one.file, one.reply)).unzip();
        let answers = batcher.put_all(files).instrument(span).await;
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Whoever asked may have left; what is stored stays stored.
            drop(reply.send(answer));
        }
    }
}

/// A batch that is sealed, signed and to be written as it is.
struct Sealed {
    batch: KeptBatch,
    made: Vec<(Ticket, Digest)>,
}

impl<W: World> Batcher<W> {
    /// `home` is the client's folder.
    pub(crate) fn new(
        nodes: Nodes<W>,
        owner: Arc<Owner>,
        (catalogue, database): (Catalogue, Database),
        home: &Path,
    ) -> Self {
        let batches = Batches::new(database, home, nodes.world.random().array());
        Self { nodes, owner, catalogue, batches }
    }

    /// Adds what comes within [`GATHERING`], up to a full batch.
    async fn gather(&self, waiting: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
        let mut over = std::pin::pin!(self.nodes.world.clock().sleep(GATHERING));
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            let came = tokio::select! {
                biased;
                came = waiting.recv_many(batch, room) => came,
                () = &mut over => 0,
            };
            if came == 0 {
                return;
            }
        }
    }

    async fn put_all(&self, files: Vec<SmallFile>) -> Vec<Answer> {
        let count = files.len();
        let (files, mut kept) = (Arc::new(files), None);
        match self.store(&files, &mut kept).await {
            Ok((id, sealed)) => self.name(id, sealed).await,
            Err(error) => {
                // Whoever put it is told that it failed: it must not come up later.
                if let Some(id) = kept {
                    self.forget(id).await;
                }
                (0..count).map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn forget(&self, id: BatchId) {
        if let Err(error) = self.batches.forget(id).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a batch of small files that failed may be tried again later");
        }
    }

    /// Stores a batch on some set of pairs. A set that fails is left for another one, and
    /// then all is sealed anew, under other ids. `kept` is what is in the database of it.
    async fn store(
        &self,
        files: &Arc<Vec<SmallFile>>,
        kept: &mut Option<BatchId>,
    ) -> Result<(BatchId, Sealed), SmallError> {
        let mut tried = 1;
        loop {
            let set = self.draw_set().await?;
            let sealed = self.seal(files, set.clone()).await?;
            let id = self.batches.keep(&sealed.batch, *kept).await?;
            *kept = Some(id);
            match self.nodes.write_records(&set, &sealed.batch.records).await {
                Ok(()) => return Ok((id, sealed)),
                Err(error) if tried < SETS_TRIED && error.is_retryable() => {
                    error.failed.iter().for_each(|pair| self.nodes.directory.avoid(*pair, false));
                    tried += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn draw_set(&self) -> Result<RecordSet, SmallError> {
        let view = self.nodes.directory.fresh().await?;
        let open = self.nodes.directory.open_pairs(&view).for_records();
        draw_set(open, |bound| self.nodes.draw(bound)).ok_or(SmallError::NoPairs)
    }

    async fn seal(
        &self,
        files: &Arc<Vec<SmallFile>>,
        set: RecordSet,
    ) -> Result<Sealed, ManifestError> {
        let lock = self.owner.lock(self.nodes.world.random().array());
        let (files, world) = (Arc::clone(files), Arc::clone(&self.nodes.world));
        let network = self.nodes.links.network();
        let (catalogue, put_at) = (self.catalogue.clone(), self.nodes.world.clock().now());
        let sealing = move || {
            let (mut records, mut made, mut entries) = (Vec::new(), Vec::new(), Vec::new());
            for file in files.iter() {
                let (record, ticket, digest) =
                    seal_one(world.as_ref(), file, &lock, (network, &set))?;
                let entry = entry_of(file, put_at, (&ticket, digest));
                entries.push((catalogue.seal(&entry, world.random().array()), file.replace));
                records.extend(record);
                made.push((ticket, digest));
            }
            let batch = KeptBatch { records: sign(records, &lock, &network), entries };
            Ok(Sealed { batch, made })
        };
        self.nodes.world.compute().run(sealing).await
    }

    /// Gives the stored files their names, all in one commit.
    async fn name(&self, id: BatchId, sealed: Sealed) -> Vec<Answer> {
        let Sealed { batch, made } = sealed;
        match self.batches.name(id, batch.entries).await {
            Ok(named) => made
                .into_iter()
                .zip(named)
                .map(|((ticket, digest), named)| Ok(SmallPut { ticket, digest, named }))
                .collect(),
            Err(error) => made.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }
}

fn entry_of(file: &SmallFile, put_at: UnixMillis, (ticket, digest): (&Ticket, Digest)) -> Entry {
    Entry {
        name: file.name.clone(),
        length: file.content.len() as u64,
        mode: file.layout.mode,
        put_at,
        digest,
        ticket: ticket.share(),
    }
}

/// Seals one file into its record, under a key and an id of its own.
fn seal_one<W: World>(
    world: &W,
    file: &SmallFile,
    lock: &FileLock,
    (network, set): (NetworkId, &RecordSet),
) -> Result<(Vec<Record>, Ticket, Digest), ManifestError> {
    let SmallFile { name, content, layout, .. } = file;
    let key = Arc::new(FileKey::from_bytes(world.random().array()));
    let file_random = world.random().array();
    let (id, geometry) = (lock.file(&file_random), layout.geometry);
    let inline = Some(content.to_vec());
    let pages = pages(&About { name: name.clone(), mode: layout.mode, geometry, inline }, &[])?;
    let ticket = Ticket {
        network,
        file: id,
        key: key.share(),
        lock_seed: lock.seed,
        hints: set.pairs.clone(),
    };
    let context = FileContext { file: id, key, lock: lock.clone(), geometry };
    let version = Version { file_random, before: &Before::default(), set };
    let records = seal_pages(&pages, &context, version, || world.random().array());
    Ok((records, ticket, content_digest(&[slice_digest(content)])))
}
