//! The operator as a user installs it: the chart, by helm, once for a whole run.

use anyhow::{Context as _, Result};
use defs_crds::crds;
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::DeleteParams;
use kube::{Api, Client, ResourceExt};

use crate::args::{Args, root};
use crate::provider::Provider;
use crate::wait::{eventually, seconds};

/// The release, and with it the names of its objects.
const RELEASE: &str = "defs";

/// Where the operator runs.
pub(crate) const NAMESPACE: &str = "defs-system";

/// How long helm waits until the operator is ready.
const READY_WITHIN: &str = "120s";

/// How long the release's own test may take.
const TEST_WITHIN: &str = "6m";

/// What helm has installed.
#[derive(Clone, Copy)]
pub struct Installation<'a> {
    provider: &'a Provider,
    client: &'a Client,
    args: &'a Args,
}

impl std::fmt::Debug for Installation<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(RELEASE)
    }
}

impl<'a> Installation<'a> {
    pub(crate) fn new(provider: &'a Provider, client: &'a Client, args: &'a Args) -> Self {
        Self { provider, client, args }
    }

    async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let whole: Vec<_> =
            ["helm"].iter().chain(arguments).chain(&["--namespace", NAMESPACE]).copied().collect();
        self.provider.call(&whole).await
    }

    /// Installs the chart with the image that is tested.
    pub async fn install(&self) -> Result<()> {
        let chart = root().join("charts/defs");
        let chart = chart.to_str().context("the checkout's path is no text")?;
        let repository = format!("image.repository={}", self.args.repository);
        let tag = format!("image.tag={}", self.args.tag);
        let install = ["install", RELEASE, chart, "--create-namespace", "--wait"];
        let values = [
            "--timeout",
            READY_WITHIN,
            "--set",
            &repository,
            "--set-string",
            &tag,
            "--set",
            "image.pullPolicy=IfNotPresent",
        ];
        self.helm(&[&install[..], &values[..]].concat()).await.map(drop)
    }

    /// Gives values of the chart others, and waits until that is so.
    pub async fn set(&self, values: &[(&str, &str)]) -> Result<()> {
        let chart = root().join("charts/defs");
        let chart = chart.to_str().context("the checkout's path is no text")?;
        let values: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let flags = values.iter().flat_map(|value| ["--set-string", value.as_str()]);
        let upgrade = ["upgrade", RELEASE, chart, "--reuse-values", "--wait"];
        let upgrade = upgrade.into_iter().chain(["--timeout", READY_WITHIN]).chain(flags);
        self.helm(&upgrade.collect::<Vec<_>>()).await.map(drop)
    }

    /// Installs it unless an earlier case has.
    pub async fn ensure(&self) -> Result<()> {
        match self.helm(&["status", RELEASE]).await {
            Ok(_) => Ok(()),
            Err(_not_there) => self.install().await,
        }
    }

    /// Removes all of it, the resource definitions too, which a chart leaves in place.
    pub async fn remove(&self) -> Result<()> {
        self.helm(&["uninstall", RELEASE, "--ignore-not-found", "--wait"]).await?;
        let api = Api::<CustomResourceDefinition>::all(self.client.clone());
        let names: Vec<_> = crds().iter().map(ResourceExt::name_any).collect();
        try_join_all(names.iter().map(|name| async {
            match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                deleted => deleted.map(drop),
            }
        }))
        .await?;
        eventually("the resource definitions are gone", seconds(30), async || {
            for name in &names {
                anyhow::ensure!(api.get_opt(name).await?.is_none(), "{name} is there");
            }
            Ok(())
        })
        .await
    }

    /// Runs the release's own test. What its pods have said.
    pub async fn test(&self) -> Result<String> {
        self.helm(&["test", RELEASE, "--logs", "--timeout", TEST_WITHIN]).await
    }
}
