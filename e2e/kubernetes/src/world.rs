//! The cluster that the cases run on, as the administrator sees it.

use anyhow::{Context as _, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::provider::Provider;
use crate::{Args, Installation, Machines, Operator};

/// The cluster, its machines and the operator on it.
pub struct World {
    pub(crate) args: Args,
    pub(crate) client: Client,
    provider: Provider,
}

impl std::fmt::Debug for World {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "World({})", self.args.cluster)
    }
}

impl World {
    /// The cluster that the environment names; it must run.
    pub async fn open() -> Result<Self> {
        // Whoever was first has chosen the same one.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let args = Args::read()?;
        let provider = Provider::of(&args);
        let path = provider.kubeconfig().await.context("is there a cluster? e2e/run makes one")?;
        let kubeconfig = Kubeconfig::read_from(&path)?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // Else an eviction that is refused for now would be tried on and on.
        config.default_retry = false;
        let client = Client::try_from(config)?;
        if let Err(error) = client.apiserver_version().await {
            bail!("the cluster {} does not answer: {error}", args.cluster);
        }
        Ok(Self { args, client, provider })
    }

    /// How the cases are run.
    #[must_use]
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// The API as the administrator.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The machines.
    #[must_use]
    pub fn machines(&self) -> Machines<'_> {
        Machines::new(&self.provider, &self.client)
    }

    /// The address at which pods reach this machine.
    pub async fn host(&self) -> Result<std::net::IpAddr> {
        let said = self.provider.call(&["host"]).await?;
        said.trim().parse().with_context(|| format!("{said:?} is no address"))
    }

    /// Starts kubectl as the administrator; it ends with the value.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<tokio::process::Child> {
        self.provider.start(&[&["kubectl"][..], arguments].concat())
    }

    /// What helm has installed.
    #[must_use]
    pub fn installation(&self) -> Installation<'_> {
        Installation::new(&self.provider, &self.client, &self.args)
    }

    /// The operator's pods.
    #[must_use]
    pub fn operator(&self) -> Operator<'_> {
        Operator::new(self)
    }
}
