//! A real Prometheus reads what real nodes tell, and answers what the dashboard asks it.
#![cfg(test)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defs_e2e::node::{Node, Options};
use defs_e2e::{User, eventually, free_port, noise};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

const DASHBOARD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/defs/files/dashboards/defs.json");

/// Names of what only an operator tells.
const OF_THE_OPERATOR: [&str; 4] =
    ["controller_runtime_", "workqueue_", "leader_election_", "defs_operator_"];

/// Prometheus, as scripts/bootstrap leaves it or the machine has it.
fn program() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = given("DEFS_E2E_CACHE")
        .or_else(|| given("XDG_CACHE_HOME").map(|cache| cache.join("defs-e2e")))
        .or_else(|| given("HOME").map(|home| home.join(".cache/defs-e2e")))
        .unwrap();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = [cache.join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&paths))
        .map(|folder| folder.join("prometheus"))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("prometheus is not installed: run scripts/bootstrap"))
}

/// A Prometheus that ends with the value.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// Reads `nodes` every second, each under the name of a pod.
    fn start(folder: &Path, nodes: &[Node]) -> Self {
        let mut config = String::from(
            "global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:\n- job_name: defs\n  static_configs:\n",
        );
        for (number, node) in nodes.iter().enumerate() {
            let target = format!("127.0.0.1:{}", node.status_port());
            writeln!(
                config,
                "  - {{ targets: [\"{target}\"], labels: {{ namespace: test, pod: defs-{number} }} }}"
            )
            .unwrap();
        }
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port().unwrap();
        let child = Command::new(program())
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// What it answers to a query; `None` while it doesn't.
    fn ask(&self, query: &str) -> Option<Value> {
        let body = format!("query={}", encoded(query));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        write!(
            stream,
            "POST /api/v1/query HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut told = String::new();
        stream.read_to_string(&mut told).ok()?;
        serde_json::from_str(told.split_once("\r\n\r\n")?.1).ok()
    }

    /// The series that a query gives.
    fn series(&self, query: &str) -> Vec<Value> {
        let Some(answer) = self.ask(query) else { return Vec::new() };
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").unwrap();
        all
    })
}

/// What the dashboard's panels ask, as Grafana would send it.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_slice(&std::fs::read(DASHBOARD).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|query| query.replace("$namespace", "test").replace("$__rate_interval", "20s"))
        .collect();
    assert!(queries.len() > 30, "{queries:?}");
    queries
}

#[test]
fn a_real_prometheus_answers_what_the_dashboard_asks_of_real_nodes() {
    let user = User::new().unwrap();
    let folder = |number: usize| user.home().join(format!("node-{number}"));
    let mut nodes = vec![Node::start(&folder(0), None, Options::default()).unwrap()];
    for number in 1..4 {
        let node = Node::start(&folder(number), Some(&nodes[0]), Options::default());
        nodes.push(node.unwrap());
    }
    let prometheus = Prometheus::start(&user.home().join("prometheus"), &nodes);
    let healthy = r#"sum(defs_pair_members{namespace="test", state="healthy"})"#;
    let value = |query: &str| {
        let series = prometheus.series(query);
        series.first().and_then(|one| one["value"][1].as_str().map(str::to_owned))
    };
    eventually("all nodes are read, in pairs", SOON, || value(healthy).as_deref() == Some("4"))
        .unwrap();
    let bytes = noise(3, 3 << 20);
    let set = format!("bootstrapPeers={}", nodes[0].address());
    user.put_bytes("x", &bytes, &["--set", &set]).unwrap();
    let stored = "sum(increase(defs_shard_stored_total[1m])) > 0";
    eventually("the put is seen", SOON, || value(stored).is_some()).unwrap();
    assert_eq!(value("sum(up)").as_deref(), Some("4"));
    let asks_an_operator =
        |query: &str| OF_THE_OPERATOR.iter().any(|prefix| query.contains(prefix));
    for query in queries() {
        // What is shown only where something is wrong may show nothing.
        if asks_an_operator(&query) || query.ends_with("> 0") {
            assert!(prometheus.ask(&query).is_some_and(|it| it["status"] == "success"), "{query}");
            continue;
        }
        eventually(&query, SOON, || !prometheus.series(&query).is_empty()).unwrap();
    }
}
