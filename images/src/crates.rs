//! The crates that a program is made of, as Cargo resolves them and Cargo.lock pins them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The crates below some of ours.
#[derive(Debug)]
pub(crate) struct Crates {
    /// In the order of their ids.
    pub(crate) all: BTreeMap<CrateId, Crate>,
    /// Who uses whom, and how.
    pub(crate) uses: BTreeSet<(CrateId, CrateId, Use)>,
}

/// How Cargo names a crate of one version from one source.
pub(crate) type CrateId = String;

/// A crate.
#[derive(Debug, Clone)]
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence as an SPDX expression, if it says so.
    pub(crate) license: Option<String>,
    /// The SHA-256 of its archive on crates.io; none of ours has one.
    pub(crate) checksum: Option<String>,
}

/// What one crate is to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// It becomes part of it.
    Linked,
    /// It runs while the other is compiled: a build script's crate, or a macro.
    Building,
}

impl Crates {
    /// What `packages` are made of on the machine `triple`, for the workspace at `root`.
    pub(crate) fn of(root: &Path, triple: &str, packages: &[&str]) -> Result<Self> {
        let lock = std::fs::read_to_string(root.join("Cargo.lock"))
            .context("failed to read Cargo.lock")?;
        let lock = toml::from_str(&lock).context("failed to parse Cargo.lock")?;
        below(&metadata(root, triple)?, &lock, packages)
    }

    /// The crate of ours that has this name.
    pub(crate) fn ours(&self, name: &str) -> Result<&CrateId> {
        let is_it = |found: &Crate| found.name == name && found.checksum.is_none();
        let mut found = self.all.iter().filter(|(_, found)| is_it(found)).map(|(id, _)| id);
        found.next().with_context(|| format!("the workspace has no crate {name}"))
    }
}

/// Asks Cargo.
fn metadata(root: &Path, triple: &str) -> Result<Metadata> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", triple])
        .current_dir(root)
        .output()
        .context("failed to run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("failed to parse what cargo metadata said")
}

