//! A test that runs again in a network of its own: with one address that the internet would
//! route, so that AutoNAT judges it, and with multicast that nobody else hears.

use std::process::Command;

use tokio::runtime::Builder;

/// Says to the test that it runs in that network.
const INSIDE: &str = "DEFS_TEST_IN_OWN_NETWORK";

/// The address of that network, beside those of loopback.
pub(crate) const ADDRESS: &str = "45.0.0.1";

/// What makes the network: loopback alone, since a kernel may have no other device.
const SET_UP: [&str; 3] = [
    "ip link set lo up multicast on",
    "ip address add 45.0.0.1/24 dev lo",
    "ip route add 224.0.0.0/4 dev lo",
];

/// Runs `body` in a network of its own. `name` is the test's, with its module. Where the
/// system gives no such network the test says so and checks nothing.
pub(crate) fn in_own_network(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(body);
    }
    let set_up = SET_UP.join(" && ");
    if let Err(why) = run(&["sh", "-c", &set_up]) {
        return skipped(name, &why);
    }
    let test = std::env::current_exe().unwrap();
    let again = format!("{set_up} && exec \"$0\" --exact {name} --nocapture");
    let told = run(&["sh", "-c", &again, test.to_str().unwrap()]);
    assert!(told.as_ref().is_ok_and(|told| told.contains("1 passed")), "{told:#?}");
}

#[expect(clippy::print_stderr, reason = "whoever reads the report must know")]
fn skipped(name: &str, why: &str) {
    eprintln!("{name} was skipped: no network of its own can be made here: {why}");
}

/// What a command says in a new network, where it is root.
fn run(command: &[&str]) -> Result<String, String> {
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .args(command)
        .env(INSIDE, "1")
        .output()
        .map_err(|error| error.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ran.status.success() {
        return Ok(said(&ran.stdout));
    }
    Err(said(&ran.stderr) + &said(&ran.stdout))
}
