//! The client: what an application or the command calls.

mod get;
mod put;
pub(crate) mod remove;
mod status;
mod tasks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use defs_core::format::Format as _;
use defs_core::ids::{NetworkId, NodeId};
use defs_core::mode::{Layout, LayoutError, Wish, choose};
use defs_core::network::Genesis;
use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::size::Size;
use defs_identity::{CachedChecker, SecretKey};
use rusqlite::OptionalExtension as _;
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use get::{FileRef, GetError, GetOptions, Got};
pub use put::{Put, PutError, PutOptions};
pub use remove::{RemoveError, Removed};
pub use status::{FileStatus, ShardStatus, SliceStatus, StatusError};
pub use tasks::{Finished, TaskError, TaskInfo};

use crate::catalogue::{Catalogue, CatalogueError, Entry};
use crate::database::{Database, DatabaseError, Threads};
use crate::directory::{Unreachable, View};
use crate::journal::{Journal, TaskId};
use crate::keys::Owner;
use crate::memory::Memory;
use crate::nodes::Nodes;
use crate::peers::NetworkIdentity;
use crate::ports::{Ports, World};
use crate::small::{Batcher, Small};

/// The memory that uploads and downloads together use for slices, unless it is set.
const MEMORY_BUDGET: Size = Size::mib(256);

/// Bytes read or written at a time, unless it is set.
const BUFFER: Size = Size::kib(256);

/// How long a layout waits for pairs that are known, but not open as far as the node knows
/// that was asked: it may have started just now, or their members may.
const PAIRS_AWAITED: Duration = Duration::from_secs(10);

/// How long it waits where too few pairs are known: who has just joined knows of none.
const PAIRS_LOOKED_FOR: Duration = Duration::from_secs(3);

/// How often it looks.
const PAIRS_ASKED_EVERY: Duration = Duration::from_secs(1);

/// What a client is made with, besides its ports.
#[derive(Debug)]
pub struct ClientConfig {
    /// Where the catalogue and the journal are kept; made if it isn't there.
    pub home: PathBuf,
    /// The owner's key: opens everything that was put with it.
    pub identity: SecretKey,
    /// Nodes to ask first; the ports know how to reach them.
    pub contacts: Vec<NodeId>,
    /// The network, where it is known; otherwise the first one that is met is adopted and
    /// never another one after that.
    pub network: Option<NetworkId>,
    /// Bytes for slices and shards in memory, for all uploads and downloads together.
    pub memory_budget: Size,
    /// Bytes read or written at a time, of files and streams; at least 1.
    pub buffer_size: Size,
    /// Remembers good signatures; clients of one process may share it.
    pub checker: Arc<CachedChecker>,
    /// Whether the local database is used on the calling thread, which then waits for its
    /// disk: in a simulation the order of events must not depend on threads.
    pub blocks: bool,
}

impl ClientConfig {
    /// With the usual memory and no network known.
    #[must_use]
    pub fn new(home: PathBuf, identity: SecretKey, contacts: Vec<NodeId>) -> Self {
        Self {
            home,
            identity,
            contacts,
            network: None,
            memory_budget: MEMORY_BUDGET,
            buffer_size: BUFFER,
            checker: Arc::default(),
            blocks: false,
        }
    }
}

/// Why a client was not opened.
#[derive(Debug, Clone, Error)]
pub enum OpenError {
    /// The local database failed.
    #[error("failed to open the client's folder")]
    Database(#[from] DatabaseError),
    /// The folder was used with another network.
    #[error("{home} belongs to network {known}, not to {asked}: use another folder")]
    OtherNetwork {
        /// The client's folder.
        home: PathBuf,
        /// The network that it was used with.
        known: NetworkId,
        /// The network that was asked for.
        asked: NetworkId,
    },
}

/// The owner's way into a network. Cheap to clone; all clones share one database,
/// one set of links and one set of batches.
pub struct Client<P, C, R, K> {
    shared: Arc<Shared<Ports<P, C, R, K>>>,
}

impl<P, C, R, K> Clone for Client<P, C, R, K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P, C, R, K> std::fmt::Debug for Client<P, C, R, K> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Client")
    }
}

