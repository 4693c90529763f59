//! Where telemetry goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// Where metrics and traces are pushed; without it, nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// What is made for Prometheus.
    pub prometheus: Prometheus,
}

/// Where metrics and traces are pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Otlp {
    /// The collector's address: `http://collector.telemetry:4317`.
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://[^\s]+$"))]
    pub endpoint: String,
    /// What the collector speaks.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Percent of the requests that are traced.
    #[serde(default = "Otlp::default_sampling")]
    #[schemars(range(min = 0, max = 100))]
    pub sampling_percent: u8,
}

impl Otlp {
    /// Enough to see what is usual; what is slow or fails is in the metrics all the same.
    fn default_sampling() -> u8 {
        10
    }
}

/// What a collector speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
}

impl OtlpProtocol {
    /// As `OTEL_EXPORTER_OTLP_PROTOCOL` says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
        }
    }
}

/// What is made for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Prometheus {
    /// Whether a PodMonitor is made; its kind must be installed.
    pub pod_monitor: bool,
}
