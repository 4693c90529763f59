//! A receiver of OTLP that keeps what it is told, over gRPC and over HTTP at one port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanCode;
use prost::Message;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// A span as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Of the process that told it: its `service.name`.
    pub service: String,
    /// Of the process that told it: its `service.instance.id`.
    pub instance: String,
    /// The span's name.
    pub name: String,
    /// Its trace.
    pub trace: Vec<u8>,
    /// Its own id.
    pub id: Vec<u8>,
    /// The span above it; empty where it begins a trace.
    pub parent: Vec<u8>,
    /// As OTLP numbers kinds: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// What it tells besides.
    pub attributes: BTreeMap<String, String>,
    /// Whether what it tells of failed.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Told {
    spans: Vec<Span>,
    /// Service and name of each metric.
    metrics: BTreeSet<(String, String)>,
    /// The `authorization` headers that came.
    authorizations: BTreeSet<String>,
}

type Shared = Arc<Mutex<Told>>;

fn lock(told: &Shared) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A receiver. It ends with the process.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    told: Shared,
}

impl Receiver {
    /// Listens on a free port of loopback.
    pub fn start() -> Result<Self> {
        Self::at(0)
    }

    /// Listens on `port` of loopback.
    pub fn at(port: u16) -> Result<Self> {
        Self::on((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Listens at `address`; of port 0, at a free one.
    pub fn on(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let told = Shared::default();
        let router = router(Arc::clone(&told));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router).await
            })
        });
        Ok(Self { address, told })
    }

    /// Its address, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.told).spans.clone()
    }

    /// The names of all metrics that `service` has told.
    pub fn metrics_of(&self, service: &str) -> BTreeSet<String> {
        let told = lock(&self.told);
        let its = told.metrics.iter().filter(|(of, _)| of == service);
        its.map(|(_, name)| name.clone()).collect()
    }

    /// The `authorization` headers that came.
    pub fn authorizations(&self) -> BTreeSet<String> {
        lock(&self.told).authorizations.clone()
    }
}

#[derive(Clone)]
struct Service(Shared);

fn router(told: Shared) -> Router {
    let service = Service(told);
    Routes::new(TraceServiceServer::new(service.clone()))
        .add_service(MetricsServiceServer::new(service.clone()))
        .into_axum_router()
        .merge(
            Router::new()
                .route("/v1/traces", post(post_traces))
                .route("/v1/metrics", post(post_metrics))
                .with_state(service),
        )
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.authorized(&request.metadata().clone().into_headers());
        self.traces(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.authorized(&request.metadata().clone().into_headers());
        self.metrics(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn post_traces(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    service.authorized(&headers);
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    service.traces(request);
    StatusCode::OK
}

async fn post_metrics(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    service.authorized(&headers);
    let Ok(request) = ExportMetricsServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    service.metrics(request);
    StatusCode::OK
}

impl Service {
    fn authorized(&self, headers: &HeaderMap) {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        lock(&self.0).authorizations.extend(header.map(str::to_owned));
    }

    fn traces(&self, request: ExportTraceServiceRequest) {
        let mut told = lock(&self.0);
        for of_process in request.resource_spans {
            let service = attribute(of_process.resource.as_ref(), "service.name");
            let instance = attribute(of_process.resource.as_ref(), "service.instance.id");
            let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
            told.spans.extend(spans.map(|span| Span {
                service: service.clone(),
                instance: instance.clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                kind: span.kind,
                attributes: span.attributes.into_iter().map(pair).collect(),
                failed: span.status.as_ref().map(SpanStatus::code) == Some(SpanCode::Error),
            }));
        }
    }

    fn metrics(&self, request: ExportMetricsServiceRequest) {
        let mut told = lock(&self.0);
        for of_process in request.resource_metrics {
            let service = attribute(of_process.resource.as_ref(), "service.name");
            let metrics = of_process.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            told.metrics.extend(metrics.map(|metric| (service.clone(), metric.name)));
        }
    }
}

fn attribute(resource: Option<&Resource>, name: &str) -> String {
    let mut attributes = resource.into_iter().flat_map(|resource| &resource.attributes);
    let found = attributes.find(|attribute| attribute.key == name);
    found.map(|attribute| text(attribute.value.as_ref())).unwrap_or_default()
}

fn pair(KeyValue { key, value, .. }: KeyValue) -> (String, String) {
    (key, text(value.as_ref()))
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}
