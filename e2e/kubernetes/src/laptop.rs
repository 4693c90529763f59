//! A machine outside of the cluster that reaches one port of it, as through a port-forward.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use defs_e2e::User;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::Network;
use crate::wait::seconds;

/// This machine's end of the only cable, and the laptop's.
const ENDS: [&str; 2] = ["10.255.77.1", "10.255.77.2"];

/// The port that `kubectl port-forward` listens at.
const PORT: u16 = 14_001;

/// A network namespace with one cable to this machine and no route to anywhere else, an owner
/// in it, and `kubectl port-forward` at this machine's end.
pub struct Laptop {
    space: Space,
    owner: User,
    config: String,
    /// Ends with the value, or when nobody can read what it says.
    _forward: (Child, BufReader<ChildStdout>),
}

impl std::fmt::Debug for Laptop {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Laptop({})", self.space.0)
    }
}

impl Laptop {
    /// A laptop with a port-forward to the clients' service of `network`.
    pub async fn of(network: &Network<'_>) -> Result<Self> {
        let space = Space::new().await?;
        let forward = forward(network).await?;
        let [genesis, settings] = network.public().await?;
        let mut owner = User::new()?;
        owner.stand_in(&space.0);
        owner.set("DEFS_BOOTSTRAP_PEERS", &format!("/ip4/{}/tcp/{PORT}", ENDS[0]));
        let [known, config] = ["network", "client.yaml"].map(|name| owner.home().join(name));
        std::fs::write(&known, genesis)?;
        std::fs::write(&config, settings)?;
        owner.set("DEFS_NETWORK_FILE", known.to_str().context("a Unicode path")?);
        let config = config.to_str().context("a Unicode path")?.to_owned();
        Ok(Self { space, owner, config, _forward: forward })
    }

    /// Runs `defs` there. What it answered, and what it said beside that.
    pub async fn defs(&self, arguments: &[&str]) -> Result<(Vec<u8>, String)> {
        let all = [&["--config", &self.config][..], arguments].concat();
        let mut command = Command::from(self.owner.command(&all));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let shown = arguments.first().copied().unwrap_or_default();
        let ran = timeout(seconds(120), command.output()).await;
        let ran = ran.with_context(|| format!("defs {shown} on a laptop did not end"))??;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ensure!(ran.status.success(), "defs {shown} on a laptop: {said}");
        Ok((ran.stdout, said))
    }

    /// Stores `bytes` under `name`.
    pub async fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.owner.home().join("to-put");
        std::fs::write(&path, bytes)?;
        let path = path.to_str().context("a Unicode path")?;
        self.defs(&["put", path, "--name", name]).await.map(drop)
    }
}

/// Starts `kubectl port-forward` and waits until it listens.
async fn forward(network: &Network<'_>) -> Result<(Child, BufReader<ChildStdout>)> {
    let namespace = network.namespace();
    let port = network.cluster().await?.spec.node.port;
    let service = format!("service/{}", network.name());
    let mut child = namespace.world().kubectl(&[
        "port-forward",
        "--namespace",
        namespace.name(),
        "--address",
        ENDS[0],
        &service,
        &format!("{PORT}:{port}"),
    ])?;
    let mut out = BufReader::new(child.stdout.take().context("what kubectl says")?);
    let mut line = String::new();
    let read = timeout(seconds(20), out.read_line(&mut line)).await;
    read.context("kubectl port-forward says nothing")??;
    ensure!(line.contains("Forwarding from"), "kubectl port-forward says {line:?}");
    Ok((child, out))
}

/// A network namespace, removed with the value.
struct Space(String);

impl Space {
    async fn new() -> Result<Self> {
        let space = Self(format!("defs-laptop-{}", std::process::id()));
        let name = &space.0;
        let cable = format!("defsl{}", std::process::id() % 100_000);
        for line in [
            format!("netns add {name}"),
            format!("link add {cable} type veth peer name eth0 netns {name}"),
            format!("address add {}/30 dev {cable}", ENDS[0]),
            format!("link set {cable} up"),
            format!("-n {name} address add {}/30 dev eth0", ENDS[1]),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
        ] {
            let ran = Command::new("ip").args(line.split(' ')).output().await?;
            let said = String::from_utf8_lossy(&ran.stderr);
            ensure!(ran.status.success(), "ip {line}: {said}");
        }
        Ok(space)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let remove = std::process::Command::new("ip").args(["netns", "delete", &self.0]).output();
        drop(remove);
    }
}
