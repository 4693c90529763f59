//! What most commands begin with: the settings, the owner's key, the way into the network.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use defs_client::connect::{Connection, Sought, connect};
use defs_client::keys::{KeyStoreError, Passphrase, open_key};
use defs_client::{Client, ClientConfig};
use defs_core::body::Body;
use defs_core::ids::{NetworkId, NodeId};
use defs_core::message::Request;
use defs_core::network::Genesis;
use defs_core::port::{CallError, Peers, Reply};
use defs_core::settings::Settings;
use defs_launch::{CpuPool, OsRandom, SystemClock, environment, load_settings};

use crate::args::Args;
use crate::cluster::Cluster;
use crate::home::Home;

/// How long the first node may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Why a command can't begin.
#[derive(Debug)]
pub(crate) enum OpenedError {
    /// There is no key yet.
    NoKey {
        /// Where it would be.
        path: std::path::PathBuf,
    },
    /// No node is known.
    NoNetwork {
        /// What was tried.
        why: String,
    },
}

impl std::fmt::Display for OpenedError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoKey { path } => write!(
                out,
                "there is no key at {}: make one with `defs key new`, or take yours with `defs key \
                 import`",
                path.display()
            ),
            Self::NoNetwork { why } => write!(
                out,
                "{why}: start nodes on this machine with `defs up --detach`, or name one with --set \
                 bootstrapPeers=/ip4/ADDRESS/tcp/PORT"
            ),
        }
    }
}

impl std::error::Error for OpenedError {}

pub(crate) type OwnersClient = Client<Connection, SystemClock, OsRandom, CpuPool>;

/// The client and what keeps it connected.
pub(crate) struct Opened {
    pub(crate) client: OwnersClient,
}

/// The settings of the file, the environment and the command line.
pub(crate) fn settings(args: &Args) -> Result<Settings> {
    Ok(load_settings(args.config.as_deref(), environment(), args.settings.clone())?)
}

/// The owner's passphrase: from the file, else asked for.
pub(crate) fn passphrase(file: Option<&Path>, prompt: &str) -> Result<Passphrase> {
    let text = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| {
                format!("failed to read the passphrase file {}", path.display())
            })?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => rpassword::prompt_password(prompt).context("failed to ask for the passphrase")?,
    };
    if text.is_empty() {
        bail!("the passphrase is empty");
    }
    Ok(Passphrase::new(text))
}

/// The owner's key, with its passphrase if it has one.
pub(crate) fn key(home: &Home, passphrase_file: Option<&Path>) -> Result<defs_client::SecretKey> {
    let path = home.key();
    if !path.exists() {
        return Err(OpenedError::NoKey { path }.into());
    }
    match open_key(&path, None) {
        Err(KeyStoreError::PassphraseNeeded { .. }) => {
            let passphrase = passphrase(passphrase_file, "Passphrase of your key: ")?;
            Ok(open_key(&path, Some(&passphrase))?)
        }
        opened => Ok(opened?),
    }
}

/// Opens the owner's folder and reaches the network.
pub(crate) async fn open(args: &Args, home: &Home) -> Result<Opened> {
    let settings = settings(args)?;
    let identity = key(home, args.passphrase_file.as_deref())?;
    let network = network(&settings)?;
    let bootstrap = bootstrap(&settings, home)?;
    let sought = Sought { bootstrap, network, within: CONNECT_WITHIN };
    let (connection, contacts) = connect(&settings, &OsRandom, sought).await.map_err(|why| {
        OpenedError::NoNetwork { why: format!("no node of the network was reached ({why})") }
    })?;
    let config = ClientConfig {
        memory_budget: settings.memory_budget,
        buffer_size: settings.buffer_size,
        network,
        ..ClientConfig::new(home.client(), identity, contacts)
    };
    let ports = defs_client::Ports {
        peers: connection,
        clock: SystemClock::new(),
        random: OsRandom,
        compute: CpuPool::new(settings.workers)?,
    };
    let client = Client::open(ports, config).await?;
    Ok(Opened { client })
}

/// Opens the owner's folder without reaching for the network, for what is known here.
pub(crate) async fn offline(args: &Args, home: &Home) -> Result<OfflineClient> {
    let identity = key(home, args.passphrase_file.as_deref())?;
    let ports = defs_client::Ports {
        peers: NoPeers,
        clock: SystemClock::new(),
        random: OsRandom,
        compute: CpuPool::new(Some(1))?,
    };
    Ok(Client::open(ports, ClientConfig::new(home.client(), identity, Vec::new())).await?)
}

pub(crate) type OfflineClient = Client<NoPeers, SystemClock, OsRandom, CpuPool>;

/// Nobody to talk to.
#[derive(Debug)]
pub(crate) struct NoPeers;

impl Peers for NoPeers {
    fn me(&self) -> NodeId {
        NodeId([0; NodeId::SIZE])
    }

    async fn call(&self, to: NodeId, _: Request, _: Body) -> Result<Reply, CallError> {
        Err(CallError::Unreachable { to, why: "this command works without the network".to_owned() })
    }

    fn learn(&self, _: NodeId, _: &[String]) {}
}

/// The network that was named, if one was.
fn network(settings: &Settings) -> Result<Option<NetworkId>> {
    let Some(path) = &settings.network_file else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let genesis = Genesis::from_text(&text)
        .with_context(|| format!("{} does not name a network", path.display()))?;
    Ok(Some(genesis.network()))
}

/// Whom to ask first: who was named, else the local nodes, else whom multicast finds.
fn bootstrap(settings: &Settings, home: &Home) -> Result<Vec<String>> {
    if !settings.bootstrap_peers.is_empty() {
        return Ok(settings.bootstrap_peers.clone());
    }
    let addresses = Cluster::load(&home.cluster())?.map(|cluster| cluster.addresses());
    match addresses {
        Some(addresses) if !addresses.is_empty() => Ok(addresses),
        _ if settings.mdns => Ok(Vec::new()),
        _ => Err(OpenedError::NoNetwork { why: "no node of a network is known".to_owned() }.into()),
    }
}
