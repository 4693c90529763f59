//! Small files, many at once: what is put while a batch is under way makes the next batch.
//! The files of a batch share a lock, a signature, a set of pairs, one message to each of
//! them and one commit of the catalogue; each has a key and an id of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::digest::BATCH_MAX;
use defs_core::ids::{Digest, NetworkId};
use defs_core::manifest::{content_digest, slice_digest};
use defs_core::mode::Layout;
use defs_core::port::{Clock as _, Compute as _, Randomness as _};
use defs_core::record::{Record, RecordSet, SignedRecord};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::catalogue::{Catalogue, Entry, SealedEntry, Stored};
use crate::database::DatabaseError;
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
}

/// The way in to the batches.
#[derive(Debug, Clone)]
pub(crate) struct Small(mpsc::Sender<Waiting>);

/// What a batch is made with.
pub(crate) struct Batcher<W> {
    pub(crate) nodes: Nodes<W>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) catalogue: Catalogue,
}

impl Small {
    /// Starts the task that makes batches; it ends with the last handle.
    pub(crate) fn start<W: World>(batcher: Batcher<W>) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let tasks = batcher.nodes.tasks.clone();
        tasks.spawn(make_batches(Arc::new(batcher), waiting));
        Self(sender)
    }

    pub(crate) async fn put(&self, file: SmallFile) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Waiting { file, reply }).await;
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
        let (files, replies): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|one| (one.file, one.reply)).unzip();
        for (reply, answer) in replies.into_iter().zip(batcher.put_all(files).await) {
            // Whoever asked may have left; what is stored stays stored.
            drop(reply.send(answer));
        }
    }
}

/// A batch that is sealed, signed and to be written as it is.
struct Sealed {
    records: Vec<Arc<SignedRecord>>,
    made: Vec<(Ticket, Digest)>,
}

impl<W: World> Batcher<W> {
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
        let files = Arc::new(files);
        match self.store(&files).await {
            Ok(made) => self.name(&files, made).await,
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    /// Stores a batch on some set of pairs. A set that fails is left for another one, and
    /// then all is sealed anew, under other ids.
    async fn store(
        &self,
        files: &Arc<Vec<SmallFile>>,
    ) -> Result<Vec<(Ticket, Digest)>, SmallError> {
        let mut tried = 1;
        loop {
            let set = self.draw_set().await?;
            let Sealed { records, made } = self.seal(files, set.clone()).await?;
            match self.nodes.write_records(&set, &records).await {
                Ok(()) => return Ok(made),
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
        let open = self.nodes.directory.open_pairs(&view).into_iter().map(|(id, _)| id).collect();
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
        let sealing = move || {
            let (mut records, mut made) = (Vec::new(), Vec::new());
            for file in files.iter() {
                let (record, ticket) = seal_one(world.as_ref(), file, &lock, (network, &set))?;
                records.extend(record);
                made.push(ticket);
            }
            Ok(Sealed { records: sign(records, &lock, &network), made })
        };
        self.nodes.world.compute().run(sealing).await
    }

    /// Gives the stored files their names, all in one commit.
    async fn name(&self, files: &[SmallFile], made: Vec<(Ticket, Digest)>) -> Vec<Answer> {
        let put_at = self.nodes.world.clock().now();
        let entries: Vec<(SealedEntry, bool)> = files
            .iter()
            .zip(&made)
            .map(|(file, (ticket, digest))| {
                let entry = Entry {
                    name: file.name.clone(),
                    length: file.content.len() as u64,
                    mode: file.layout.mode,
                    put_at,
                    digest: *digest,
                    ticket: ticket.share(),
                };
                let salt = self.nodes.world.random().array();
                (self.catalogue.seal(&entry, salt), file.replace)
            })
            .collect();
        match self.catalogue.store(entries).await {
            Ok(named) => made
                .into_iter()
                .zip(named)
                .map(|((ticket, digest), named)| Ok(SmallPut { ticket, digest, named }))
                .collect(),
            Err(error) => made.iter().map(|_| Err(error.clone().into())).collect(),
        }
    }
}

/// Seals one file into its record, under a key and an id of its own.
fn seal_one<W: World>(
    world: &W,
    file: &SmallFile,
    lock: &FileLock,
    (network, set): (NetworkId, &RecordSet),
) -> Result<(Vec<Record>, (Ticket, Digest)), ManifestError> {
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
    Ok((records, (ticket, content_digest(&[slice_digest(content)]))))
}
