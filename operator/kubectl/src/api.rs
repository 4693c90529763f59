//! What is asked of the API server, and what its refusals mean.

use std::fmt::Debug;
use std::iter::successors;

use defs_crds::names::GROUP;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::AuthError;
use kube::core::{DeserializeGuard, NamespaceResourceScope, Status};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::access::{Access, Scope, innermost};

/// Who owns the fields that people change by this program.
const FIELD_MANAGER: &str = "kubectl-defs";

/// Objects that come with one answer. More come in several, so that none takes too long.
const PAGE: u32 = 500;

/// Why the API server didn't do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// Nobody answers.
    #[error(
        "no Kubernetes cluster answers at {url}: {why}. `kubectl config current-context` says \
         which one is asked, --context chooses another"
    )]
    Unreachable {
        /// Of the API server.
        url: String,
        /// What lies at the bottom of it.
        why: String,
    },
    /// It doesn't know who asks.
    #[error("the Kubernetes cluster at {url} does not accept the credentials: {said}")]
    Credentials {
        /// Of the API server.
        url: String,
        /// Its own words.
        said: String,
    },
    /// Our kinds are unknown to it.
    #[error(
        "the CRDs of DeFS are not installed in this cluster: install them and the operator with \
         `helm install defs charts/defs`"
    )]
    NotInstalled,
    /// Who asks may not do this.
    #[error("not allowed to {verb} {resource} {scope}: {said}")]
    Forbidden {
        /// As RBAC calls it.
        verb: &'static str,
        /// As RBAC calls it.
        resource: String,
        /// Where.
        scope: String,
        /// The API server's own words.
        said: String,
    },
    /// It refuses this very request.
    #[error("Kubernetes refuses to {verb} {resource} {scope}: {said}")]
    Refused {
        /// As RBAC calls it.
        verb: &'static str,
        /// As RBAC calls it.
        resource: String,
        /// Where.
        scope: String,
        /// The API server's own words.
        said: String,
    },
    /// Anything else.
    #[error("failed to {verb} {resource} {scope}")]
    Failed {
        /// As RBAC calls it.
        verb: &'static str,
        /// As RBAC calls it.
        resource: String,
        /// Where.
        scope: String,
        /// What failed.
        source: Box<kube::Error>,
    },
}

impl ApiError {
    /// Whether the same may succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// A namespaced kind.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static
{
}

/// Objects of a kind.
#[derive(Debug)]
pub(crate) struct Listed<K> {
    pub(crate) objects: Vec<K>,
    /// Those that this program can't read, and why: an operator of another version made them.
    pub(crate) unreadable: Vec<String>,
}

/// What was tried, for people.
struct Tried {
    verb: &'static str,
    resource: String,
    scope: String,
}

impl Tried {
    fn on<K: Kind>(verb: &'static str, scope: &Scope) -> Self {
        let (plural, group) = (K::plural(&()), K::group(&()));
        let resource =
            if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") };
        let scope = match scope {
            Scope::In(_) => scope.to_string(),
            Scope::All => "in all namespaces".to_owned(),
        };
        Self { verb, resource, scope }
    }
}

/// The library's futures are large: each is boxed, so that what awaits it is not.
impl Access {
    /// The objects of `scope`, chosen by their fields: `metadata.name=x`.
    pub(crate) async fn list<K: Kind>(
        &self,
        scope: &Scope,
        fields: Option<&str>,
    ) -> Result<Listed<K>, ApiError> {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector = fields.map(ToOwned::to_owned);
        self.pages(scope, params).await
    }

