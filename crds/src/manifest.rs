//! The CRDs as the chart carries them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

use crate::{DefsCluster, DefsNode, DefsPair};

/// A CRD as text, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// From the repository's root.
    pub path: String,
    /// YAML.
    pub text: String,
}

/// The folder of the CRDs.
const FOLDER: &str = "charts/defs/files/crds";

/// What the first lines of a file say.
const HEAD: &str = "\
# Generated from the types in `crds/src` by `make crds`; a test compares the two.
";

/// All CRDs.
#[must_use]
pub fn crds() -> [CustomResourceDefinition; 3] {
    [DefsCluster::crd(), DefsNode::crd(), DefsPair::crd()]
}

/// All CRDs as files, always the same from the same types.
pub fn manifests() -> Result<Vec<Manifest>, NotWritten> {
    let manifest = |crd: CustomResourceDefinition| {
        let name = crd.spec.names.plural.clone();
        let text = yaml(&crd).map_err(|source| NotWritten { name: name.clone(), source })?;
        Ok(Manifest { path: format!("{FOLDER}/{name}.yaml"), text: format!("{HEAD}{text}") })
    };
    crds().into_iter().map(manifest).collect()
}

/// A CRD can't be written down.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the CRD of {name} as YAML")]
pub struct NotWritten {
    name: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn yaml(
    crd: &CustomResourceDefinition,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(serde_saphyr::to_string(&value)?)
}

/// `2.0` → `2`: bounds are floating point numbers to Kubernetes, and whole ones to people.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().map(|float| format!("{float:.0}"));
            let same = whole.as_ref().and_then(|text| text.parse::<f64>().ok()) == number.as_f64();
            if let Some(Ok(whole)) = whole.map(|text| text.parse::<i64>())
                && same
            {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => Map::values_mut(fields).for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
