//! Whether the CRDs that are installed are this operator's.

use anyhow::{Context as _, Result, bail};
use defs_crds::crds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};

use crate::apply::holds;

/// The kinds of which other CRDs are installed than this operator was made with. What those lack
/// the API server drops without a word.
pub(crate) async fn differing(client: &Client) -> Result<Vec<String>> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let mut differing = Vec::new();
    for wanted in crds() {
        let name = wanted.name_any();
        let there = match api.get_opt(&name).await {
            Ok(Some(there)) => there,
            Ok(None) => bail!("the CRD {name} is not installed: it comes with the chart"),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                tracing::warn!(name, "not allowed to see whether the CRD is the right one");
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("failed to read CRD {name}")),
        };
        let is_same =
            holds(&serde_json::to_value(&there.spec)?, &serde_json::to_value(&wanted.spec)?);
        if !is_same {
            tracing::warn!(name, "another version of the CRD is installed");
            differing.push(wanted.spec.names.kind);
        }
    }
    Ok(differing)
}
