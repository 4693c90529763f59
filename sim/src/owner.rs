//! Owners: clients with a folder of their own, on a machine that may end at any time.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use defs_client::{ClientConfig, FileRef, GetError, GetOptions, Ports, SecretKey, Sink};
use defs_core::ids::NodeId;
use defs_core::size::Size;
use defs_identity::CachedChecker;
use defs_port_suite::{FaultyNetwork, Host, HostClock};
use tempfile::TempDir;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::ports::{Here, SharedChance, SimClient};

/// Where folders are made: in memory, where the system has such a place.
const IN_MEMORY: &str = "/dev/shm";

/// One owner, and the folder of its client.
#[derive(Debug)]
pub struct Owner {
    /// From 1.
    pub number: u64,
    seed: u64,
    identity: [u8; 32],
    home: TempDir,
    lives: u64,
    network: FaultyNetwork,
    contacts: Vec<NodeId>,
    began: Instant,
    checker: Arc<CachedChecker>,
}

impl Owner {
    /// Owner `number`, who knows the nodes that are on now.
    pub fn new(number: u64, cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            number,
            seed: cluster.seed,
            identity: Chance::of(cluster.seed, &format!("owner {number}")).bytes(),
            home: folder()?,
            lives: 0,
            network: cluster.network.clone(),
            contacts: cluster.on(),
            began: cluster.began,
            checker: Arc::clone(&cluster.checker),
        })
    }

    /// The same owner with an empty folder, as on a new machine.
    pub fn elsewhere(&self) -> Result<Self> {
        Ok(Self {
            number: self.number,
            seed: self.seed,
            identity: self.identity,
            home: folder()?,
            lives: self.lives + 1000,
            network: self.network.clone(),
            contacts: self.contacts.clone(),
            began: self.began,
            checker: Arc::clone(&self.checker),
        })
    }

    /// Opens the client. What an earlier one left in the folder is there, as a machine
    /// that ended leaves it; what still runs of the earlier one has no part in it.
    pub async fn open(&mut self) -> Result<(SimClient, Arc<Host>)> {
        self.lives += 1;
        let home = self.home.path().join(format!("life {}", self.lives));
        copy_database(&self.home.path().join(format!("life {}", self.lives - 1)), &home)?;
        let label = format!("client {} in life {}", self.number, self.lives);
        let chance = Arc::new(Chance::of(self.seed, &label));
        let host = Host::on(self.began, 0);
        let me = SecretKey::from_seed(&chance.bytes()).public().node_id();
        let ports = Ports {
            peers: self.network.peers(me, Arc::clone(&host)),
            clock: HostClock(Arc::clone(&host)),
            random: SharedChance(chance),
            compute: Here,
        };
        let identity = SecretKey::from_seed(&self.identity);
        let config = ClientConfig::new(home, identity, self.contacts.clone());
        let checker = Arc::clone(&self.checker);
        let memory_budget = Size::mib(16);
        let config = ClientConfig { blocks: true, memory_budget, checker, ..config };
        let client = SimClient::open(ports, config).await.context("a client did not open")?;
        Ok((client, host))
    }
}

fn folder() -> Result<TempDir> {
    let folder = match TempDir::new_in(IN_MEMORY) {
        Ok(folder) => Ok(folder),
        Err(_) => TempDir::new(),
    };
    folder.context("no temporary folder")
}

/// Copies the database and its log. Nobody writes to it meanwhile: writes are made in one
/// go on this thread.
fn copy_database(from: &Path, to: &Path) -> Result<()> {
    // Its locks end with the process that held them: the folder is there, and empty.
    std::fs::create_dir_all(to.join("tasks")).context("no folder for a client")?;
    for name in ["client.db", "client.db-wal"] {
        match std::fs::copy(from.join(name), to.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.context("a client's database was not copied")?),
        }
    }
    Ok(())
}

/// Gets a file into memory.
pub async fn get(client: &SimClient, file: FileRef) -> Result<Vec<u8>, GetError> {
    let got = Collected::default();
    let sink = Sink::Writer(Box::new(got.clone()));
    client.get(file, sink, GetOptions::default()).await?;
    Ok(std::mem::take(&mut *got.0.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Takes what is written to it.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl AsyncWrite for Collected {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