/// What all clones of a client share.
pub(crate) struct Shared<W> {
    pub(crate) nodes: Nodes<W>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) database: Database,
    pub(crate) catalogue: Catalogue,
    pub(crate) journal: Journal,
    pub(crate) small: Small,
    batcher: Arc<Batcher<W>>,
    /// Whether what earlier processes left was looked for.
    looked_back: AtomicBool,
    pub(crate) memory_budget: Size,
    pub(crate) memory: Memory,
    pub(crate) buffer: usize,
    pub(crate) running: Mutex<BTreeMap<TaskId, tasks::Running>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    _close_on_drop: DropGuard,
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// Opens the owner's folder. Nothing is asked of the network yet.
    pub async fn open(ports: Ports<P, C, R, K>, config: ClientConfig) -> Result<Self, OpenError> {
        let ClientConfig {
            home,
            identity,
            contacts,
            network,
            memory_budget,
            buffer_size,
            checker,
            blocks,
        } = config;
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let owner = Arc::new(Owner::new(identity));
        let database = Database::open(&home.join("client.db"), Threads::of(&tasks, blocks)).await?;
        let known = known_genesis(&database).await?;
        if let (Some(known), Some(asked)) = (known.map(|genesis| genesis.network()), network)
            && known != asked
        {
            return Err(OpenError::OtherNetwork { home, known, asked });
        }
        let identity = known.map_or_else(NetworkIdentity::default, NetworkIdentity::known);
        let nodes = Nodes::new(Arc::new(ports), (identity, network), contacts, checker, &tasks);
        let catalogue = Catalogue::new(database.clone(), Arc::clone(&owner));
        let journal = Journal::new(database.clone(), Arc::clone(&owner), &home);
        let stores = (catalogue.clone(), database.clone());
        let batcher = Arc::new(Batcher::new(nodes.clone(), Arc::clone(&owner), stores, &home));
        let small = Small::start(&batcher);
        let shared = Shared {
            nodes,
            owner,
            database,
            catalogue,
            journal,
            small,
            batcher,
            looked_back: AtomicBool::new(false),
            memory_budget,
            memory: Memory::new(memory_budget),
            buffer: usize::try_from(buffer_size.0).unwrap_or(usize::MAX).max(1),
            running: Mutex::default(),
            tasks,
            _close_on_drop: closing.clone().drop_guard(),
            closing,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The network, once a node has been asked.
    pub async fn network(&self) -> Result<NetworkId, ConnectError> {
        self.shared.connect().await?;
        Ok(self.shared.nodes.links.network())
    }

    /// Admitted nodes and pairs, as they are now.
    pub async fn view(&self) -> Result<Arc<View>, ConnectError> {
        self.shared.connect().await?;
        Ok(self.shared.nodes.directory.refresh().await?)
    }

    /// Another node to ask; the ports know how to reach it.
    pub fn add_contact(&self, node: NodeId) {
        self.shared.nodes.directory.add_contact(node);
    }

    /// How a file of `length` bytes would be stored now, and why.
    pub async fn explain(&self, length: Option<u64>, wish: &Wish) -> Result<Layout, ExplainError> {
        self.shared.connect().await?;
        Ok(self.shared.layout(length, wish).await?)
    }

    /// Every name, in order.
    pub async fn list(&self) -> Result<Vec<Entry>, CatalogueError> {
        self.shared.catalogue.all().await
    }

    /// What a name stands for.
    pub async fn find(&self, name: &str) -> Result<Option<Entry>, CatalogueError> {
        self.shared.catalogue.find(name).await
    }

    /// Breaks off what is under way, which can be resumed, and waits for it to end. Later
    /// calls fail.
    pub async fn close(self) {
        let Shared { tasks, closing, .. } = self.shared.as_ref();
        closing.cancel();
        let tasks = tasks.clone();
        drop(self);
        tasks.close();
        tasks.wait().await;
    }
}

/// Why the network was not reached or not known.
#[derive(Debug, Clone, Error)]
pub enum ConnectError {
    /// Nobody told what it looks like.
    #[error("failed to reach the network")]
    Unreachable(#[from] Unreachable),
    /// Its name can't be kept.
    #[error("failed to remember the network")]
    Database(#[from] DatabaseError),
}

/// Why there is no layout.
#[derive(Debug, Clone, Error)]
pub enum ExplainError {
    /// The network was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What was asked for can't be had.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl<W: World> Shared<W> {
    /// Makes sure that the network is known, and remembers which one it is.
    pub(crate) async fn connect(&self) -> Result<(), ConnectError> {
        self.meet().await?;
        if !self.looked_back.swap(true, Ordering::Relaxed) {
            let (batcher, closing) = (Arc::clone(&self.batcher), self.closing.clone());
            self.tasks
                .spawn(async move { closing.run_until_cancelled(batcher.finish_earlier()).await });
        }
        Ok(())
    }

    async fn meet(&self) -> Result<(), ConnectError> {
        let was_known = self.nodes.links.genesis().is_some();
        if was_known && !self.nodes.directory.view().pairs.is_empty() {
            return Ok(());
        }
        self.nodes.directory.fresh().await?;
        if let (false, Some(genesis)) = (was_known, self.nodes.links.genesis()) {
            let bytes = genesis.encode();
            self.database
                .write("remember the network", move |connection| {
                    let sql = "INSERT OR IGNORE INTO meta (key, value) VALUES ('genesis', ?1)";
                    connection.execute(sql, [&bytes]).map(|_rows| ())
                })
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn layout(
        &self,
        length: Option<u64>,
        wish: &Wish,
    ) -> Result<Layout, LayoutError> {
        let directory = &self.nodes.directory;
        let clock = self.nodes.world.clock();
        let began = clock.elapsed();
        // A table that is a little old is better than none; placing asks again.
        let mut told = directory.fresh().await;
        loop {
            let view = told.unwrap_or_else(|_unreachable| directory.view());
            let chosen = choose(length, wish, directory.open_pairs(&view).count());
            let would_do = choose(length, wish, view.pairs.len()).is_ok();
            let patience = if would_do { PAIRS_AWAITED } else { PAIRS_LOOKED_FOR };
            if chosen.is_ok() || clock.elapsed().saturating_sub(began) >= patience {
                return chosen;
            }
            clock.sleep(PAIRS_ASKED_EVERY).await;
            told = directory.refresh().await;
        }
    }

    pub(crate) fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, tasks::Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn known_genesis(database: &Database) -> Result<Option<Genesis>, DatabaseError> {
    let bytes = database
        .read("read the network", |connection| {
            let sql = "SELECT value FROM meta WHERE key = 'genesis'";
            connection.query_row(sql, (), |row| row.get::<_, Vec<u8>>(0)).optional()
        })
        .await?;
    // One that can't be read is as good as none: the network is met again.
    Ok(bytes.and_then(|bytes| Genesis::decode(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::TaskId;
    use crate::pipeline::sink::Sink;
    use crate::pipeline::source::Source;
    use crate::progress::Watcher;

    fn is_send<T: Send>(_: T) {}

    /// Compiles only while callers may spawn every operation.
    #[expect(dead_code, reason = "the compiler is the test")]
    fn operations_can_be_spawned<P: Peers, C: Clock, R: Randomness, K: Compute>(
        client: &Client<P, C, R, K>,
        (source, put, sink): (Source, PutOptions, Sink),
    ) {
        let name = || FileRef::Name(String::new());
        is_send(client.put(source, put));
        is_send(client.get(name(), sink, GetOptions::default()));
        is_send(client.stat(name(), true));
        is_send(client.remove(""));
        is_send(client.resume(TaskId(1), Watcher::default()));
        is_send(client.pause(TaskId(1)));
        is_send(client.cancel(TaskId(1)));
        is_send(client.tasks());
        is_send(client.list());
        is_send(client.view());
        is_send(client.clone().close());
    }
}