    /// The objects of `namespace`, chosen by their labels.
    pub(crate) async fn labelled<K: Kind>(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<K>, ApiError> {
        let params = ListParams::default().limit(PAGE).labels(labels);
        let listed = self.pages(&Scope::In(namespace.to_owned()), params).await?;
        Ok(listed.objects)
    }

    async fn pages<K: Kind>(
        &self,
        scope: &Scope,
        mut params: ListParams,
    ) -> Result<Listed<K>, ApiError> {
        let client = self.client.clone();
        let api: Api<DeserializeGuard<K>> = match scope {
            Scope::In(namespace) => Api::namespaced(client, namespace),
            Scope::All => Api::all(client),
        };
        let tried = Tried::on::<K>("list", scope);
        let mut listed = Listed { objects: Vec::new(), unreadable: Vec::new() };
        loop {
            let page =
                Box::pin(api.list(&params)).await.map_err(|error| self.refusal(&tried, error))?;
            for DeserializeGuard(object) in page.items {
                match object {
                    Ok(object) => listed.objects.push(object),
                    Err(invalid) => listed.unreadable.push(format!(
                        "{} {} can't be read by this version of kubectl-defs: {}",
                        K::kind(&()),
                        invalid.metadata.name.as_deref().unwrap_or("without a name"),
                        invalid.error
                    )),
                }
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(listed);
            }
        }
    }

    /// One object, if it is there.
    pub(crate) async fn get<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, ApiError> {
        let found = Box::pin(self.within::<K>(namespace).get(name)).await;
        match found {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if is_missing(&status) => Ok(None),
            Err(error) => Err(self.refusal(&Tried::on::<K>("get", &in_(namespace)), error)),
        }
    }

    /// Changes what `patch` names and nothing else.
    pub(crate) async fn merge<K: Kind>(&self, object: &K, patch: &Value) -> Result<(), ApiError> {
        let namespace = object.namespace().unwrap_or_default();
        let params =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let (api, name) = (self.within::<K>(&namespace), object.name_any());
        let patched = Box::pin(api.patch(&name, &params, &Patch::Merge(patch))).await;
        let tried = Tried::on::<K>("patch", &in_(&namespace));
        patched.map(drop).map_err(|error| self.refusal(&tried, error))
    }

    /// Makes an object.
    pub(crate) async fn create<K: Kind + Serialize>(
        &self,
        namespace: &str,
        object: &K,
    ) -> Result<(), ApiError> {
        let params =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let created = Box::pin(self.within::<K>(namespace).create(&params, object)).await;
        let tried = Tried::on::<K>("create", &in_(namespace));
        created.map(drop).map_err(|error| self.refusal(&tried, error))
    }

    /// Deletes this very object, if it is there still.
    pub(crate) async fn delete<K: Kind>(&self, object: &K) -> Result<(), ApiError> {
        let namespace = object.namespace().unwrap_or_default();
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let (api, name) = (self.within::<K>(&namespace), object.name_any());
        let deleted = Box::pin(api.delete(&name, &params)).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if is_missing(&status) => Ok(()),
            Err(error) => Err(self.refusal(&Tried::on::<K>("delete", &in_(&namespace)), error)),
        }
    }

    fn within<K: Kind>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// What a refusal means to a person.
    fn refusal(&self, tried: &Tried, error: kube::Error) -> ApiError {
        let url = || self.url.clone();
        let (verb, resource, scope) = (tried.verb, tried.resource.clone(), tried.scope.clone());
        match error {
            kube::Error::Api(status) => match status.code {
                401 => ApiError::Credentials { url: url(), said: status.message },
                403 => ApiError::Forbidden { verb, resource, scope, said: status.message },
                404 if resource.ends_with(GROUP) && !is_missing(&status) => ApiError::NotInstalled,
                _ => ApiError::Refused { verb, resource, scope, said: status.message },
            },
            kube::Error::Auth(error) => {
                ApiError::Credentials { url: url(), said: innermost(&error).to_string() }
            }
            kube::Error::Service(error) => self.unanswered(&*error),
            kube::Error::HyperError(error) => self.unanswered(&error),
            error => ApiError::Failed { verb, resource, scope, source: error.into() },
        }
    }

    fn unanswered(&self, error: &(dyn std::error::Error + 'static)) -> ApiError {
        let (url, why) = (self.url.clone(), innermost(error).to_string());
        let mut causes = successors(Some(error), |error| error.source());
        if causes.any(|error| error.is::<AuthError>()) {
            return ApiError::Credentials { url, said: why };
        }
        ApiError::Unreachable { url, why }
    }
}

fn in_(namespace: &str) -> Scope {
    Scope::In(namespace.to_owned())
}

/// Whether the API server knows the kind and has no such object. Of an unknown kind it says
/// something else, under the same number.
fn is_missing(status: &Status) -> bool {
    status.code == 404 && status.reason == "NotFound"
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use defs_crds::{DefsCluster, DefsNode};
    use http::{Method, Request, Response, StatusCode};
    use k8s_openapi::api::core::v1::Pod;
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    use super::*;
    use crate::example;

    /// An answer of the API server.
    #[derive(Clone)]
    struct Answer(u16, String);

    fn status(code: u16, reason: &str, message: &str) -> Answer {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message,
        });
        Answer(code, status.to_string())
    }

    type Asked = Arc<Mutex<Vec<(Method, String)>>>;

