//! A Kubernetes API in memory, as far as the operator uses it, that can be made to misbehave:
//! what a real control plane does too seldom to wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

pub(super) const CRDS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";

/// Events that a watch may lag behind; then it ends.
const EVENTS_MAX: usize = 4096;

/// How long a condition may take to come true.
const WITHIN: Duration = Duration::from_secs(60);

/// Where an object lies: collection (`apps/v1/deployments`, `v1/pods`), namespace, name.
type Key = (String, String, String);

/// What is answered in place of what was asked: a status code and a message.
pub(super) type Refusal = (u16, &'static str);

type Answer = UnsyncBoxBody<Bytes, Infallible>;

type Rule = Box<dyn FnMut(&Call) -> Option<Refusal> + Send>;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    /// As RBAC says it.
    pub(super) verb: &'static str,
    /// Collection, with the subresource after a slash if there is one.
    pub(super) resource: String,
    pub(super) name: String,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<Key, Value>,
    /// What happened, for watches that come later.
    log: Vec<(u64, String, Value)>,
    watches: Vec<(String, mpsc::Sender<Value>)>,
    calls: BTreeSet<(&'static str, String)>,
    expired: usize,
    rules: Vec<Rule>,
    delay: Duration,
}

#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Fake {
    pub(super) fn new() -> Self {
        let fake = Self { state: Arc::default(), changed: watch::channel(0).0 };
        for crd in defs_crds::crds() {
            fake.put(CRDS, serde_json::to_value(crd).unwrap());
        }
        fake
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// From now on requests are answered by what `rule` says, where it says something.
    pub(super) fn refuse(&self, rule: impl FnMut(&Call) -> Option<Refusal> + Send + 'static) {
        self.lock().rules.push(Box::new(rule));
    }

    pub(super) fn refuse_nothing(&self) {
        self.lock().rules.clear();
    }

    pub(super) fn delay(&self, by: Duration) {
        self.lock().delay = by;
    }

    /// All watches end; those that come next are told that what they want is too old.
    pub(super) fn expire_watches(&self) {
        let mut state = self.lock();
        state.expired = state.watches.len();
        state.log.clear();
        state.watches.clear();
    }

    pub(super) fn drop_watches(&self) {
        self.lock().watches.clear();
    }

    pub(super) fn calls(&self) -> BTreeSet<(&'static str, String)> {
        self.lock().calls.clone()
    }

    pub(super) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        let state = self.lock();
        let found = state.objects.iter().find(|((c, _, n), _)| c == collection && n == name);
        found.map(|(_, object)| object.clone())
    }

    pub(super) fn all(&self, collection: &str) -> Vec<Value> {
        let state = self.lock();
        let those = state.objects.iter().filter(|((c, ..), _)| c == collection);
        those.map(|(_, object)| object.clone()).collect()
    }

    /// Somebody else writes an object.
    pub(super) fn put(&self, collection: &str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
        let mut state = self.lock();
        let key = (collection.to_owned(), namespace, name);
        let kind = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", state.version).into();
        }
        state.write(&key, object, kind);
        self.tell(state);
    }

    /// Somebody else changes an object.
    pub(super) fn edit(&self, collection: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(collection, name).unwrap();
        change(&mut object);
        self.put(collection, object);
    }

    /// Somebody else deletes an object.
    pub(super) fn remove(&self, collection: &str, name: &str) {
        let mut state = self.lock();
        let key = state.objects.keys().find(|(c, _, n)| c == collection && n == name).cloned();
        state.delete(&key.unwrap());
        self.tell(state);
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let version = state.version;
        drop(state);
        self.changed.send_replace(version);
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        let waited = async {
            while !is_so(self) {
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(WITHIN, waited).await.is_err() {
            let objects: Vec<_> = self.lock().objects.keys().cloned().collect();
            panic!("not so within {WITHIN:?}: {what}\n{objects:#?}");
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let query: BTreeMap<_, _> = parts
            .uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter_map(|it| it.split_once('='))
            .collect();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (key, sub) = key(parts.uri.path());
        let is_watch = query.get("watch") == Some(&"true");
        let call = call(&parts.method, (&key, &sub), is_watch);
        let (refused, delay) = {
            let mut state = self.lock();
            state.calls.insert((call.verb, without_version(&call.resource)));
            (state.rules.iter_mut().find_map(|rule| rule(&call)), state.delay)
        };
        tokio::time::sleep(delay).await;
        if let Some((code, message)) = refused {
            return status(code, message);
        }
        if is_watch {
            let since = query.get("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
            return self.watch(&key.0, since);
        }
        let mut state = self.lock();
        let answer = state.act(&parts.method, (&key, &sub), body);
        self.tell(state);
        answer
    }

    fn watch(&self, collection: &str, since: u64) -> Response<Answer> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut state = self.lock();
        if state.expired > 0 {
            state.expired -= 1;
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
                "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
                "message": "too old resource version"}});
            sender.try_send(gone).unwrap();
        } else {
            let missed = state.log.iter().filter(|(at, c, _)| *at > since && c == collection);
            missed.for_each(|(_, _, event)| sender.try_send(event.clone()).unwrap());
            state.watches.push((collection.to_owned(), sender));
        }
        let lines = ReceiverStream::new(events)
            .map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n")))));
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl State {
    fn write(&mut self, key: &Key, mut object: Value, kind: &str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.happened(&key.0, kind, &object);
        object
    }

    fn happened(&mut self, collection: &str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        self.log.push((self.version, collection.to_owned(), event.clone()));
        self.watches
            .retain(|(c, sender)| c != collection || sender.try_send(event.clone()).is_ok());
    }

    /// Deletes an object and all that it owns.
    fn delete(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        self.version += 1;
        let uid = object["metadata"]["uid"].clone();
        self.happened(&key.0, "DELETED", &object);
        let is_owned = |owned: &Value| {
            let owners = owned["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|it| it["uid"] == uid))
        };
        let owned: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, it)| is_owned(it))
            .map(|(key, _)| key.clone())
            .collect();
        owned.iter().for_each(|key| self.delete(key));
    }

    fn act(&mut self, method: &Method, (key, sub): (&Key, &str), body: Value) -> Response<Answer> {
        match *method {
            Method::GET if key.2.is_empty() => {
                let items = self.objects.iter().filter(|(known, _)| {
                    known.0 == key.0 && (key.1.is_empty() || known.1 == key.1)
                });
                let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
                let version = self.version.to_string();
                reply(&json!({"kind": "List", "apiVersion": "v1",
                    "metadata": {"resourceVersion": version}, "items": items}))
            }
            Method::GET => self.objects.get(key).map_or_else(missing, reply),
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap_or("generated").to_owned();
                let key = (key.0.clone(), key.1.clone(), name);
                if self.objects.contains_key(&key) {
                    return status(409, "already exists");
                }
                reply(&self.create(&key, body))
            }
            Method::PATCH => match self.objects.get(key).cloned() {
                None if sub.is_empty() => reply(&self.create(key, body)),
                None => missing(),
                Some(known) => self.patch(key, sub, (known, body)),
            },
            Method::DELETE => {
                let Some(known) = self.objects.get(key) else { return missing() };
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && known["metadata"]["uid"] != *uid {
                    return status(409, "another object has that name");
                }
                self.delete(key);
                reply(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => status(405, "no such method"),
        }
    }

    fn create(&mut self, key: &Key, mut object: Value) -> Value {
        object["metadata"]["name"] = key.2.clone().into();
        object["metadata"]["namespace"] = key.1.clone().into();
        object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        self.write(key, object, "ADDED")
    }

    fn patch(&mut self, key: &Key, sub: &str, (known, body): (Value, Value)) -> Response<Answer> {
        let mut object = known.clone();
        if sub == "status" {
            object["status"] = body["status"].clone();
        } else {
            merge(&mut object, &body);
        }
        if object == known {
            return reply(&known);
        }
        reply(&self.write(key, object, "MODIFIED"))
    }
}

/// Writes a merge patch into an object: `null` removes.
pub(crate) fn merge(there: &mut Value, patch: &Value) {
    match (there, patch) {
        (Value::Object(there), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    there.remove(name);
                } else {
                    merge(there.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (there, patch) => *there = patch.clone(),
    }
}

/// `/apis/GROUP/VERSION/namespaces/NAMESPACE/COLLECTION/NAME/SUBRESOURCE`, or the core group's.
fn key(path: &str) -> (Key, String) {
    let mut words: Vec<_> = path.trim_matches('/').split('/').collect();
    let group =
        if words.remove(0) == "api" { String::new() } else { format!("{}/", words.remove(0)) };
    let version = words.remove(0);
    let namespace = if words.first() == Some(&"namespaces") && words.len() > 2 {
        words.remove(0);
        words.remove(0).to_owned()
    } else {
        String::new()
    };
    let word = |at: usize| words.get(at).copied().unwrap_or_default().to_owned();
    let collection = format!("{group}{version}/{}", word(0));
    ((collection, namespace, word(1)), word(2))
}

/// `GROUP/RESOURCE`, as rights say it.
fn without_version(resource: &str) -> String {
    let (group, rest) = match resource.split('/').next() {
        Some("v1") => ("", resource),
        Some(group) => (group, &resource[group.len() + 1..]),
        None => ("", resource),
    };
    let (_version, resource) = rest.split_once('/').unwrap();
    format!("{group}/{resource}")
}

fn call(method: &Method, (key, sub): (&Key, &str), is_watch: bool) -> Call {
    let verb = match *method {
        _ if is_watch => "watch",
        Method::GET if key.2.is_empty() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "update",
    };
    let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
    Call { verb, resource: format!("{}{sub}", key.0), name: key.2.clone() }
}

fn reply(object: &Value) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(object.to_string())).boxed_unsync())
}

fn missing() -> Response<Answer> {
    status(404, "not found")
}

fn status(code: u16, message: &str) -> Response<Answer> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        403 => "Forbidden",
        _ => "Unknown",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code});
    let mut response = reply(&body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
