//! A user with a home of their own, who runs the real command and real nodes. Everything
//! listens on loopback, or in a laboratory's namespaces, and ends with the value.

pub mod lab;
pub mod node;
pub mod otlp;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A user of the command, with a home that is removed with the value.
#[derive(Debug)]
pub struct User {
    home: tempfile::TempDir,
    program: PathBuf,
    namespace: Option<String>,
    environment: Vec<(String, String)>,
}

/// What a run of the command left.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The standard output.
    pub out: Vec<u8>,
    /// The standard error stream.
    pub err: String,
}

impl Ran {
    /// The JSON objects that were printed.
    pub fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.out);
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Fails with what was printed unless the command succeeded.
    pub fn succeeded(self) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        bail!("exit code {:?}\n{}\n{}", self.code, String::from_utf8_lossy(&self.out), self.err)
    }
}

/// How files are put that three pairs can take.
const KINDS: [&[&str]; 3] = [
    &["--mode", "file"],
    &["--mode", "slice"],
    &["--mode", "rs-size", "--data", "4", "--parity", "2"],
];

impl User {
    /// A user with a key and no nodes.
    pub fn new() -> Result<Self> {
        let user = Self::without_key()?;
        user.run(&["key", "new"])?.succeeded()?;
        Ok(user)
    }

    /// A user who has nothing yet.
    pub fn without_key() -> Result<Self> {
        let home = tempfile::Builder::new().prefix("defs-").tempdir()?;
        Ok(Self { home, program: program("defs")?, namespace: None, environment: Vec::new() })
    }

    /// A user with a key and `nodes` running nodes in pairs.
    pub fn with_nodes(nodes: usize) -> Result<Self> {
        let user = Self::new()?;
        user.up(nodes)?;
        Ok(user)
    }

    /// Sets a variable for the command and for the nodes that it starts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs every command in a network namespace from now on.
    pub fn stand_in(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
    }

    /// The data folder of the node that runs as `pid`.
    pub fn folder_of(&self, pid: &Value) -> Result<PathBuf> {
        let nodes = self.events(&["status"])?;
        let node = nodes.iter().find(|node| node["pid"] == *pid).context("a node of this user")?;
        Ok(self.home().join("cluster").join(node["name"].as_str().context("a name")?))
    }

    /// Starts nodes, or starts them again.
    pub fn up(&self, nodes: usize) -> Result<()> {
        self.up_with(nodes, "4Gi")
    }

    /// Starts nodes that offer `capacity` each.
    pub fn up_with(&self, nodes: usize, capacity: &str) -> Result<()> {
        let nodes = nodes.to_string();
        self.run(&["up", "--detach", "--nodes", &nodes, "--capacity", capacity])?.succeeded()?;
        Ok(())
    }

    /// The process ids of the nodes that run.
    pub fn pids(&self) -> Result<Vec<i64>> {
        Ok(self.events(&["status"])?.iter().filter_map(|node| node["pid"].as_i64()).collect())
    }

    /// What all nodes say of `field`, in sum.
    pub fn sum(&self, field: &str) -> Result<u64> {
        Ok(self.events(&["status"])?.iter().filter_map(|node| node[field].as_u64()).sum())
    }

    /// The user's `DEFS_HOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A node's data folder; nodes count from 1.
    pub fn node_folder(&self, node: usize) -> PathBuf {
        self.home().join(format!("cluster/node-{node}"))
    }

