//! What whoever runs the cases says: by the environment, since the test runner takes no flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// What makes the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProviderKind {
    /// `e2e/local-cluster`.
    Local,
    /// `e2e/kind`.
    Kind,
}

/// How the cases are run.
#[derive(Debug, Clone)]
pub struct Args {
    pub(crate) provider: ProviderKind,
    /// The cluster's name (`DEFS_E2E_CLUSTER`).
    pub(crate) cluster: String,
    /// What is tested (`DEFS_E2E_IMAGE`): repository and tag of an image that every machine has.
    pub(crate) repository: String,
    pub(crate) tag: String,
    /// Where results go, line by line (`DEFS_E2E_RESULTS`).
    pub(crate) results: PathBuf,
}

impl Args {
    /// As the environment of this process says.
    pub fn read() -> Result<Self> {
        Self::of(&defs_launch::environment().collect())
    }

    fn of(environment: &BTreeMap<String, String>) -> Result<Self> {
        let given = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let provider = match given("E2E_PROVIDER").map(String::as_str) {
            None | Some("local") => ProviderKind::Local,
            Some("kind") => ProviderKind::Kind,
            Some(other) => bail!("E2E_PROVIDER is {other}: there are local and kind"),
        };
        let image = given("DEFS_E2E_IMAGE").map_or("e2e.local/defs:e2e", String::as_str);
        let (repository, tag) = image
            .rsplit_once(':')
            .with_context(|| format!("DEFS_E2E_IMAGE is {image}: it needs a tag"))?;
        ensure!(!tag.contains('/'), "DEFS_E2E_IMAGE is {image}: it needs a tag");
        let results = given("DEFS_E2E_RESULTS").map(PathBuf::from);
        Ok(Self {
            provider,
            cluster: given("DEFS_E2E_CLUSTER").map_or("e2e", String::as_str).to_owned(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            results: results.unwrap_or_else(|| root().join("out/e2e/results.tsv")),
        })
    }

    /// The image that is tested.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(pairs: &[(&str, &str)]) -> Result<Args> {
        Args::of(&pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn nothing_said_means_the_local_cluster_and_the_image_made_for_it() {
        let args = args(&[("E2E_PROVIDER", "")]).unwrap();
        assert_eq!((args.provider, args.cluster.as_str()), (ProviderKind::Local, "e2e"));
        assert_eq!(args.image(), "e2e.local/defs:e2e");
        assert!(args.results.ends_with("out/e2e/results.tsv"));
    }

    #[test]
    fn what_is_no_provider_or_no_image_is_refused_by_name() {
        for (name, value, told) in [
            ("E2E_PROVIDER", "minikube", "E2E_PROVIDER is minikube: there are local and kind"),
            (
                "DEFS_E2E_IMAGE",
                "host:5000/defs",
                "DEFS_E2E_IMAGE is host:5000/defs: it needs a tag",
            ),
        ] {
            assert_eq!(args(&[(name, value)]).unwrap_err().to_string(), told);
        }
        let image = args(&[("DEFS_E2E_IMAGE", "host:5000/defs:1")]).unwrap();
        assert_eq!((image.repository.as_str(), image.tag.as_str()), ("host:5000/defs", "1"));
    }
}
