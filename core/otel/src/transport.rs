//! The way to a receiver of OTLP: gRPC, or protobuf over HTTP. A receiver that is away costs a
//! try an export and is told of once, not with every export; when it is back, that is told too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig};

use crate::environment::{Endpoint, Protocol};

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why a receiver can't be spoken to at all.
#[derive(Debug, Error)]
pub(crate) enum TransportError {
    /// Its address is no gRPC endpoint.
    #[error("{0} can't be an endpoint")]
    Endpoint(Uri, #[source] tonic::transport::Error),
    /// The machine's certificates can't be read.
    #[error("failed to read the machine's certificates for {0}")]
    Certificates(Uri, #[source] std::io::Error),
    /// TLS can't be set up.
    #[error("failed to set TLS up")]
    Tls(#[from] rustls::Error),
}

/// Why an export failed.
#[derive(Debug, Error)]
enum SendError {
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the receiver answered {}: {}", .0.code(), .0.message())]
    Grpc(Box<tonic::Status>),
    #[error("it can't be reached")]
    Http(#[source] hyper_util::client::legacy::Error),
    #[error("the receiver answered {0}")]
    Status(StatusCode),
    #[error("the request can't be made")]
    Request(#[from] http::Error),
}

/// A way to one receiver.
pub(crate) struct Transport {
    way: Way,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    /// The last export failed, and that was told.
    fails: AtomicBool,
}

enum Way {
    Grpc(Channel),
    Http(Box<Http>),
}

impl Transport {
    /// Nothing is dialled yet. Must be called within a runtime.
    pub(crate) fn new(endpoint: Endpoint) -> Result<Self, TransportError> {
        let Endpoint { uri, protocol, headers, timeout } = endpoint;
        let way = match protocol {
            Protocol::Grpc => Way::Grpc(channel(&uri, timeout)?),
            Protocol::HttpProtobuf => Way::Http(Box::new(client(&uri)?)),
        };
        Ok(Self { way, uri, headers, timeout, fails: AtomicBool::new(false) })
    }

    /// Whether the receiver took them.
    pub(crate) async fn traces(&self, request: ExportTraceServiceRequest) -> bool {
        let sent = self.within(async {
            match &self.way {
                Way::Grpc(channel) => {
                    let mut client = TraceServiceClient::new(channel.clone());
                    let sent = client.export(self.with_headers(request)).await;
                    sent.map(drop).map_err(|status| SendError::Grpc(Box::new(status)))
                }
                Way::Http(client) => self.post(client, &request).await,
            }
        });
        self.note("traces", sent.await)
    }

    /// Whether the receiver took them.
    pub(crate) async fn metrics(&self, request: ExportMetricsServiceRequest) -> bool {
        let sent = self.within(async {
            match &self.way {
                Way::Grpc(channel) => {
                    let mut client = MetricsServiceClient::new(channel.clone());
                    let sent = client.export(self.with_headers(request)).await;
                    sent.map(drop).map_err(|status| SendError::Grpc(Box::new(status)))
                }
                Way::Http(client) => self.post(client, &request).await,
            }
        });
        self.note("metrics", sent.await)
    }

    async fn within(
        &self,
        sending: impl Future<Output = Result<(), SendError>>,
    ) -> Result<(), SendError> {
        let sent = tokio::time::timeout(self.timeout, sending).await;
        sent.unwrap_or(Err(SendError::TimedOut(self.timeout)))
    }

    fn with_headers<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let headers = self.headers.iter().cloned().collect();
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request
    }

    async fn post(&self, client: &Http, message: &impl Message) -> Result<(), SendError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(message.encode_to_vec()))?;
        let response = client.request(request).await.map_err(SendError::Http)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(SendError::Status(status)),
        }
    }

    fn note(&self, what: &str, sent: Result<(), SendError>) -> bool {
        match sent {
            Ok(()) => {
                if self.fails.swap(false, Ordering::Relaxed) {
                    tracing::info!(receiver = %self.uri, "{what} are exported again");
                }
                true
            }
            Err(error) => {
                if !self.fails.swap(true, Ordering::Relaxed) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(receiver = %self.uri, error, "{what} can't be exported now");
                }
                false
            }
        }
    }
}

fn channel(uri: &Uri, timeout: Duration) -> Result<Channel, TransportError> {
    let failed = |error| TransportError::Endpoint(uri.clone(), error);
    let endpoint = Channel::builder(uri.clone()).connect_timeout(timeout);
    let endpoint = if uri.scheme_str() == Some("https") {
        endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(failed)?
    } else {
        endpoint
    };
    Ok(endpoint.connect_lazy())
}

/// A machine, or an image, without certificates can still speak `http`.
fn client(uri: &Uri) -> Result<Http, TransportError> {
    let provider = aws_lc_rs::default_provider();
    let https = if uri.scheme_str() == Some("https") {
        HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| TransportError::Certificates(uri.clone(), error))?
    } else {
        let tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(tls)
    };
    let connector = https.https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}
