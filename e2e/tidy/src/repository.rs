//! The repository as the tests see it: its crates and its files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("[workspace]"), "{} is not the root", root.display());
    root
}

/// Every (crate, dependency) of the workspace, dev-dependencies aside.
pub(crate) fn dependencies() -> Vec<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut pairs = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["kind"] != "dev" {
                pairs.push((text(&package["name"]), text(&dependency["name"])));
            }
        }
    }
    assert!(!pairs.is_empty(), "cargo metadata listed no dependency");
    pairs
}

/// The crates of the workspace.
pub(crate) fn crates() -> Vec<String> {
    let mut crates: Vec<_> = dependencies().into_iter().map(|(user, _)| user).collect();
    crates.sort();
    crates.dedup();
    crates
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Every Rust file, from the root, with what it says.
pub(crate) fn modules() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    assert!(files.iter().any(|(path, _)| path == Path::new("core/src/lib.rs")));
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let said = std::fs::read_to_string(&path).unwrap();
            files.push((path.strip_prefix(root()).unwrap().to_owned(), said));
        }
    }
}
