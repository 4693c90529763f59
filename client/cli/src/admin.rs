//! The admin API of a local node, over the socket in its data folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use defs_wire::admin as pb;
use defs_wire::admin::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// A connection to one node's admin API.
pub(crate) struct Admin(AdminClient<Channel>);

impl Admin {
    /// Connects to the node whose data folder this is.
    pub(crate) async fn connect(data_folder: &Path) -> Result<Self> {
        let socket: PathBuf = data_folder.join("admin.sock");
        let told = socket.clone();
        // The URI is never looked at: the connector knows where to go.
        let channel =
            Endpoint::from_static("http://admin.invalid")
                .connect_with_connector(service_fn(move |_| {
                    let socket = socket.clone();
                    async move {
                        Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?))
                    }
                }))
                .await
                .with_context(|| format!("no node answers at {}", told.display()))?;
        Ok(Self(AdminClient::new(channel)))
    }

    pub(crate) async fn status(&mut self) -> Result<pb::StatusResponse> {
        Ok(self.0.status(pb::StatusRequest {}).await?.into_inner())
    }

    pub(crate) async fn pairs(&mut self) -> Result<Vec<pb::Pair>> {
        Ok(self.0.pairs(pb::PairsRequest {}).await?.into_inner().pairs)
    }

    pub(crate) async fn nodes(&mut self) -> Result<Vec<pb::NodeCard>> {
        Ok(self.0.nodes(pb::NodesRequest {}).await?.into_inner().nodes)
    }

    pub(crate) async fn healing(&mut self) -> Result<pb::HealingResponse> {
        Ok(self.0.healing(pb::HealingRequest {}).await?.into_inner())
    }

    /// Tells everybody what a person wants of a node.
    pub(crate) async fn wish(&mut self, node_id: &str, want: &str) -> Result<()> {
        let (node_id, want) = (node_id.to_owned(), want.to_owned());
        self.0.wish(pb::WishRequest { node_id, want, place: None }).await?;
        Ok(())
    }

    /// Tells everybody that a node shall give its place in a pair to another.
    pub(crate) async fn yields(&mut self, node_id: &str, place: pb::Place) -> Result<()> {
        let (node_id, want) = (node_id.to_owned(), "yield".to_owned());
        self.0.wish(pb::WishRequest { node_id, want, place: Some(place) }).await?;
        Ok(())
    }

    pub(crate) async fn explain(&mut self, node_id: &str) -> Result<pb::ExplainResponse> {
        let request = pb::ExplainRequest { node_id: node_id.to_owned() };
        Ok(self.0.explain(request).await?.into_inner())
    }

    pub(crate) async fn arrange(&mut self) -> Result<pb::ArrangeResponse> {
        Ok(self.0.arrange(pb::ArrangeRequest {}).await?.into_inner())
    }

    pub(crate) async fn shutdown(&mut self) -> Result<()> {
        self.0.shutdown(pb::ShutdownRequest {}).await?;
        Ok(())
    }
}
