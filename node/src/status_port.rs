//! Health and metrics for whoever watches from outside, on one port: HTTP for people,
//! kubelets and Prometheus, gRPC's health protocol for those that speak it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use defs_telemetry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::admin::Node;

/// How often the gRPC health service is told how things are.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// Takes the port before anything is promised there.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen at {address} for health (--status-port)"))
}

/// Serves until `stop`.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, stop: CancellationToken) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let grpc = tonic::service::Routes::new(health).into_axum_router();
    let http = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&node));
    let watch = async {
        let mut every = tokio::time::interval(HEALTH_EVERY);
        loop {
            every.tick().await;
            let status =
                if node.serves() { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status("", status).await;
        }
    };
    let served =
        axum::serve(listener, http.merge(grpc)).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        () = watch => {}
        served = served => {
            if let Err(error) = served {
                tracing::error!(error = &error as &dyn std::error::Error, "the status port failed");
            }
        }
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, Registry::CONTENT_TYPE)], node.metrics())
}

async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, &'static str) {
    if node.serves() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
