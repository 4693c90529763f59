//! `defs-node hand-over`: tells the node that runs on this data folder that it is about to stop.
//! What is run before a pod ends.

use std::time::Duration;

use anyhow::{Context, Result};
use defs_core::settings::Settings;
use defs_wire::admin::HandOverRequest;
use defs_wire::admin::admin_client::AdminClient;
use tonic::transport::Endpoint;

use crate::data_folder::ADMIN_SOCKET;

/// How long the node may take to answer. Whoever stops it then loses no more than with a node
/// that fails.
const WITHIN: Duration = Duration::from_secs(5);

/// Returns when the node has told everybody. One that serves nobody yet has nothing to tell.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let socket = settings.data_dir.join(ADMIN_SOCKET);
    if !socket.exists() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let nobody = || format!("no node answers at {}", socket.display());
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display()))?;
        let channel = endpoint.timeout(WITHIN).connect().await.with_context(nobody)?;
        AdminClient::new(channel).hand_over(HandOverRequest {}).await.with_context(nobody)?;
        Ok(())
    })
}
