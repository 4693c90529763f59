//! Brings objects to what they should be: server-side apply, and only where what is there
//! differs in a field that the operator has an opinion on.

use std::fmt::Debug;

use defs_crds::names::FIELD_MANAGER;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;

/// Applies `wanted` unless the store shows that it is so already. Whether it was applied.
pub(crate) async fn apply<K>(client: &Client, store: &Store<K>, wanted: &K) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + 'static,
{
    let namespace = wanted.namespace().ok_or(Error::Nameless)?;
    let name = wanted.name_any();
    let fields = serde_json::to_value(wanted)?;
    let known = store.get(&ObjectRef::new(&name).within(&namespace));
    if let Some(known) = &known
        && holds(&serde_json::to_value(&**known)?, &fields)
    {
        return Ok(false);
    }
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    let applied = api
        .patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&fields))
        .await
        .map_err(Error::api(format!("apply {} {namespace}/{name}", K::kind(&()))))?;
    tracing::info!(kind = %K::kind(&()), %namespace, name, is_new = known.is_none(),
        version = applied.resource_version(), "applied");
    Ok(true)
}

/// Applies what is wanted at `at`, or removes what is there if nothing is.
pub(crate) async fn apply_or_remove<K>(
    client: &Client,
    store: &Store<K>,
    wanted: Option<&K>,
    at: &ObjectRef<K>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + 'static,
{
    match (wanted, store.get(at)) {
        (Some(wanted), _) => apply(client, store, wanted).await.map(drop),
        (None, Some(left)) => delete(client, &*left).await,
        (None, None) => Ok(()),
    }
}

/// Writes `status` to an object's status, unless it is so already. Whether it was written.
pub(crate) async fn apply_status<K, S>(
    client: &Client,
    object: &K,
    known: Option<&S>,
    status: &S,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
    S: Serialize + PartialEq,
{
    if known == Some(status) {
        return Ok(false);
    }
    let namespace = object.namespace().ok_or(Error::Nameless)?;
    let name = object.name_any();
    let patch = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "status": status,
    });
    Api::<K>::namespaced(client.clone(), &namespace)
        .patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(Error::api(format!("write the status of {} {name}", K::kind(&()))))?;
    Ok(true)
}

/// Removes an object if it is there, and this very one.
pub(crate) async fn delete<K>(client: &Client, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let namespace = object.namespace().ok_or(Error::Nameless)?;
    let name = object.name_any();
    let preconditions =
        kube::api::Preconditions { uid: object.uid(), resource_version: object.resource_version() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let deleted = Api::<K>::namespaced(client.clone(), &namespace).delete(&name, &params).await;
    match deleted {
        Ok(_) => {
            tracing::info!(kind = %K::kind(&()), %namespace, name, "deleted");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::api(format!("delete {} {name}", K::kind(&())))(error)),
    }
}

/// Whether `there` says all that `wanted` says. The API server adds defaults; lists count as a
/// whole.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(name, value)| {
            there.get(name).map_or_else(|| is_empty(value), |there| holds(there, value))
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        _ => there == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_added_is_no_difference_and_what_somebody_changed_is() {
        let wanted = json!({"spec": {"ports": [{"port": 1}], "type": "ClusterIP", "none": {}}});
        let there = json!({"metadata": {"uid": "x"}, "spec": {
            "ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP", "clusterIP": "1.2.3.4"}});
        assert!(holds(&there, &wanted));
        for edited in [
            json!({"spec": {"ports": [{"port": 2}], "type": "ClusterIP"}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}], "type": "ClusterIP"}}),
            json!({"spec": {"ports": [{"port": 1}]}}),
            json!({}),
        ] {
            assert!(!holds(&edited, &wanted), "{edited}");
        }
    }
}
