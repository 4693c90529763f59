//! How a node comes in whose network's invite is kept elsewhere: it says who it is at its admin
//! port, and waits there until whoever holds the invite admits it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use defs_core::network::Genesis;
use defs_core::settings::Settings;
use defs_identity::SecretKey;
use defs_wire::admin as pb;
use defs_wire::admin::enrolment_server::{Enrolment, EnrolmentServer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::data_folder::DataFolder;
use crate::membership::{self, Membership};
use crate::place::Place;
use crate::tls::{self, Tls};

/// Waits until this node is admitted, if it is to be admitted by a caller and isn't yet.
/// Returns early when it is to stop.
pub(crate) async fn until_admitted(
    folder: &DataFolder,
    settings: &Settings,
    key: &SecretKey,
    stop: &CancellationToken,
) -> Result<()> {
    let Some(tls) = settings.tls_dir.as_deref().filter(|_| settings.admin_port != 0) else {
        return Ok(());
    };
    if Membership::can_be_found(folder, settings, key)? {
        return Ok(());
    }
    let genesis = membership::genesis(folder, settings)?;
    let tls = Tls::open(tls)?;
    let address = SocketAddr::new(settings.listen_address, settings.admin_port);
    let listener = tls::listen(address).await?;
    let (tasks, done) = (TaskTracker::new(), stop.child_token());
    let callers = tls.callers(listener, &tasks, &done);
    let node = key.public().node_id();
    tracing::info!(%node, network = %genesis.network(), %address, "waits to be admitted");
    let (path, place) = (folder.admission(), folder.place());
    let door = Door { genesis, node, path, place, admitted: done.clone() };
    let served = tonic::transport::Server::builder()
        .add_service(EnrolmentServer::new(door))
        .serve_with_incoming_shutdown(callers, done.cancelled())
        .await;
    done.cancel();
    tasks.close();
    tasks.wait().await;
    served.context("failed to wait for an admission")
}

struct Door {
    genesis: Genesis,
    node: defs_core::ids::NodeId,
    path: PathBuf,
    place: PathBuf,
    admitted: CancellationToken,
}

#[tonic::async_trait]
impl Enrolment for Door {
    async fn identify(
        &self,
        _: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        let network_id = self.genesis.network().full();
        Ok(Response::new(pb::IdentifyResponse { node_id: self.node.full(), network_id }))
    }

    async fn admit(
        &self,
        request: Request<pb::AdmitRequest>,
    ) -> Result<Response<pb::AdmitResponse>, Status> {
        let signature = request.get_ref().signature.as_slice().try_into();
        let signature: [u8; 64] =
            signature.map_err(|_length| Status::invalid_argument("a signature has 64 bytes"))?;
        if !membership::admits(&self.genesis, self.node, &signature) {
            return Err(Status::permission_denied(
                "the invite key of this network has not signed that",
            ));
        }
        let place = Place::of(&request.get_ref().zone, &request.get_ref().region)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let kept = place.keep(&self.place);
        // Last: whoever has it doesn't ask again.
        let kept = kept.and_then(|()| membership::keep_admission(&self.path, &signature));
        kept.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "an admission can't be kept");
            Status::internal("the admission can't be kept")
        })?;
        tracing::info!(node = %self.node, "admitted");
        self.admitted.cancel();
        Ok(Response::new(pb::AdmitResponse {}))
    }
}
