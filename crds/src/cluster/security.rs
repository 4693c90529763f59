//! Certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules::rule;

/// Certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    /// The certificates with which the operator and the nodes know each other.
    pub tls: Tls,
}

/// The certificates with which the operator and the nodes know each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Tls {
    /// Who makes the certificates.
    pub mode: TlsMode,
    /// The issuer of cert-manager, for mode CertManager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
    /// The secret for mode Provided: `ca.crt`, `tls.crt` and `tls.key` for the nodes, whose names
    /// are `*.CLUSTER-nodes.NAMESPACE.svc`, `client.crt` and `client.key` for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// Who makes the certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// The operator, by an authority of its own.
    #[default]
    Internal,
    /// cert-manager, by `issuerRef`.
    CertManager,
    /// Somebody else, into `secretName`.
    Provided,
}

/// An issuer of cert-manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its kind: Issuer, ClusterIssuer, or one of another group.
    #[serde(default = "IssuerRef::default_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Its API group.
    #[serde(default = "IssuerRef::default_group")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub group: String,
}

impl IssuerRef {
    fn default_kind() -> String {
        "Issuer".to_owned()
    }

    fn default_group() -> String {
        "cert-manager.io".to_owned()
    }
}

fn rules() -> Value {
    json!([
        rule(
            "self.mode != 'CertManager' || has(self.issuerRef)",
            "security.tls.mode CertManager needs issuerRef",
        ),
        rule(
            "self.mode != 'Provided' || has(self.secretName)",
            "security.tls.mode Provided needs secretName",
        ),
    ])
}