    /// The command, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.namespace {
            Some(namespace) => lab::within(namespace, &self.program),
            None => Command::new(&self.program),
        };
        command.args(args).env("DEFS_HOME", self.home()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, args: &[&str]) -> Result<Ran> {
        let output = self.command(args).output().context("failed to run defs")?;
        Ok(ran(output))
    }

    /// Runs the command with `input` on its standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Result<Ran> {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("the input is piped")?;
        std::thread::scope(|scope| {
            // A command that reads nothing closes the pipe; its own words say why.
            scope.spawn(move || drop(stdin.write_all(input)));
            Ok(ran(child.wait_with_output()?))
        })
    }

    /// Starts the command and goes on.
    pub fn start(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.command(args);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// The events of a successful `--json` run.
    pub fn events(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut all = vec!["--json"];
        all.extend(args);
        Ok(self.run(&all)?.succeeded()?.events())
    }

    /// The pairs as `defs pairs --json` tells them.
    pub fn pairs(&self) -> Result<Vec<Value>> {
        self.events(&["pairs"])
    }

    /// Ends both nodes of `pair` with SIGKILL and waits until they are gone.
    pub fn kill_pair(&self, pair: &Value) -> Result<()> {
        for member in ["primary", "mirror"] {
            self.kill(pair[member]["pid"].as_i64().context("the member runs here")?)?;
        }
        Ok(())
    }

    /// Ends a process with SIGKILL and waits until it is gone.
    pub fn kill(&self, pid: i64) -> Result<()> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::KILL)?;
        eventually("the killed process is gone", Duration::from_secs(10), || {
            test_kill_process(pid).is_err() || is_zombie(pid)
        })
    }

    /// Puts bytes under a name by way of a file; answers the event of the put.
    pub fn put_bytes(&self, name: &str, bytes: &[u8], options: &[&str]) -> Result<Value> {
        let path = self.home().join("to-put");
        fs::write(&path, bytes)?;
        let path = path.to_str().context("a Unicode path")?.to_owned();
        let mut args = vec!["put", &path, "--name", name];
        args.extend(options);
        let events = self.events(&args)?;
        events.into_iter().find(|event| event["event"] == "put").context("no put was told")
    }

    /// Gets a file by its name through the standard output.
    pub fn get_bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.run(&["get", name, "-o", "-"])?.succeeded()?.out)
    }

    /// Puts a file in each way that three pairs can take; answers names and bytes.
    pub fn put_of_each_kind(&self, length: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let put = |(seed, options): (u64, &[&str])| {
            let (name, bytes) = (options[1].to_owned(), noise(seed, length));
            self.put_bytes(&name, &bytes, options)?;
            Ok((name, bytes))
        };
        (1..).zip(KINDS).map(put).collect()
    }

    /// Gets every file and compares it with what was put.
    pub fn gets_all(&self, files: &[(String, Vec<u8>)], when: &str) -> Result<()> {
        for (name, bytes) in files {
            ensure!(self.get_bytes(name)? == *bytes, "{name} differs {when}");
        }
        Ok(())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A user without nodes gets an error here, which nobody needs.
        drop(self.command(&["down"]).output());
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program of this workspace, built beside the one that runs.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(3);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not built: run `cargo build --release --workspace`"))
}

/// What a page of a node's status port says, `None` while nobody listens there.
pub fn http(port: u16, page: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut told = String::new();
    stream.read_to_string(&mut told).ok()?;
    Some(told)
}

/// A port on which nobody listens now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Waits until `holds`, and says what it waited for when that takes too long.
pub fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = now() + within;
    while !holds() {
        if now() > deadline {
            bail!("{what}: not within {within:?}");
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

fn is_zombie(pid: Pid) -> bool {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = fs::read_to_string(path).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// A file of noise, written in pieces so that its size does not matter.
pub fn noise_file(path: &Path, seed: u64, bytes: u64) -> Result<()> {
    const PIECE: u64 = 16 << 20;
    let file = fs::File::create(path);
    let mut file = file.with_context(|| format!("failed to make {}", path.display()))?;
    for piece in 0..bytes.div_ceil(PIECE) {
        let length = PIECE.min(bytes - piece * PIECE);
        file.write_all(&noise(seed << 32 | piece, usize::try_from(length)?))?;
    }
    Ok(())
}

/// `length` bytes that look random and are the same for one seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    // The reader never ends.
    drop(reader.read_exact(&mut bytes));
    bytes
}
