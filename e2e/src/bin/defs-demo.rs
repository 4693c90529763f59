//! The demonstration: ten real nodes on this machine, real files, a pair killed with
//! SIGKILL, and everything read back. `make demo` runs it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use defs_e2e::{User, eventually, noise_file};
use serde_json::Value;

/// The files that are made: name, bytes.
const FILES: &[(&str, u64)] = &[
    ("note.txt", 1_200),
    ("letter.pdf", 180_000),
    ("photo.jpg", 3_400_000),
    ("album.flac", 60 << 20),
    ("film.mkv", 1 << 30),
];

/// One row of the table at the end.
struct Row {
    name: String,
    mode: String,
    bytes: u64,
    up: f64,
    down: f64,
    without_pair: f64,
}

fn main() -> Result<()> {
    let user = User::new()?;
    say("starting ten storage nodes; they look for partners")?;
    user.run(&["up", "--detach", "--nodes", "10"])?.succeeded()?;
    show(&user, &["pairs"])?;
    let folder = user.home().join("files");
    fs::create_dir_all(&folder)?;
    let mut rows = Vec::new();
    for (seed, (name, bytes)) in (0..).zip(FILES) {
        let path = folder.join(name);
        noise_file(&path, seed, *bytes)?;
        let put = put(&user, &path)?;
        rows.push(Row {
            name: (*name).to_owned(),
            mode: format!("{} {}", word(&put["mode"]), word(&put["geometry"])),
            bytes: *bytes,
            up: speed(*bytes, &put),
            down: 0.0,
            without_pair: 0.0,
        });
    }
    show(&user, &["ls"])?;
    for row in &mut rows {
        row.down = read_back(&user, &folder, &row.name)?;
    }
    kill_a_pair(&user)?;
    for row in &mut rows {
        row.without_pair = read_back(&user, &folder, &row.name)?;
    }
    show(&user, &["stat", "film.mkv"])?;
    user.run(&["down"])?.succeeded()?;
    print_table(&rows)
}

fn kill_a_pair(user: &User) -> Result<()> {
    let pairs = user.pairs()?;
    let pair = pairs.first().context("there are pairs")?;
    say(&format!("killing both nodes of pair {} with SIGKILL", word(&pair["id"])))?;
    user.kill_pair(pair)?;
    let id = pair["id"].clone();
    eventually("the others notice", Duration::from_secs(60), || {
        let gone = |pair: &Value| pair["id"] == id && pair["state"] == "degraded";
        user.pairs().is_ok_and(|pairs| pairs.iter().any(gone))
    })?;
    show(user, &["pairs"])
}

fn put(user: &User, path: &Path) -> Result<Value> {
    let path = path.to_str().context("a Unicode path")?;
    say(&format!("defs put {path}"))?;
    let events = user.events(&["put", path])?;
    events.into_iter().find(|event| event["event"] == "put").context("the put was told")
}

/// Gets a file, compares its SHA-256 with the original's, and answers the speed.
fn read_back(user: &User, folder: &Path, name: &str) -> Result<f64> {
    let target = user.home().join("back");
    let events = user.events(&["get", name, "-o", target.to_str().context("a Unicode path")?])?;
    let got =
        events.into_iter().find(|event| event["event"] == "got").context("the get was told")?;
    let (original, copy) = (sha256(&folder.join(name))?, sha256(&target)?);
    ensure!(original == copy, "{name} differs: {original} was stored, {copy} came back");
    say(&format!("{name}: SHA-256 {original} equal"))?;
    let length = fs::metadata(&target)?.len();
    fs::remove_file(&target)?;
    Ok(speed(length, &got))
}

/// By the system's own tool, so that nothing here checks itself.
fn sha256(path: &PathBuf) -> Result<String> {
    let output = Command::new("sha256sum").arg(path).output().context("failed to run sha256sum")?;
    let text = String::from_utf8(output.stdout)?;
    let digest = text.split_whitespace().next().context("sha256sum printed nothing")?;
    Ok(digest.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn speed(bytes: u64, event: &Value) -> f64 {
    bytes as f64 / event["seconds"].as_f64().unwrap_or(f64::MAX).max(1e-6) / 1e6
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn show(user: &User, args: &[&str]) -> Result<()> {
    say(&format!("defs {}", args.join(" ")))?;
    let ran = user.run(args)?.succeeded()?;
    std::io::stdout().write_all(&ran.out)?;
    Ok(())
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "\n== {text}")?;
    Ok(())
}

fn print_table(rows: &[Row]) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\n{:<12} {:<18} {:>12} {:>10} {:>10} {:>18}",
        "FILE", "MODE", "BYTES", "MB/s UP", "MB/s DOWN", "DOWN, PAIR GONE"
    )?;
    for row in rows {
        let Row { name, mode, bytes, up, down, without_pair } = row;
        writeln!(
            out,
            "{name:<12} {mode:<18} {bytes:>12} {up:>10.1} {down:>10.1} {without_pair:>18.1}"
        )?;
    }
    Ok(())
}