/// All that `packages` lead to. What their tests use is no part of them.
fn below(metadata: &Metadata, lock: &Lock, packages: &[&str]) -> Result<Crates> {
    let by_id: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let nodes: BTreeMap<_, _> =
        metadata.resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let checksums: BTreeMap<_, _> =
        lock.package.iter().map(|it| ((&it.name, &it.version), it.checksum.as_ref())).collect();
    let mut crates = Crates { all: BTreeMap::new(), uses: BTreeSet::new() };
    let mut todo = Vec::new();
    for name in packages {
        let ours = |package: &&Package| package.name == **name && package.source.is_none();
        let package = metadata.packages.iter().find(ours);
        todo.push(&package.with_context(|| format!("the workspace has no crate {name}"))?.id);
    }
    while let Some(id) = todo.pop() {
        if crates.all.contains_key(id) {
            continue;
        }
        let package = by_id.get(id).with_context(|| format!("cargo metadata describes no {id}"))?;
        let checksum = checksums.get(&(&package.name, &package.version));
        let checksum = checksum.with_context(|| format!("Cargo.lock does not name {id}"))?;
        crates.all.insert(id.clone(), package.told(*checksum)?);
        let node = nodes.get(id).with_context(|| format!("cargo metadata resolves no {id}"))?;
        for dependency in &node.deps {
            let used =
                by_id.get(&dependency.pkg).with_context(|| format!("no {}", dependency.pkg))?;
            for how in dependency.uses(used.is_macro()) {
                crates.uses.insert((id.clone(), dependency.pkg.clone(), how));
                todo.push(&dependency.pkg);
            }
        }
    }
    Ok(crates)
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: CrateId,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

impl Package {
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn told(&self, checksum: Option<&String>) -> Result<Crate> {
        if self.source.is_some() && checksum.is_none() {
            bail!("Cargo.lock has no checksum of {}", self.id);
        }
        Ok(Crate {
            name: self.name.clone(),
            version: self.version.clone(),
            license: self.license.as_deref().map(spdx),
            checksum: checksum.cloned(),
        })
    }
}

/// Some old crates write a slash for OR.
fn spdx(said: &str) -> String {
    said.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: CrateId,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: CrateId,
    dep_kinds: Vec<Kind>,
}

impl Dependency {
    fn uses(&self, is_macro: bool) -> impl Iterator<Item = Use> {
        self.dep_kinds.iter().filter_map(move |kind| match kind.kind.as_deref() {
            None if is_macro => Some(Use::Building),
            None => Some(Use::Linked),
            Some("build") => Some(Use::Building),
            Some(_) => None,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            {"id": "ours", "name": "ours", "version": "1.0.0", "license": "MIT", "source": null, "targets": [{"kind": ["bin"]}]},
            {"id": "lib", "name": "lib", "version": "2.0.0", "license": "MIT / Apache-2.0", "source": "registry", "targets": [{"kind": ["lib"]}]},
            {"id": "cc", "name": "cc", "version": "3.0.0", "license": null, "source": "registry", "targets": [{"kind": ["lib"]}]},
            {"id": "derive", "name": "derive", "version": "4.0.0", "license": "MIT", "source": "registry", "targets": [{"kind": ["proc-macro"]}]},
            {"id": "test", "name": "test", "version": "5.0.0", "license": "MIT", "source": "registry", "targets": [{"kind": ["lib"]}]},
            {"id": "other", "name": "other", "version": "1.0.0", "license": "MIT", "source": null, "targets": [{"kind": ["lib"]}]}
        ],
        "resolve": {"nodes": [
            {"id": "ours", "deps": [
                {"pkg": "lib", "dep_kinds": [{"kind": null}]},
                {"pkg": "derive", "dep_kinds": [{"kind": null}]},
                {"pkg": "test", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "lib", "deps": [{"pkg": "cc", "dep_kinds": [{"kind": "build"}]}]},
            {"id": "cc", "deps": []}, {"id": "derive", "deps": []}, {"id": "test", "deps": []}, {"id": "other", "deps": []}
        ]}
    }"#;

    fn lock(names: &[&str]) -> Lock {
        let locked = |name: &&str| Locked {
            name: (*name).to_owned(),
            version: match *name {
                "lib" => "2.0.0",
                "cc" => "3.0.0",
                "derive" => "4.0.0",
                _ => "1.0.0",
            }
            .to_owned(),
            checksum: (!name.starts_with('o')).then(|| format!("sum of {name}")),
        };
        Lock { package: names.iter().map(locked).collect() }
    }

    #[test]
    fn a_program_is_made_of_what_is_linked_and_built_with_and_not_of_its_tests() {
        let metadata = serde_json::from_str(METADATA).unwrap();
        let crates = below(&metadata, &lock(&["ours", "lib", "cc", "derive"]), &["ours"]).unwrap();
        assert_eq!(crates.all.keys().collect::<Vec<_>>(), ["cc", "derive", "lib", "ours"]);
        let uses: Vec<_> =
            crates.uses.iter().map(|(by, used, how)| (by.as_str(), used.as_str(), *how)).collect();
        let expected = [
            ("lib", "cc", Use::Building),
            ("ours", "derive", Use::Building),
            ("ours", "lib", Use::Linked),
        ];
        assert_eq!(uses, expected);
        let lib = &crates.all["lib"];
        assert_eq!(lib.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(lib.checksum.as_deref(), Some("sum of lib"));
        assert_eq!(crates.ours("ours").unwrap(), "ours");
    }

    #[test]
    fn a_crate_that_the_lock_lacks_is_not_skipped() {
        let metadata = serde_json::from_str(METADATA).unwrap();
        let refused = below(&metadata, &lock(&["ours", "lib", "derive"]), &["ours"]).unwrap_err();
        assert_eq!(refused.to_string(), "Cargo.lock does not name cc");
    }

    #[test]
    fn a_crate_that_is_not_there_is_refused() {
        let metadata = serde_json::from_str(METADATA).unwrap();
        let refused = below(&metadata, &lock(&["ours"]), &["lib"]).unwrap_err();
        assert_eq!(refused.to_string(), "the workspace has no crate lib");
    }
}
