//! Deletes files: first the shards, then the manifest, last the name, so that whatever
//! interrupts it can be done again by the same call.

use std::collections::BTreeSet;
use std::sync::Arc;

use defs_core::ids::{FileId, PairId};
use defs_core::manifest::SliceEntry;
use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::record::{Content, Record, RecordKey};
use thiserror::Error;

use super::{Client, ConnectError, Shared};
use crate::catalogue::CatalogueError;
use crate::download::{DownloadError, open_file};
use crate::keys::FileLock;
use crate::nodes::{AskPairError, Nodes};
use crate::pipeline::index::{ManifestError, sign};
use crate::ports::World;
use crate::records::{ReadRecordError, Sought, WriteRecordsError};
use crate::ticket::Ticket;

/// A file that is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Stripes whose holders were told.
    pub stripes: usize,
    /// Stripes that some pair could not be told of: its siblings hand the word on.
    pub not_told: usize,
}

/// Why a file was not deleted. It can be tried again.
#[derive(Debug, Clone, Error)]
pub enum RemoveError {
    /// The network was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The catalogue doesn't have the name.
    #[error("the name {name:?} is unknown")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The catalogue failed.
    #[error("failed to forget the name")]
    Catalogue(#[from] CatalogueError),
    /// The manifest was not read.
    #[error("failed to find what is to be deleted")]
    Manifest(#[from] DownloadError),
    /// A page of the manifest was not read.
    #[error("failed to find what is to be deleted")]
    Page(#[from] ReadRecordError),
    /// No holder of the shards could be told.
    #[error("none of the holders of {stripes} stripes could be told")]
    NobodyTold {
        /// Stripes of the file.
        stripes: usize,
        /// Why the last one couldn't.
        source: Option<AskPairError>,
    },
    /// Too few pairs acknowledged.
    #[error("failed to delete the manifest")]
    Records(#[from] WriteRecordsError),
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// Deletes the file that `name` stands for, and the name. Acknowledged when a quorum of
    /// the manifest's pairs has the deletion on both disks.
    pub async fn remove(&self, name: &str) -> Result<Removed, RemoveError> {
        let shared = &self.shared;
        let Some(entry) = shared.catalogue.find(name).await? else {
            return Err(RemoveError::UnknownName { name: name.to_owned() });
        };
        shared.connect().await?;
        let lock = shared.owner.lock(entry.ticket.lock_seed);
        let removed = delete(&shared.nodes, &entry.ticket, &lock).await?;
        shared.catalogue.forget(&entry).await?;
        Ok(removed)
    }
}

impl<W: World> Shared<W> {
    /// Deletes what no name stands for any more. What fails is left to a later cleaning.
    pub(crate) fn delete_in_background(&self, ticket: Ticket) {
        let (nodes, lock) = (self.nodes.clone(), self.owner.lock(ticket.lock_seed));
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(delete_quietly(&nodes, &ticket, &lock)).await
        });
    }
}

/// Deletes what nobody asks for any more, and tells of a failure only the log.
pub(crate) async fn delete_quietly<W: World>(nodes: &Nodes<W>, ticket: &Ticket, lock: &FileLock) {
    if let Err(error) = delete(nodes, ticket, lock).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(file = %ticket.file, error, "a replaced file was not deleted");
    }
}

async fn delete<W: World>(
    nodes: &Nodes<W>,
    ticket: &Ticket,
    lock: &FileLock,
) -> Result<Removed, RemoveError> {
    let (key, file) = (Arc::new(ticket.key.share()), ticket.file);
    let open = match open_file(nodes, file, (key, lock.clone()), &ticket.hints).await {
        Ok(open) => open,
        // An earlier call got that far: only the name is left.
        Err(DownloadError::Manifest(ManifestError::Deleted { .. })) => {
            return Ok(Removed { stripes: 0, not_told: 0 });
        }
        Err(error) => return Err(error.into()),
    };
    let mut removed = Removed { stripes: 0, not_told: 0 };
    // The last page first: page 0 tells how many there are.
    for page in (0..open.head.pages).rev() {
        let slices = match open.page(nodes, page).await {
            Ok(slices) => slices,
            Err(DownloadError::Manifest(ManifestError::Deleted { .. })) => continue,
            Err(error) => return Err(error.into()),
        };
        removed.not_told += tell_holders(nodes, lock, &slices).await?;
        removed.stripes += slices.len();
        delete_page(nodes, (file, page), lock, &open.set).await?;
    }
    Ok(removed)
}

/// How many stripes some pair could not be told of.
async fn tell_holders<W: World>(
    nodes: &Nodes<W>,
    lock: &FileLock,
    slices: &[SliceEntry],
) -> Result<usize, RemoveError> {
    let not_told = nodes.delete(lock, slices).await;
    let pairs: BTreeSet<_> = slices.iter().flat_map(|slice| &slice.pairs).collect();
    let failed: BTreeSet<_> = not_told.values().flatten().filter_map(AskPairError::pair).collect();
    if !pairs.is_empty() && failed.len() >= pairs.len() {
        let source = not_told.into_values().flatten().next();
        return Err(RemoveError::NobodyTold { stripes: slices.len(), source });
    }
    Ok(not_told.len())
}

/// Writes a version of a page that says "deleted" and names all versions before it.
async fn delete_page<W: World>(
    nodes: &Nodes<W>,
    (file, page): (FileId, u32),
    lock: &FileLock,
    hints: &[PairId],
) -> Result<(), RemoveError> {
    use defs_core::port::Randomness as _;
    let key = RecordKey::manifest(file, page);
    let found = nodes.read_record(Sought { key, lock }, hints).await?;
    let newest = &found.head.body;
    let record = Record {
        key,
        counter: newest.counter.saturating_add(1),
        parents: found.heads.iter().map(|head| head.body.hash()).collect(),
        set: newest.set.clone(),
        lock: newest.lock.clone(),
        file_random: newest.file_random,
        salt: nodes.world.random().array(),
        content: Content::Deleted,
    };
    let set = record.set.clone();
    let signed = sign(vec![record], lock, &nodes.links.network());
    nodes.write_records(&set, &signed).await?;
    Ok(())
}
