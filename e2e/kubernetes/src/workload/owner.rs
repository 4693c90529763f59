//! An owner outside of the cluster, with the library that the command uses: one client that
//! stays open, so that it lives through all that happens.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use defs_client::connect::{Connection, Sought, connect};
use defs_client::{
    Client, ClientConfig, FileRef, GetOptions, Put, PutOptions, SecretKey, Sink, Source, Ticket,
};
use defs_core::mode::Wish;
use defs_core::network::Genesis;
use defs_core::port::Randomness;
use defs_launch::{CpuPool, OsRandom, SystemClock, load_settings};
use kube::ResourceExt;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::Network;
use crate::wait::seconds;

/// Threads for sealing and coding: the machine has other work.
const WORKERS: u32 = 1;

/// Bytes on their way between the client and who compares them.
const PIPE: usize = 256 << 10;

type OwnersClient = Client<Connection, SystemClock, OsRandom, CpuPool>;

/// An owner with a key and a folder of their own.
pub struct Owner {
    client: OwnersClient,
    wish: Wish,
    /// Removed with the value.
    _home: TempDir,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Owner")
    }
}

impl Owner {
    /// A new owner of a network.
    pub async fn of(network: &Network<'_>) -> Result<Self> {
        Self::who_asks(network, network).await
    }

    /// An owner of a network who asks the nodes of `asked` for it.
    pub async fn who_asks(network: &Network<'_>, asked: &Network<'_>) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("defs-e2e-").tempdir()?;
        let [genesis, settings] = network.public().await?;
        let path = home.path().join("client.yaml");
        std::fs::write(&path, settings)?;
        let peers = peers(asked).await?;
        let flags = vec![
            // What the settings name are names that only the cluster's DNS knows.
            ("bootstrapPeers".to_owned(), peers.join(",")),
            ("workers".to_owned(), WORKERS.to_string()),
            ("dataDir".to_owned(), path.with_file_name("data").display().to_string()),
        ];
        let settings = load_settings(Some(&path), std::iter::empty(), flags)?;
        let genesis = Genesis::from_text(&genesis).context("the file that names the network")?;
        let sought = Sought {
            bootstrap: settings.bootstrap_peers.clone(),
            network: Some(genesis.network()),
            within: seconds(10),
        };
        let (peers, contacts) = connect(&settings, &OsRandom, sought).await?;
        let identity = SecretKey::from_seed(&OsRandom.array());
        let config = ClientConfig {
            network: Some(genesis.network()),
            memory_budget: settings.memory_budget,
            ..ClientConfig::new(home.path().join("client"), identity, contacts)
        };
        let compute = CpuPool::new(settings.workers)?;
        let ports =
            defs_client::Ports { peers, clock: SystemClock::new(), random: OsRandom, compute };
        let client = Client::open(ports, config).await?;
        Ok(Self { client, wish: settings.wish(false), _home: home })
    }

    /// Stores an object. It is acknowledged when this is answered.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<Put> {
        let options = PutOptions::new(name, self.wish.clone());
        Ok(self.client.put(Source::Bytes(Bytes::from(bytes)), options).await?)
    }

    /// Reads an object by its name.
    pub async fn get(&self, name: &str) -> Result<Vec<u8>> {
        self.read(FileRef::Name(name.to_owned())).await
    }

    /// Reads an object by its ticket.
    pub async fn get_by(&self, ticket: Ticket) -> Result<Vec<u8>> {
        self.read(FileRef::Ticket(ticket)).await
    }

    async fn read(&self, file: FileRef) -> Result<Vec<u8>> {
        let (mut ours, theirs) = tokio::io::duplex(PIPE);
        let sink = Sink::Writer(Box::new(theirs));
        let mut bytes = Vec::new();
        let getting = self.client.get(file, sink, GetOptions::default());
        let (got, read) = tokio::join!(getting, ours.read_to_end(&mut bytes));
        got?;
        read?;
        Ok(bytes)
    }

    /// The nodes and pairs that the network shows to its clients.
    pub async fn pairs_seen(&self) -> Result<usize> {
        Ok(self.client.view().await?.pairs.len())
    }
}

/// Where the nodes of a network can be dialled from outside.
async fn peers(network: &Network<'_>) -> Result<Vec<String>> {
    let port = network.cluster().await?.spec.node.port;
    let mut pods = network.pods().await?;
    pods.sort_by_key(ResourceExt::name_any);
    let addresses = pods.into_iter().filter_map(|pod| pod.status?.pod_ip);
    let peers: Vec<_> = addresses.map(|address| format!("/ip4/{address}/tcp/{port}")).collect();
    ensure!(!peers.is_empty(), "no node of {} has an address", network.name());
    Ok(peers)
}
