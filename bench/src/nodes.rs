//! Ten storage nodes as a user starts them, with an owner's home beside them; all of it
//! ends and goes with the value.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use defs_e2e::{User, eventually};
use serde_json::Value;

use crate::meter::as_figure;
use crate::process::{self, Ended, Output};
use crate::say;

/// Five pairs, enough for ten and four.
pub(crate) const NODES: u32 = 10;

/// How long the others may take to notice that a pair is gone.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

/// Room that the nodes take besides what is put.
const BESIDES: u64 = 1 << 30;

/// The running nodes and their user.
#[derive(Debug)]
pub(crate) struct Nodes {
    user: User,
    pids: Vec<i64>,
    /// Seconds until all of them, new, had founded a network and formed pairs.
    pub(crate) founded: f64,
    /// Seconds until they were ready when they were started again.
    pub(crate) ready: f64,
    /// The most that a node had resident then.
    pub(crate) idle: u64,
}

impl Nodes {
    /// Starts them, if there is room for `bytes` below the folder for temporary files.
    pub(crate) async fn start(bytes: u64) -> Result<Self> {
        has_room(bytes.saturating_add(BESIDES))?;
        say("starting ten nodes")?;
        // First, so that nodes that have started end with it whatever happens.
        let user = User::new()?;
        let mut nodes = Self { user, pids: Vec::new(), founded: 0.0, ready: 0.0, idle: 0 };
        let count = NODES.to_string();
        let up = ["up", "--detach", "--nodes", &count];
        nodes.founded = nodes.run(&up).await?.wall;
        nodes.run(&["down"]).await?;
        nodes.ready = nodes.run(&up).await?.wall;
        nodes.pids = nodes.user.pids()?;
        ensure!(nodes.pids.len() as u64 == u64::from(NODES), "{} nodes run", nodes.pids.len());
        nodes.idle = nodes.most(|memory| memory.now);
        Ok(nodes)
    }

    /// The user's home.
    pub(crate) fn home(&self) -> &Path {
        self.user.home()
    }

    /// Where the nodes can be dialled.
    pub(crate) fn addresses(&self) -> Result<String> {
        let nodes = self.user.events(&["status"])?;
        let ports = nodes.iter().filter_map(|node| node["port"].as_u64());
        Ok(ports.map(|port| format!("/ip4/127.0.0.1/tcp/{port}")).collect::<Vec<_>>().join(","))
    }

    /// Runs the user's command to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<Ended> {
        process::run(self.user.command(args), Output::Kept).await
    }

    /// As [`Nodes::run`], for a command whose output is a file's bytes.
    pub(crate) async fn run_silent(&self, args: &[&str]) -> Result<Ended> {
        process::run(self.user.command(args), Output::Dropped).await
    }

    /// Processor seconds of all nodes that run.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.pids.iter().map(|pid| process::cpu_of(*pid)).sum()
    }

    /// The most memory that any node that runs has had.
    pub(crate) fn peak(&self) -> u64 {
        self.most(|memory| memory.peak)
    }

    fn most(&self, of: impl Fn(process::Memory) -> u64) -> u64 {
        self.pids.iter().filter_map(|pid| process::memory_of(*pid)).map(of).max().unwrap_or(0)
    }

    /// Bytes of all files in the nodes' data folders.
    pub(crate) fn stored(&self) -> Result<f64> {
        Ok(as_figure(bytes_below(&self.home().join("cluster"))?))
    }

    /// Ends both nodes of a pair with SIGKILL, and waits until the others have noticed.
    pub(crate) fn kill_a_pair(&mut self) -> Result<()> {
        let pairs = self.user.pairs()?;
        let pair = pairs.first().context("there are no pairs")?;
        self.user.kill_pair(pair)?;
        self.pids = self.user.pids()?;
        let is_gone = |other: &Value| other["id"] == pair["id"] && other["state"] == "degraded";
        eventually("the others notice that a pair is gone", NOTICED_WITHIN, || {
            self.user.pairs().is_ok_and(|pairs| pairs.iter().any(is_gone))
        })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // In order first; then those that didn't answer, or had only begun to start.
        drop(self.user.run(&["down"]));
        for pid in nodes_of(self.home()) {
            drop(self.user.kill(pid));
        }
    }
}

/// The node processes whose data lies below `home`.
fn nodes_of(home: &Path) -> Vec<i64> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let home = home.to_string_lossy();
    let is_ours = |pid: &i64| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let program = command.split('\0').next().unwrap_or_default();
        program.ends_with("/defs-node") && command.contains(&*home)
    };
    pids.filter(is_ours).collect()
}

fn has_room(bytes: u64) -> Result<()> {
    let folder = std::env::temp_dir();
    let disk = rustix::fs::statvfs(&folder)
        .with_context(|| format!("failed to ask how much room {} has", folder.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // The nodes offer nine tenths of what is free.
    ensure!(
        free / 10 * 9 >= bytes,
        "{} has {} MB free, this measurement needs {}: set TMPDIR to a folder with more room",
        folder.display(),
        free / 1_000_000,
        (bytes / 9).saturating_mul(10) / 1_000_000
    );
    Ok(())
}

/// Files may come and go meanwhile.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("failed to list {}", folder.display()))? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        sum += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_folder_are_those_of_all_files_below_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("one"), [1; 10]).unwrap();
        fs::write(folder.path().join("a/b/two"), [1; 32]).unwrap();
        assert_eq!(bytes_below(folder.path()).unwrap(), 42);
    }

    #[test]
    fn a_measurement_that_does_not_fit_is_refused() {
        assert!(has_room(1).is_ok());
        let error = has_room(u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("TMPDIR"), "{error}");
    }

    #[test]
    fn processes_of_others_are_not_ours() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(nodes_of(home.path()), Vec::<i64>::new());
    }
}
