//! The owner of the object of a check: a folder with a key of its own, and the `defs` command.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use defs_core::ids::hex;
use defs_core::network::ADDRESSES_MAX;
use defs_core::port::Randomness as _;
use defs_crds::DefsNode;
use defs_launch::{OsRandom, environment, load_settings};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::Bench;
use crate::seen::see_objects;

/// The owner's command.
const DEFS: &str = "defs";

/// Content is made and compared in pieces of this size.
const PIECE: usize = 1 << 20;

/// What a command said last when it failed otherwise than by its own word.
const LAST_WORDS: usize = 400;

/// An owner who has stored one object.
pub(super) struct Owner {
    program: PathBuf,
    folder: TempDir,
    /// What `defs` is told about the network.
    settings: Vec<String>,
    /// The object's name.
    object: String,
    length: u64,
    /// For each command.
    limit: Duration,
}

impl Owner {
    /// Makes the folder, writes down how the network is reached, and has a key made.
    pub(super) async fn new(bench: &Bench<'_>) -> Result<Self> {
        let program = find_program()?;
        let mut folder = folder()?;
        folder.disable_cleanup(bench.asked.keep);
        let settings = network(bench, folder.path()).await?;
        let object = format!("check-{}", hex(&OsRandom.array::<8>()));
        let length = bench.asked.size.0;
        let owner = Self { program, folder, settings, object, length, limit: bench.limit };
        owner.defs(&["key", "new"]).await?;
        Ok(owner)
    }

    /// Stores random bytes.
    pub(super) async fn put(&self) -> Result<()> {
        let path = self.path("content");
        make_content(&path, self.length)
            .with_context(|| format!("failed to write {}", path.display()))?;
        let text = path.to_str().context("the folder's name is not Unicode")?;
        self.defs(&["put", text, "--name", &self.object]).await?;
        Ok(())
    }

    /// Reads the object back, and compares it with what was stored.
    pub(super) async fn read_back(&self) -> Result<()> {
        let (stored, back) = (self.path("content"), self.path("back"));
        if back.exists() {
            fs::remove_file(&back)
                .with_context(|| format!("failed to remove {}", back.display()))?;
        }
        let text = back.to_str().context("the folder's name is not Unicode")?;
        self.defs(&["get", &self.object, "-o", text]).await?;
        if digest(&stored)? != digest(&back)? {
            let length = fs::metadata(&back).map(|it| it.len()).unwrap_or(0);
            bail!("what was read back differs: {length} of {} bytes came", self.length);
        }
        Ok(())
    }

    /// The id of the pair that holds most of the object.
    pub(super) async fn fullest_pair(&self) -> Result<String> {
        let events = self.defs(&["stat", &self.object]).await?;
        let stat = events.iter().find(|event| event["event"] == "stat");
        let pair = stat.and_then(fullest_pair);
        pair.context("`defs stat` doesn't say which pairs hold it")
    }

    /// Removes the object.
    pub(super) async fn remove(&self) -> Result<()> {
        self.defs(&["rm", &self.object]).await.map(drop)
    }

    /// What is left behind where everything is kept.
    pub(super) fn left(&self) -> String {
        let home = self.home();
        format!("{} stays, with the key, in DEFS_HOME={}", self.object, home.display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Runs `defs`. What it said.
    async fn defs(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.program);
        // Settings for another network must not get in between.
        for (name, _) in environment().filter(|(name, _)| name.starts_with("DEFS_")) {
            command.env_remove(name);
        }
        let home = self.home();
        command
            .args(&self.settings)
            .arg("--json")
            .args(arguments)
            .env("DEFS_HOME", &home)
            // A user without a home of its own has none in a container.
            .env("HOME", &home)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let tried = || format!("defs {}", arguments.join(" "));
        let output = tokio::time::timeout(self.limit, command.output()).await;
        let output = output.with_context(|| format!("`{}` took too long", tried()))?;
        let output = output.with_context(|| format!("failed to run {}", self.program.display()))?;
        let said = events(&String::from_utf8_lossy(&output.stdout));
        if output.status.success() {
            return Ok(said);
        }
        let why = complaint(&said, &String::from_utf8_lossy(&output.stderr));
        bail!("`{}` failed: {why}", tried())
    }
}

/// Beside this program, or in PATH.
fn find_program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program")?;
    let beside = own.parent().map(Path::to_owned);
    let path = environment().find(|(name, _)| name == "PATH").map(|(_, path)| path);
    let path = path.unwrap_or_default();
    let mut folders = beside.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(DEFS)).filter(|it| it.is_file()));
    found.with_context(|| {
        format!("there is no `{DEFS}` command: not beside {}, and not in PATH", own.display())
    })
}

/// A new folder below DEFS_HOME, which may be the only place to write at; else where temporary
/// files go. The owner's own key and catalogue are left alone.
fn folder() -> Result<TempDir> {
    let home = environment().find(|(name, value)| name == "DEFS_HOME" && !value.is_empty());
    let below = home.map_or_else(std::env::temp_dir, |(_, home)| PathBuf::from(home));
    let made = fs::create_dir_all(&below)
        .and_then(|()| tempfile::Builder::new().prefix("check-").tempdir_in(&below));
    made.with_context(|| format!("failed to make a folder in {}", below.display()))
}

