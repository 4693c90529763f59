//! The storage nodes of this machine: real processes on loopback, each with a folder of
//! its own, that survive restarts.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use defs_core::size::Size;
use defs_wire::admin as pb;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::admin::Admin;

/// How long a node may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long all nodes together may take to form their pairs.
const PAIRS_WITHIN: Duration = Duration::from_secs(60);

/// How long a node may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// How long a node may take to answer: one that stands still is as good as one that is off.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Why the local nodes are not as they should be.
#[derive(Debug)]
pub(crate) enum ClusterError {
    /// A node ended, or never answered.
    Node {
        /// Which one.
        name: String,
        /// What it wrote last.
        last_words: String,
    },
    /// There are no local nodes.
    None,
}

impl std::fmt::Display for ClusterError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node { name, last_words } => {
                write!(out, "{name} did not start; its last words:\n{last_words}")
            }
            Self::None => {
                out.write_str("there are no storage nodes on this machine: `defs up` makes them")
            }
        }
    }
}

impl std::error::Error for ClusterError {}

/// What is remembered of the local nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cluster {
    #[serde(skip)]
    folder: PathBuf,
    pub(crate) nodes: Vec<LocalNode>,
}

/// One local node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LocalNode {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) capacity: Size,
}

impl Cluster {
    /// The local nodes, if there ever were any.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("cluster.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", path.display()));
            }
        };
        let mut cluster: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        folder.clone_into(&mut cluster.folder);
        Ok(Some(cluster))
    }

    /// The local nodes, or an error that says how to make some.
    pub(crate) fn existing(folder: &Path) -> Result<Self> {
        Ok(Self::load(folder)?.ok_or(ClusterError::None)?)
    }

    /// At least `count` nodes, made if they are missing.
    pub(crate) fn with(folder: &Path, count: usize, capacity: Option<Size>) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let mut cluster = Self::load(folder)?
            .unwrap_or_else(|| Self { folder: folder.to_owned(), nodes: Vec::new() });
        let missing = count.saturating_sub(cluster.nodes.len());
        if missing == 0 {
            return Ok(cluster);
        }
        let capacity = match capacity {
            Some(capacity) => capacity,
            None => part_of_free(folder, count)?,
        };
        for port in free_ports(missing)? {
            let name = format!("node-{}", cluster.nodes.len() + 1);
            cluster.nodes.push(LocalNode { name, port, capacity });
        }
        cluster.save()?;
        Ok(cluster)
    }

    fn save(&self) -> Result<()> {
        let path = self.folder.join("cluster.json");
        let temporary = path.with_extension("new");
        let save = || -> std::io::Result<()> {
            let file = File::create(&temporary)?;
            serde_json::to_writer_pretty(&file, self)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        save().with_context(|| format!("failed to write {}", path.display()))
    }

    /// Where the nodes can be dialled.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().take(16).map(|node| format!("/ip4/127.0.0.1/tcp/{}", node.port)).collect()
    }

    /// A node's data folder.
    pub(crate) fn data_folder(&self, node: &LocalNode) -> PathBuf {
        self.folder.join(&node.name)
    }

    /// What a node says of itself, `None` if it doesn't run or stands still.
    pub(crate) async fn status(&self, node: &LocalNode) -> Option<pb::StatusResponse> {
        self.ask(node, async |mut admin| admin.status().await).await
    }

    /// What a node answers, `None` if it doesn't run.
    async fn ask<T>(
        &self,
        node: &LocalNode,
        question: impl AsyncFnOnce(Admin) -> Result<T>,
    ) -> Option<T> {
        let asked = async { question(Admin::connect(&self.data_folder(node)).await?).await };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.ok()?.ok()
    }

    /// What a node says of its healing, `None` if it doesn't run.
    pub(crate) async fn healing(&self, node: &LocalNode) -> Option<pb::HealingResponse> {
        self.ask(node, async |mut admin| admin.healing().await).await
    }

    /// The admin API of any node that runs.
    pub(crate) async fn any_admin(&self) -> Option<Admin> {
        for node in &self.nodes {
            if self.status(node).await.is_some()
                && let Ok(admin) = Admin::connect(&self.data_folder(node)).await
            {
                return Some(admin);
            }
        }
        None
    }

    /// Starts the nodes that don't run. The first one comes first: it founds the network
    /// that the others are admitted to. Answers how many were started.
    pub(crate) async fn start(&self) -> Result<usize> {
        let program = node_program()?;
        // One that was made before there were copies.
        if let Some(first) = self.nodes.first()
            && !self.has_network()
            && self.data_folder(first).join("network").exists()
        {
            self.keep_network(first)?;
        }
        let mut started = 0;
        let mut waiting = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            if self.status(node).await.is_some() {
                continue;
            }
            started += 1;
            let child = self.spawn(&program, node)?;
            waiting.push((node, child));
            let is_founding = place == 0 && !self.has_network();
            if is_founding {
                self.wait_ready(&mut waiting).await?;
                self.keep_network(node)?;
            }
        }
        self.wait_ready(&mut waiting).await?;
        Ok(started)
    }

    /// Whether the cluster has its own copy of what names the network and admits to it.
    fn has_network(&self) -> bool {
        ["network", "invite"].iter().all(|name| self.folder.join(name).exists())
    }

    /// Keeps what the first node made: it may be lost, and the others go on.
    fn keep_network(&self, founder: &LocalNode) -> Result<()> {
        for name in ["invite", "network"] {
            let (from, to) = (self.data_folder(founder).join(name), self.folder.join(name));
            let temporary = to.with_extension("new");
            // The copy has the same mode: the invite is for its owner's eyes only.
            fs::copy(&from, &temporary)
                .and_then(|_| File::open(&temporary)?.sync_all())
                .and_then(|()| fs::rename(&temporary, &to))
                .with_context(|| {
                    format!("failed to copy {} to {}", from.display(), to.display())
                })?;
        }
        Ok(())
    }

    fn spawn(&self, program: &Path, node: &LocalNode) -> Result<Child> {
        let folder = self.data_folder(node);
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let log = File::create(folder.join("node.log"))?;
        let mut command = Command::new(program);
        command
            .arg("--data-dir")
            .arg(&folder)
            .args(["--listen-address", "127.0.0.1", "--port", &node.port.to_string()])
            .args(["--capacity", &node.capacity.to_string(), "--bootstrap"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for this command, which then stops the nodes in order.
            .process_group(0);
        if self.has_network() {
            command.arg("--network-file").arg(self.folder.join("network"));
            command.arg("--invite-file").arg(self.folder.join("invite"));
        }
        let others = self.nodes.iter().filter(|other| other.name != node.name).take(4);
        let bootstrap: Vec<_> =
            others.map(|other| format!("/ip4/127.0.0.1/tcp/{}", other.port)).collect();
        command.arg("--bootstrap-peers").arg(bootstrap.join(","));
        command.spawn().with_context(|| format!("failed to start {}", program.display()))
    }

    async fn wait_ready(&self, waiting: &mut Vec<(&LocalNode, Child)>) -> Result<()> {
        for (node, child) in waiting.iter_mut() {
            let deadline = Instant::now() + READY_WITHIN;
            while self.status(node).await.is_none() {
                let ended = child.try_wait()?.is_some();
                if ended || Instant::now() > deadline {
                    let log = self.data_folder(node).join("node.log");
                    let words = fs::read_to_string(log).unwrap_or_default();
                    let last: Vec<_> = words.lines().rev().take(5).collect();
                    let last_words = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                    return Err(ClusterError::Node { name: node.name.clone(), last_words }.into());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        waiting.clear();
        Ok(())
    }

    /// How many pairs a node sees healthy, `None` if it doesn't run.
    async fn healthy_pairs(&self, node: &LocalNode) -> Option<usize> {
        let pairs = self.ask(node, async |mut admin| admin.pairs().await).await?;
        Some(pairs.iter().filter(|pair| pair.state == "healthy").count())
    }

    /// Waits until every two nodes are a pair whose members both answer, as far as that
    /// is possible, and every node knows so: the next command may ask any of them. Answers how
    /// many pairs there are.
    pub(crate) async fn wait_paired(&self) -> Result<usize> {
        let wanted = self.nodes.len() / 2;
        let deadline = Instant::now() + PAIRS_WITHIN;
        loop {
            let seen =
                futures::future::join_all(self.nodes.iter().map(|it| self.healthy_pairs(it)));
            let Some(healthy) = seen.await.into_iter().flatten().min() else {
                bail!("no node answers any more");
            };
            if healthy >= wanted {
                return Ok(healthy);
            }
            if Instant::now() > deadline {
                bail!("after {PAIRS_WITHIN:?} {healthy} of {wanted} pairs are healthy");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops every node that runs. Answers how many were stopped.
    pub(crate) async fn stop(&self) -> Result<usize> {
        let mut stopping = Vec::new();
        for node in &self.nodes {
            let Ok(mut admin) = Admin::connect(&self.data_folder(node)).await else { continue };
            let status = admin.status().await?;
            admin.shutdown().await?;
            stopping.push((node, status.pid));
        }
        for (node, pid) in &stopping {
            let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { continue };
            let deadline = Instant::now() + STOP_WITHIN;
            while test_kill_process(pid).is_ok() && !is_zombie(pid) {
                if Instant::now() > deadline {
                    kill_process(pid, Signal::KILL)
                        .with_context(|| format!("failed to end {}", node.name))?;
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(stopping.len())
    }
}

/// Whether a process has ended and only waits for its parent to notice.
fn is_zombie(pid: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// The node's program lies beside this one.
fn node_program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program")?;
    let program = own.with_file_name("defs-node");
    if !program.exists() {
        bail!("{} is missing: it belongs beside {}", program.display(), own.display());
    }
    Ok(program)
}

/// An equal part of nine tenths of what is free.
fn part_of_free(folder: &Path, nodes: usize) -> Result<Size> {
    let disk = rustix::fs::statvfs(folder)
        .with_context(|| format!("failed to ask how much room {} has", folder.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let nodes = u64::try_from(nodes.max(1)).unwrap_or(1);
    // Whole MiB, so that the number reads well.
    Ok(Size::mib((free / 10 * 9 / nodes) >> 20))
}

/// Ports that nobody uses now, held together while they are chosen so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("failed to find free ports")?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_remembered_and_only_grows() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Cluster::load(folder.path()).unwrap().is_none());
        let first = Cluster::with(folder.path(), 4, None).unwrap();
        let again = Cluster::with(folder.path(), 2, None).unwrap();
        assert_eq!(again.addresses(), first.addresses());
        let more = Cluster::with(folder.path(), 6, Some(Size::gib(1))).unwrap();
        assert_eq!(more.nodes.len(), 6);
        assert_eq!(more.addresses()[..4], first.addresses()[..]);
        assert_eq!(more.nodes[5].capacity, Size::gib(1));
    }

    #[test]
    fn a_damaged_memory_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cluster.json"), "{").unwrap();
        assert!(Cluster::load(folder.path()).unwrap_err().to_string().contains("is damaged"));
    }
}
