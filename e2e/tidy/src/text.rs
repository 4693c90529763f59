//! What files may and may not say.

use std::path::{Path, PathBuf};

use crate::repository::modules;

/// What only the owner's side may name, so that no node can ever hold it.
const OWNERS: &str = "FileKey";

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = paths(|_, said| !said.starts_with("//!"));
    assert!(silent.is_empty(), "no `//!` on the first line: {silent:#?}");
}

#[test]
fn no_module_is_named_after_nothing() {
    const VAGUE: &[&str] =
        &["util", "utils", "helper", "helpers", "common", "misc", "manager", "types"];
    let vague = paths(|path, _| {
        VAGUE.iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name))
    });
    assert!(vague.is_empty(), "name these after what they hold: {vague:#?}");
}

#[test]
fn the_file_key_is_named_on_the_owners_side_only() {
    let leaks = paths(|path, said| {
        said.contains(OWNERS) && !path.starts_with("client") && !path.starts_with("e2e/tidy")
    });
    assert!(leaks.is_empty(), "{OWNERS} is named outside of client/: {leaks:#?}");
}

/// The Rust files of which `holds` is true.
fn paths(holds: impl Fn(&Path, &str) -> bool) -> Vec<PathBuf> {
    let chosen = modules().into_iter().filter(|(path, said)| holds(path, said));
    chosen.map(|(path, _)| path).collect()
}
