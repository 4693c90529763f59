//! helm, called as people call it, without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The oldest version of Kubernetes that the chart is for.
pub(crate) const OLDEST: &str = "1.33.0";

/// The newest that it is tested for.
pub(crate) const NEWEST: &str = "1.37.0";

/// The namespace of the release, which is called `defs`.
pub(crate) const NAMESPACE: &str = "defs-system";

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    assert!(root.join("charts/defs/Chart.yaml").exists(), "{} is not the root", root.display());
    root
}

/// A file of the repository, as text.
pub(crate) fn text(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A YAML file of the repository.
pub(crate) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap()
}

/// Where `scripts/chart-tools` puts what the tests need.
pub(crate) fn cache() -> PathBuf {
    let folder = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    folder("DEFS_E2E_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("defs-e2e")))
        .or_else(|| Some(folder("HOME")?.join(".cache/defs-e2e")))
        .expect("none of DEFS_E2E_CACHE, XDG_CACHE_HOME and HOME is set")
}

/// Another helm than the installed one, such as one of version 3.
fn program() -> PathBuf {
    if let Some(other) = std::env::var_os("DEFS_HELM") {
        return other.into();
    }
    let installed = cache().join("bin/helm");
    if installed.exists() { installed } else { "helm".into() }
}

/// What helm prints, or what it says when it fails.
pub(crate) fn helm(arguments: &[&str]) -> Result<String, String> {
    static FOLDER: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join("defs-chart-tests"));
    let ran = Command::new(program())
        .args(arguments)
        .current_dir(root())
        // Neither a cluster nor what a person has installed is asked.
        .env("KUBECONFIG", "/dev/null")
        .env("HELM_CACHE_HOME", FOLDER.join("cache"))
        .env("HELM_CONFIG_HOME", FOLDER.join("config"))
        .env("HELM_DATA_HOME", FOLDER.join("data"))
        .output()
        .unwrap_or_else(|error| panic!("helm can't be run ({error}): run scripts/chart-tools"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ran.status.success() { Ok(said(&ran.stdout)) } else { Err(said(&ran.stderr)) }
}

/// What is rendered for a version of Kubernetes, as text.
fn template(kubernetes: &str, arguments: &[&str]) -> Result<String, String> {
    let call = ["template", "defs", "charts/defs", "--namespace", NAMESPACE];
    helm(&[&call[..], &["--kube-version", kubernetes], arguments].concat())
}

/// What is rendered with these arguments (`--set`, `--values`), as text.
pub(crate) fn render_text(arguments: &[&str]) -> Result<String, String> {
    template(NEWEST, arguments)
}

/// The objects that are rendered.
pub(crate) fn render(arguments: &[&str]) -> Vec<Value> {
    render_for(NEWEST, arguments)
}

/// The objects that are rendered for a version of Kubernetes.
pub(crate) fn render_for(kubernetes: &str, arguments: &[&str]) -> Vec<Value> {
    let text = template(kubernetes, arguments)
        .unwrap_or_else(|said| panic!("helm template {arguments:?}: {said}"));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// What helm says when it refuses to render.
pub(crate) fn refusal(kubernetes: &str, arguments: &[&str]) -> String {
    match template(kubernetes, arguments) {
        Err(said) => said,
        Ok(_) => panic!("helm template {arguments:?} was not refused"),
    }
}

/// The files of values that the tests try, from the root.
pub(crate) fn matrix() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("charts/defs/ci")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = names
        .filter(|name| name.ends_with("-values.yaml"))
        .map(|name| format!("charts/defs/ci/{name}"))
        .collect();
    files.sort();
    assert!(files.contains(&"charts/defs/ci/default-values.yaml".to_owned()), "{files:?}");
    files
}

#[test]
fn helm_has_nothing_to_object_to() {
    for values in matrix() {
        for kubernetes in [OLDEST, NEWEST] {
            let call = ["lint", "--strict", "charts/defs", "--namespace", NAMESPACE];
            let more = ["--kube-version", kubernetes, "--values", &values];
            let said = helm(&[&call[..], &more].concat());
            assert!(said.is_ok(), "{values}: {}", said.unwrap_err());
        }
    }
}

#[test]
fn older_versions_of_kubernetes_are_refused_and_vendors_versions_are_not() {
    let refused = refusal("1.32.9", &[]);
    assert!(refused.contains(">=1.33.0-0"), "{refused}");
    assert!(!render_for("1.33.4-gke.1036000", &[]).is_empty());
}