/// Writes down which network it is, and how it is reached.
async fn network(bench: &Bench<'_>, folder: &Path) -> Result<Vec<String>> {
    let name = format!("{}-network", bench.cluster);
    let map = bench.access.get::<ConfigMap>(&bench.namespace, &name).await?;
    let map = map.with_context(|| format!("there is no ConfigMap {name}"))?;
    let data = map.data.unwrap_or_default();
    let mut paths = Vec::new();
    for key in ["network", "client.yaml"] {
        let text = data.get(key).with_context(|| format!("ConfigMap {name} has no `{key}`"))?;
        let path = folder.join(key);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        paths.push(path.display().to_string());
    }
    let [network, client] = &paths[..] else { bail!("two files were written, not two paths") };
    let seen = see_objects(&bench.access).await?;
    let cluster = seen.one_cluster(Some(&bench.cluster))?;
    let said = load_settings(Some(Path::new(client)), std::iter::empty(), Vec::new());
    let named = match said {
        Ok(settings) => settings.bootstrap_peers,
        // The command itself says it better when it reads them.
        Err(_unreadable) => Vec::new(),
    };
    let peers = peers(named, &seen.nodes_of(cluster));
    Ok(vec![
        format!("--config={client}"),
        format!("--set=networkFile={network}"),
        format!("--set=bootstrapPeers={}", peers.join(",")),
    ])
}

/// Whom to ask first: the names that clients inside of the cluster use, and the addresses that
/// nodes tell, which lead there from outside too where such lead there at all.
fn peers(named: Vec<String>, nodes: &[&DefsNode]) -> Vec<String> {
    let told = |node: &&DefsNode| {
        let addresses = &node.status.as_ref()?.addresses;
        addresses.iter().find(|it| it.contains("/tcp/") && !it.contains("/p2p-circuit")).cloned()
    };
    let mut peers = named;
    for address in nodes.iter().filter_map(told) {
        if !peers.contains(&address) {
            peers.push(address);
        }
    }
    peers.truncate(ADDRESSES_MAX);
    peers
}

fn make_content(path: &Path, length: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut left = length;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        OsRandom.fill(&mut piece[..part]);
        file.write_all(&piece[..part])?;
        left -= part as u64;
    }
    Ok(())
}

fn digest(path: &Path) -> Result<blake3::Hash> {
    let read = || -> std::io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize())
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}

/// One JSON object a line; what is none is left out.
fn events(said: &str) -> Vec<Value> {
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Why a command failed: its own word, else the last that it said.
fn complaint(said: &[Value], stderr: &str) -> String {
    let causes = said.iter().rev().find_map(|event| event["causes"].as_array());
    if let Some(causes) = causes {
        return causes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(": ");
    }
    let from = stderr.trim().char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
    stderr.trim()[from..].to_owned()
}

/// The pair that holds most pieces of what `defs stat` told; of what rides in its manifest, the
/// first of the manifest's.
fn fullest_pair(stat: &Value) -> Option<String> {
    let slices = stat["slices"].as_array()?;
    let mut held: Vec<(&str, usize)> = Vec::new();
    for shard in slices.iter().filter_map(|slice| slice["shards"].as_array()).flatten() {
        let pair = shard["pair"].as_str()?;
        match held.iter_mut().find(|(known, _)| *known == pair) {
            Some((_, pieces)) => *pieces += 1,
            None => held.push((pair, 1)),
        }
    }
    let fullest = held.into_iter().max_by_key(|(_, pieces)| *pieces).map(|(pair, _)| pair);
    fullest.or_else(|| stat["manifestPairs"][0].as_str()).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn the_pair_with_most_pieces_is_chosen() {
        let shard = |pair: &str| json!({ "pair": pair });
        let stat = json!({
            "manifestPairs": ["cc"],
            "slices": [{ "shards": [shard("aa"), shard("bb")] }, { "shards": [shard("bb")] }],
        });
        assert_eq!(fullest_pair(&stat).as_deref(), Some("bb"));
        let inline = json!({ "manifestPairs": ["cc", "dd"], "slices": [] });
        assert_eq!(fullest_pair(&inline).as_deref(), Some("cc"));
        assert_eq!(fullest_pair(&json!({ "slices": [] })), None);
    }

    #[test]
    fn names_come_first_and_each_node_adds_one_address() {
        let relayed = json!({ "addresses": ["/ip4/1.2.3.4/tcp/1/p2p/x/p2p-circuit"] });
        let nodes = [
            example::node(0, &json!({}), &json!({})),
            example::node(1, &json!({}), &relayed),
            example::node(2, &json!({}), &json!({})),
        ];
        let nodes: Vec<_> = nodes.iter().collect();
        let name = "/dns/demo-0.demo-nodes.shop.svc/tcp/4001".to_owned();
        let found = peers(vec![name.clone()], &nodes);
        assert_eq!(found, [&name, "/ip4/10.0.0.0/tcp/4001", "/ip4/10.0.0.2/tcp/4001"]);
        assert_eq!(peers(vec![name; 2 * ADDRESSES_MAX], &nodes).len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_command_that_fails_is_told_by_its_own_word() {
        let said = events(
            "{\"event\":\"progress\"}\nnoise\n{\"event\":\"error\",\"causes\":[\"a\",\"b\"]}",
        );
        assert_eq!(said.len(), 2);
        assert_eq!(complaint(&said, "x"), "a: b");
        assert_eq!(complaint(&[], " killed \n"), "killed");
        assert_eq!(complaint(&[], &"é".repeat(1000)).chars().count(), LAST_WORDS + 1);
    }

    #[test]
    fn content_has_its_length_and_no_two_are_equal() {
        let folder = tempfile::tempdir().unwrap();
        let length = PIECE as u64 + 7;
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        make_content(&one, length).unwrap();
        make_content(&other, length).unwrap();
        assert_eq!(fs::metadata(&one).unwrap().len(), length);
        assert_ne!(digest(&one).unwrap(), digest(&other).unwrap());
        assert_eq!(digest(&one).unwrap(), digest(&one).unwrap());
    }
}
