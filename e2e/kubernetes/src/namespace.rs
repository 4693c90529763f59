//! A namespace for one case: made before it, removed after it, and described when it failed.

mod report;

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use defs_core::ids::hex;
use defs_core::port::Randomness;
use defs_launch::OsRandom;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::World;
use crate::results::{Outcome, ended, say};
use crate::wait::eventually;

pub(crate) use report::logs;

/// A case may take so long: less than the test runner's limit, so that it is told why.
const CASE_WITHIN: Duration = Duration::from_secs(480);

/// A namespace goes within this time, pods and volumes first. What holds it up is a bug.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Who changes objects as a person would.
const PERSON: &str = "e2e";

/// The namespace of a case.
pub struct Namespace {
    world: Arc<World>,
    case: String,
    name: String,
}

impl Debug for Namespace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Namespace({})", self.name)
    }
}

/// Runs `body` in a namespace of its own, with an operator that leads and machines that are
/// well. Afterwards what is broken is mended and the namespace removed, whatever came of it.
pub async fn with_namespace(
    case: &str,
    body: impl AsyncFnOnce(&Namespace) -> Result<()>,
) -> Result<()> {
    let world = Arc::new(World::open().await?);
    crate::results::begun(&world.args, case)?;
    let started = Instant::now();
    let done = run(&world, case, body).await;
    let outcome = if done.is_ok() { Outcome::Passed } else { Outcome::Failed };
    ended(&world.args, case, outcome, started.elapsed())?;
    done
}

async fn run(
    world: &Arc<World>,
    case: &str,
    body: impl AsyncFnOnce(&Namespace) -> Result<()>,
) -> Result<()> {
    world.machines().mend().await.context("the machines aren't well before the case")?;
    world.installation().ensure().await?;
    world.operator().led(None).await?;
    let namespace = Namespace::make(world, case).await?;
    let done = unwinding(timeout(CASE_WITHIN, body(&namespace))).await;
    if let Err(error) = &done {
        say(&format!("{case} failed: {error:#}"));
        say(&report::of(&namespace).await);
    }
    let cleaned = clean(&namespace).await;
    match (done, cleaned) {
        (Ok(()), cleaned) => cleaned,
        (failed, Err(error)) => {
            say(&format!("and after it: {error:#}"));
            failed
        }
        (failed, Ok(())) => failed,
    }
}

/// A failed assertion is told like any other failure.
async fn unwinding(
    work: impl Future<Output = Result<Result<()>, tokio::time::error::Elapsed>>,
) -> Result<()> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(done)) => done,
        Ok(Err(_elapsed)) => Err(anyhow!("not done within {CASE_WITHIN:?}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow!("{}", text.unwrap_or("a panic without words")))
        }
    }
}

async fn clean(namespace: &Namespace) -> Result<()> {
    let mended = namespace.world.machines().mend().await.context("the machines after the case");
    let removed = namespace.remove().await;
    mended.and(removed)
}

impl Namespace {
    async fn make(world: &Arc<World>, case: &str) -> Result<Self> {
        let name = format!("{case}-{}", hex(&OsRandom.array::<2>()));
        let namespace: KubeNamespace = serde_json::from_value(json!({"metadata": {
            "name": name,
            // Pods that need any right would be refused.
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }}))?;
        let api = Api::<KubeNamespace>::all(world.client());
        api.create(&PostParams::default(), &namespace).await?;
        Ok(Self { world: Arc::clone(world), case: case.to_owned(), name })
    }

    /// Another namespace beside this one; whoever makes it removes it.
    pub async fn beside(&self) -> Result<Self> {
        Self::make(&self.world, &self.case).await
    }

    /// Removes it with all that is in it.
    pub async fn remove(&self) -> Result<()> {
        let api = Api::<KubeNamespace>::all(self.client());
        api.delete(&self.name, &DeleteParams::default()).await?;
        eventually(&format!("the namespace {} is gone", self.name), GONE_WITHIN, async || {
            let Some(there) = api.get_opt(&self.name).await? else { return Ok(()) };
            let conditions = there.status.and_then(|status| status.conditions).unwrap_or_default();
            let why = conditions.into_iter().filter(|it| it.status == "True");
            let why: Vec<_> = why.filter_map(|it| it.message).collect();
            Err(anyhow!("{}", why.join("; ")))
        })
        .await
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster that it is on.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The API as the administrator.
    #[must_use]
    pub fn client(&self) -> Client {
        self.world.client()
    }

    /// Objects of a kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// The same as what people write: fields that no type of ours has too.
    #[must_use]
    pub fn written<K>(&self) -> Api<DynamicObject>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced_with(self.client(), &self.name, &ApiResource::erase::<K>(&()))
    }

    /// Makes the object, or changes it to what is said, as `kubectl apply` does.
    pub async fn apply<K>(&self, name: &str, object: &Value) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let head = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name},
        });
        let whole = crate::merged(head, object.clone());
        let params = PatchParams::apply(PERSON).force();
        let applied = self.api::<K>().patch(name, &params, &Patch::Apply(&whole)).await;
        applied.with_context(|| format!("failed to apply {} {name}", K::kind(&())))
    }

    /// Changes fields of an object, as `kubectl patch` does.
    pub async fn patch<K>(&self, name: &str, fields: &Value) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let params =
            PatchParams { field_manager: Some(PERSON.to_owned()), ..PatchParams::default() };
        let patched = self.api::<K>().patch(name, &params, &Patch::Merge(fields)).await;
        patched.with_context(|| format!("failed to patch {} {name}", K::kind(&())))
    }

    /// Removes an object at once.
    pub async fn delete<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let deleted = self.api::<K>().delete(name, &DeleteParams::default()).await;
        deleted.map(drop).with_context(|| format!("failed to delete {} {name}", K::kind(&())))
    }

    /// Waits for an event of an object whose note says `words`.
    pub async fn told(&self, object: &str, words: &str, within: Duration) -> Result<String> {
        use k8s_openapi::api::events::v1::Event;
        let what = format!("an event of {object} that says `{words}`");
        eventually(&what, within, async || {
            let events = self.api::<Event>().list(&kube::api::ListParams::default()).await?.items;
            let notes: Vec<_> = events
                .into_iter()
                .filter(|it| {
                    it.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(object)
                })
                .map(|it| {
                    let (reason, note) =
                        (it.reason.unwrap_or_default(), it.note.unwrap_or_default());
                    format!("{reason}: {note}")
                })
                .collect();
            let found = notes.iter().find(|note| note.contains(words)).cloned();
            found.with_context(|| format!("its events: {notes:?}"))
        })
        .await
    }

    /// Tells a figure that was measured here.
    pub fn figure(&self, what: &str, value: impl std::fmt::Display) -> Result<()> {
        crate::results::figure(&self.world.args, &self.case, what, value)
    }

    /// Tells how long something took, which must be no longer than `most`.
    pub fn took(&self, what: &str, took: Duration, most: Duration) -> Result<()> {
        self.figure(what, format!("{:.1} s, at most {} s", took.as_secs_f64(), most.as_secs()))?;
        ensure!(took <= most, "{what}: {took:?}, more than {most:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_assertion_is_a_failure_with_its_words() {
        let work = async {
            assert_eq!(1 + 1, 3, "sums are off");
            Ok(Ok(()))
        };
        let error = unwinding(work).await.unwrap_err().to_string();
        assert!(error.contains("sums are off"), "{error}");
        let failing = async { Ok(Err(anyhow!("why"))) };
        assert_eq!(unwinding(failing).await.unwrap_err().to_string(), "why");
    }
}
