//! A storage node that is started by its own program, as on a machine of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{eventually, free_port, http, program};

/// How long a node may take to serve, and to stop.
const SOON: Duration = Duration::from_secs(30);

/// A storage node that ends with the value.
#[derive(Debug)]
pub struct Node {
    child: Child,
    folder: PathBuf,
    port: u16,
    status_port: u16,
}

/// What a node is started with besides its folder and ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Flags.
    pub flags: &'a [&'a str],
    /// Variables.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Node {
    /// Starts a node of the network that `first` is of, or founds one, and waits until it
    /// serves. Its log is `node.log` beside its folder.
    pub fn start(folder: &Path, first: Option<&Self>, options: Options<'_>) -> Result<Self> {
        let (port, status_port) = (free_port()?, free_port()?);
        let host = folder.file_name().context("a folder with a name")?;
        let log = File::create(folder.with_extension("log"))?;
        let mut command = Command::new(program("defs-node")?);
        command
            .arg("--data-dir")
            .arg(folder)
            .args(["--listen-address", "127.0.0.1", "--capacity", "1Gi"])
            .args(["--port", &port.to_string(), "--status-port", &status_port.to_string()])
            .arg("--host")
            .arg(host)
            .args(options.flags)
            .envs(options.environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log);
        match first {
            None => command.arg("--bootstrap"),
            Some(founder) => command
                .arg("--network-file")
                .arg(founder.folder.join("network"))
                .arg("--invite-file")
                .arg(founder.folder.join("invite"))
                .args(["--bootstrap-peers", &founder.address()]),
        };
        let child = command.spawn().context("failed to start defs-node")?;
        let node = Self { child, folder: folder.to_owned(), port, status_port };
        let ready = || http(status_port, "/readyz").is_some_and(|told| told.contains("200 OK"));
        eventually("the node is ready", SOON, ready)?;
        Ok(node)
    }

    /// Where it can be dialled.
    pub fn address(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.port)
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its health and metrics are.
    pub fn status_port(&self) -> u16 {
        self.status_port
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.with_extension("log"))?)
    }

    /// The number on the line of its metrics that begins with `name`.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let page = http(self.status_port, "/metrics").context("no metrics")?;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(value).with_context(|| format!("no {name} in:\n{page}"))
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, Signal::TERM)?;
        let mut ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        eventually("the node has stopped", SOON, &mut ended)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
