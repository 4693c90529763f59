//! Health for the kubelet: alive as long as it answers, ready when it has reached the API
//! server. Metrics at the same port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use defs_telemetry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the kubelet asks.
#[derive(Debug, Default)]
pub(crate) struct Health {
    ready: AtomicBool,
}

impl Health {
    /// It has reached the API server.
    pub(crate) fn is_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen at {address} for health (--listen)"))
}

/// What is told at the port.
type Told = (Arc<Health>, Arc<Metrics>);

pub(crate) async fn serve(listener: TcpListener, told: Told, stop: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(told);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the health port failed");
    }
}

async fn ready(State((health, _)): State<Told>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State((_, metrics)): State<Told>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Registry::CONTENT_TYPE)], metrics.page())
}
