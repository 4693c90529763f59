//! Nodes on the machines of a laboratory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Lab, Machine, PORT, dialled_at, within};
use crate::{User, eventually, program};

/// How long a node may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(30);

impl Lab {
    /// Starts a node on `machine` and waits until it answers.
    pub fn start(&self, machine: Machine, start: &Start<'_>) -> Result<Node> {
        let mut command = within(&self.namespace(machine), &program("defs-node")?);
        fs::create_dir_all(&start.folder)?;
        let log = fs::File::create(start.folder.join("node.log"))?;
        command
            .arg("--data-dir")
            .arg(&start.folder)
            .args(["--host", &host(machine), "--capacity", "1Gi"])
            .args(["--port", &PORT.to_string(), "--bootstrap-peers", &dialled_at(start.peers)])
            .envs(start.settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if start.is_bootstrap {
            command.arg("--bootstrap");
        }
        if let Some(founder) = start.founder {
            command.arg("--network-file").arg(founder.join("network"));
            command.arg("--invite-file").arg(founder.join("invite"));
        }
        let socket = start.folder.join("admin.sock");
        // Of a node that was killed there.
        drop(fs::remove_file(&socket));
        let mut node = Node { child: command.spawn()?, folder: start.folder.clone() };
        let ready = || socket.exists() || node.child.try_wait().is_ok_and(|ended| ended.is_some());
        eventually(&format!("the node of {machine:?} answers"), READY_WITHIN, ready)?;
        if let Some(ended) = node.child.try_wait()? {
            bail!("the node of {machine:?} ended with {ended}: {}", node.log());
        }
        Ok(node)
    }
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// Its data folder.
    pub folder: PathBuf,
    /// Whom it asks first.
    pub peers: &'a [Machine],
    /// Whether it is a bootstrap node.
    pub is_bootstrap: bool,
    /// The data folder of the node that founded the network, unless this one does.
    pub founder: Option<&'a Path>,
    /// Variables of its environment.
    pub settings: &'a [(&'a str, &'a str)],
}

/// A storage node that ends with the value.
#[derive(Debug)]
pub struct Node {
    child: Child,
    folder: PathBuf,
}

impl Node {
    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.kill());
    }
}

/// Machines with a node each, and a user at one more.
#[derive(Debug)]
pub struct Network {
    /// Ended before the machines that they run on, and before their folders go.
    pub nodes: BTreeMap<Machine, Node>,
    /// Who stands at a machine of its own.
    pub user: User,
    /// What the machines are joined by.
    pub lab: Lab,
    settings: Vec<(&'static str, &'static str)>,
    founder: Machine,
}

impl Network {
    /// A network without nodes whose user stands at `at` and knows `peers`.
    pub fn new(mut lab: Lab, at: u8, peers: &[Machine]) -> Result<Self> {
        let at = lab.machine(at)?;
        let user = lab.user(at, peers)?;
        let founder = *peers.first().context("a node that is known")?;
        Ok(Self { user, nodes: BTreeMap::new(), lab, settings: Vec::new(), founder })
    }

    /// Sets a variable for the nodes that start from now on.
    pub fn set(&mut self, name: &'static str, value: &'static str) {
        self.settings.push((name, value));
    }

    /// The data folder of a machine's node.
    pub fn folder(&self, machine: Machine) -> PathBuf {
        self.user.home().join(format!("node-{}", machine.0))
    }

    /// Starts a node that asks `peers` first. The first one founds the network.
    pub fn start(&mut self, machine: Machine, peers: &[Machine], is_bootstrap: bool) -> Result<()> {
        let founder = self.folder(self.founder);
        let start = Start {
            folder: self.folder(machine),
            peers,
            is_bootstrap,
            founder: (machine != self.founder).then_some(founder.as_path()),
            settings: &self.settings,
        };
        let node = self.lab.start(machine, &start)?;
        self.nodes.insert(machine, node);
        Ok(())
    }

    /// What `defs nodes` says of each machine's node.
    pub fn told(&self) -> Result<BTreeMap<Machine, Value>> {
        let machine_of = |node: &Value| node["host"].as_str()?.strip_prefix("host-")?.parse().ok();
        let nodes = self.user.events(&["nodes"])?.into_iter();
        Ok(nodes.filter_map(|node| Some((Machine(machine_of(&node)?), node))).collect())
    }

    /// The machines of each pair, the lower number first.
    pub fn pairs(&self) -> Result<BTreeMap<String, [Machine; 2]>> {
        let told = self.told()?;
        let machine_of = |id: &Value| {
            let known = told.iter().find(|(_, node)| node["id"] == *id);
            known.map(|(machine, _)| *machine).with_context(|| format!("no machine runs {id}"))
        };
        let members = |pair: Value| {
            let [one, other] = ["primary", "mirror"].map(|member| machine_of(&pair[member]["id"]));
            let (one, other) = (one?, other?);
            let id = pair["id"].as_str().context("a pair has an id")?.to_owned();
            Ok((id, [one.min(other), one.max(other)]))
        };
        self.user.pairs()?.into_iter().map(members).collect()
    }

    /// Waits until there are so many pairs, all of them healthy.
    pub fn all_healthy(&self, wanted: usize, within: Duration) -> Result<()> {
        let healthy = eventually(&format!("{wanted} pairs are healthy"), within, || {
            let pairs = self.user.pairs().unwrap_or_default();
            pairs.len() == wanted && pairs.iter().all(|pair| pair["state"] == "healthy")
        });
        healthy.with_context(|| format!("{:#?}", self.user.pairs()))
    }
}

/// How a machine's node calls its host.
fn host(machine: Machine) -> String {
    format!("host-{}", machine.0)
}
