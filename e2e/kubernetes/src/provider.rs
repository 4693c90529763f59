//! What makes the cluster and breaks its machines: a script, of which there are two with the
//! same commands.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::args::{Args, ProviderKind, root};

/// One call may take so long: a machine boots within it, and helm waits for an installation.
const CALL_WITHIN: Duration = Duration::from_secs(420);

/// A provider of clusters.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    script: PathBuf,
    cluster: String,
}

impl Provider {
    pub(crate) fn of(args: &Args) -> Self {
        let script = match args.provider {
            ProviderKind::Local => "e2e/local-cluster/cluster",
            ProviderKind::Kind => "e2e/kind/cluster",
        };
        Self { script: root().join(script), cluster: args.cluster.clone() }
    }

    /// Where the kubeconfig of the administrator lies.
    pub(crate) async fn kubeconfig(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(self.call(&["kubeconfig"]).await?.trim_end()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command
            .args(arguments)
            .env("DEFS_E2E_CLUSTER", &self.cluster)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts a call of the script that goes on until the value is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped());
        command.spawn().with_context(|| format!("failed to run {}", self.script.display()))
    }

    /// What a call of the script prints. One that fails is told with what it said.
    pub(crate) async fn call(&self, arguments: &[&str]) -> Result<String> {
        let shown = arguments.iter().take(4).copied().collect::<Vec<_>>().join(" ");
        let tried = || format!("`{} {shown}` failed", self.script.display());
        let mut command = self.command(arguments);
        let output = timeout(CALL_WITHIN, command.output()).await;
        let output = output.with_context(tried)?.with_context(tried)?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let err = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}\n{out}", tried(), err.trim_end());
        }
        Ok(out)
    }
}
