//! The node's process.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::interval::Interval;
use crate::rules::{rule, time_within};

/// The node's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeProcess {
    /// Where peers reach a node, TCP and UDP. Not below 1024, which would need a privilege.
    #[schemars(
        range(min = 1024, max = 65535),
        extend("x-kubernetes-validations" = port_rules())
    )]
    pub port: u16,
    /// Connections to other peers at one time.
    #[schemars(range(min = 8, max = 10_000))]
    pub max_connections: u32,
    /// How long one attempt to reach a peer may take.
    #[schemars(extend("x-kubernetes-validations" = time_within("100ms", "1m")))]
    pub dial_timeout: Interval,
    /// Threads on which a node serves; without it, as many as there are cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub workers: Option<u32>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// How a line of the log is written.
    pub log_format: LogFormat,
    /// What a node's container requests and may use, as of a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::schema::embedded)]
    pub resources: Option<ResourceRequirements>,
}

impl Default for NodeProcess {
    fn default() -> Self {
        Self {
            port: 4001,
            max_connections: 512,
            dial_timeout: Interval::seconds(5),
            workers: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            resources: None,
        }
    }
}

/// Health and metrics have a port of their own: [`crate::names::STATUS_PORT`].
fn port_rules() -> Value {
    json!([rule("self != 8080", "8080 is the port of health and metrics: choose another one")])
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// What somebody must act on.
    Error,
    /// What may become an error.
    Warn,
    /// What a healthy process does now and then.
    #[default]
    Info,
    /// What each request does.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl From<LogLevel> for defs_core::settings::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

impl From<LogFormat> for defs_core::settings::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}
