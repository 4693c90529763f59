//! Brings objects to what they should be: server-side apply, and only where what is there
//! differs in a field that the operator has an opinion on.

use std::fmt::Debug;

use defs_crds::names::{FIELD_MANAGER, annotation};
use defs_crds::reason::Reason;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::Error;

/// What applying an object came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was so already.
    Same,
    /// It is there, or other than before, as the operator wants it.
    Done,
    /// Somebody else had changed it.
    PutBack,
}

/// Objects that somebody else had changed, to be told of.
#[derive(Debug, Default)]
pub(crate) struct PutBack(Vec<String>);

impl PutBack {
    pub(crate) fn note<K: Resource<DynamicType = ()>>(&mut self, object: &K, applied: Applied) {
        if applied == Applied::PutBack {
            self.0.push(format!("{} {}", K::kind(&()), object.name_any()));
        }
    }

    pub(crate) fn note_some<K: Resource<DynamicType = ()>>(
        &mut self,
        object: Option<&K>,
        applied: Applied,
    ) {
        if let Some(object) = object {
            self.note(object, applied);
        }
    }

    /// Tells of them at the object that they belong to.
    pub(crate) async fn tell(self, context: &Context, about: &ObjectReference) {
        let news = self.0.into_iter().map(|what| (Reason::PutBack, format!("{what}.")));
        context.tell(about, news.collect()).await;
    }
}

/// Applies `wanted` unless the store shows that it is so already.
pub(crate) async fn apply<K>(
    client: &Client,
    store: &Store<K>,
    wanted: &K,
) -> Result<Applied, Error>
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
    let (fields, digest) = digested(serde_json::to_value(wanted)?)?;
    let known = store.get(&ObjectRef::new(&name).within(&namespace));
    if let Some(known) = &known
        && holds(&serde_json::to_value(&**known)?, &fields)
    {
        return Ok(Applied::Same);
    }
    let is_edited =
        known.as_ref().is_some_and(|it| it.annotations().get(annotation::APPLIED) == Some(&digest));
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    let applied = api
        .patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&fields))
        .await
        .map_err(Error::api(format!("apply {} {namespace}/{name}", K::kind(&()))))?;
    tracing::info!(kind = %K::kind(&()), %namespace, name, is_new = known.is_none(),
        version = applied.resource_version(), is_edited, "applied");
    Ok(if is_edited { Applied::PutBack } else { Applied::Done })
}

/// An object with the digest of what it is among its annotations.
fn digested(mut fields: Value) -> Result<(Value, String), Error> {
    let digest = blake3::hash(&serde_json::to_vec(&fields)?).to_hex()[..16].to_owned();
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(annotation::APPLIED.to_owned(), Value::String(digest.clone()));
        }
    }
    Ok((fields, digest))
}

/// Applies an object of a kind that other programs bring, if it is not so already. No watch
/// tells of these: the kind may not be installed.
pub(crate) async fn apply_foreign(
    client: &Client,
    kind: &ApiResource,
    wanted: &DynamicObject,
) -> Result<(), Error> {
    let namespace = wanted.namespace().ok_or(Error::Nameless)?;
    let name = wanted.name_any();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, kind);
    let failed = |error: kube::Error| match error {
        kube::Error::Api(status) if status.code == 404 => Error::NoKind(kind.kind.clone()),
        error => Error::api(format!("apply {} {name}", kind.kind))(error),
    };
    let fields = serde_json::to_value(wanted)?;
    if let Some(known) = api.get_opt(&name).await.map_err(failed)?
        && holds(&serde_json::to_value(&known)?, &fields)
    {
        return Ok(());
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&name, &params, &Patch::Apply(&fields)).await.map_err(failed)?;
    tracing::info!(kind = kind.kind, %namespace, name, "applied");
    Ok(())
}

/// Applies what is wanted at `at`, or removes what is there if nothing is.
pub(crate) async fn apply_or_remove<K>(
    client: &Client,
    store: &Store<K>,
    wanted: Option<&K>,
    at: &ObjectRef<K>,
) -> Result<Applied, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + 'static,
{
    match (wanted, store.get(at)) {
        (Some(wanted), _) => apply(client, store, wanted).await,
        (None, Some(left)) => delete(client, &*left).await.map(|()| Applied::Done),
        (None, None) => Ok(Applied::Same),
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
    delete_within(client, object, None).await
}

/// The same, with other than the usual time to end: none at all for a pod on a machine of which
/// a person said that it is lost.
pub(crate) async fn delete_within<K>(
    client: &Client,
    object: &K,
    grace_seconds: Option<u32>,
) -> Result<(), Error>
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
    let params = DeleteParams {
        preconditions: Some(preconditions),
        grace_period_seconds: grace_seconds,
        ..DeleteParams::default()
    };
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
pub(crate) fn holds(there: &Value, wanted: &Value) -> bool {
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