    /// An API server that gives `answers` one after the other, and what it was asked.
    fn server(answers: Vec<Answer>) -> (Access, Asked) {
        let (answers, asked) = (Arc::new(Mutex::new(VecDeque::from(answers))), Asked::default());
        let heard = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Body>| {
            let call = (request.method().clone(), request.uri().to_string());
            heard.lock().unwrap().push(call);
            let Answer(code, body) =
                answers.lock().unwrap().pop_front().expect("more was asked than is answered");
            let response = Response::builder()
                .status(StatusCode::from_u16(code).unwrap())
                .body(Body::from(body.into_bytes()))
                .unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        (access(Client::new(service, "shop")), asked)
    }

    fn access(client: Client) -> Access {
        Access {
            client,
            url: "https://api.example".to_owned(),
            scope: in_("shop"),
            namespace: "shop".to_owned(),
        }
    }

    async fn refused(answer: Answer) -> String {
        let (access, _) = server(vec![answer]);
        access.list::<DefsCluster>(&in_("shop"), None).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn missing_crds_are_told_with_what_to_do() {
        let told = refused(Answer(404, "404 page not found\n".to_owned())).await;
        assert_eq!(
            told,
            "the CRDs of DeFS are not installed in this cluster: install them and the operator \
             with `helm install defs charts/defs`"
        );
    }

    #[tokio::test]
    async fn what_is_forbidden_is_told_with_verb_resource_and_place() {
        let said = "User \"eve\" cannot list resource";
        let told = refused(status(403, "Forbidden", said)).await;
        assert_eq!(
            told,
            "not allowed to list defsclusters.defs.bpfs.io in namespace shop: User \"eve\" cannot \
             list resource"
        );
        let (access, _) = server(vec![status(403, "Forbidden", said)]);
        let error = access.list::<Pod>(&Scope::All, None).await.unwrap_err();
        assert!(error.to_string().starts_with("not allowed to list pods in all namespaces:"));
        assert!(error.is_forbidden());
    }

    #[tokio::test]
    async fn credentials_and_refusals_are_told_apart() {
        let told = refused(status(401, "Unauthorized", "Unauthorized")).await;
        assert_eq!(
            told,
            "the Kubernetes cluster at https://api.example does not accept the credentials: \
             Unauthorized"
        );
        let (access, _) = server(vec![status(422, "Invalid", "spec.replicas: too few")]);
        let cluster = example::cluster("demo", &json!({}), &json!({}));
        let error = access.create("shop", &cluster).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Kubernetes refuses to create defsclusters.defs.bpfs.io in namespace shop: \
             spec.replicas: too few"
        );
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_answer_is_told_with_its_address_and_the_last_cause() {
        let service = service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(std::io::Error::other("connection refused"))
        });
        let access = access(Client::new(service, "shop"));
        let error = access.list::<DefsCluster>(&Scope::All, None).await.unwrap_err();
        assert!(error.is_passing());
        assert!(
            error.to_string().starts_with(
                "no Kubernetes cluster answers at https://api.example: connection refused."
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn long_lists_come_in_pages_and_what_cannot_be_read_is_named() {
        let page = |items: Value, rest: &str| {
            let list = json!({
                "apiVersion": "defs.bpfs.io/v1alpha1", "kind": "DefsNodeList",
                "metadata": { "continue": rest }, "items": items,
            });
            Answer(200, list.to_string())
        };
        let node =
            |index| serde_json::to_value(example::node(index, &json!({}), &json!({}))).unwrap();
        let mut odd = node(7);
        odd["status"]["state"] = json!("Dreaming");
        let answers = vec![page(json!([node(0), odd]), "more"), page(json!([node(1)]), "")];
        let (access, asked) = server(answers);
        let listed = access.list::<DefsNode>(&in_("shop"), None).await.unwrap();
        let names: Vec<_> = listed.objects.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["demo-0", "demo-1"]);
        assert_eq!(listed.unreadable.len(), 1);
        assert!(
            listed.unreadable[0].starts_with("DefsNode demo-7 can't be read by this version"),
            "{}",
            listed.unreadable[0]
        );
        let (_, second) = asked.lock().unwrap()[1].clone();
        assert!(second.contains("limit=500") && second.contains("continue=more"), "{second}");
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_is_none_and_an_unknown_kind_is_an_error() {
        let missing = || status(404, "NotFound", "pods \"x\" not found");
        let (access, _) = server(vec![missing(), Answer(404, "404 page not found".to_owned())]);
        assert_eq!(access.get::<Pod>("shop", "x").await.unwrap(), None);
        let error = access.get::<DefsCluster>("shop", "x").await.unwrap_err();
        assert!(matches!(error, ApiError::NotInstalled));
        let pod: Pod = serde_json::from_value(json!({ "metadata": { "name": "x" } })).unwrap();
        let (access, asked) = server(vec![missing()]);
        access.delete(&pod).await.unwrap();
        assert_eq!(asked.lock().unwrap()[0].0, Method::DELETE);
    }
}
