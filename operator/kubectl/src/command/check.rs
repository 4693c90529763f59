//! `kubectl defs check`: puts a real object, loses both nodes that hold it one after the other,
//! and reads it back each time. What it makes it removes, also when a step fails.

mod cluster;
mod lose;
mod owner;
mod steps;

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use defs_launch::signals;
use kube::ResourceExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::status;
use crate::access::{Access, Scope};
use crate::args;
use crate::events;
use crate::figures::bytes;
use crate::say::{Say, told};
use crate::seen::{see, see_objects};
use owner::Owner;
use steps::Steps;

pub(crate) use steps::CheckFailed;

/// What every step needs.
struct Bench<'a> {
    access: Access,
    namespace: String,
    /// The DefsCluster's name.
    cluster: String,
    steps: Steps,
    /// For each single wait.
    limit: Duration,
    asked: &'a args::Check,
}

pub(super) async fn run(access: &Access, asked: &args::Check, say: Say) -> Result<()> {
    let stop = CancellationToken::new();
    let signals =
        signals::stop_requested(stop.clone()).context("failed to watch for the word to stop")?;
    tokio::select! {
        never = signals => match never {},
        outcome = whole(access, asked, say, &stop) => outcome,
    }
}

async fn whole(
    access: &Access,
    asked: &args::Check,
    say: Say,
    stop: &CancellationToken,
) -> Result<()> {
    let bench = bench(access, asked, say).await?;
    let name = &bench.cluster;
    if asked.create {
        bench
            .steps
            .step(format!("DefsCluster {name} made"), Box::pin(cluster::create(&bench)))
            .await?;
    }
    let outcome = Box::pin(put_get_repair(&bench, stop)).await;
    if outcome.is_err() {
        tell_state(&bench, say).await;
    }
    if !asked.create || asked.keep {
        return outcome;
    }
    let gone = format!("DefsCluster {name} and its pods gone");
    let removed = bench.steps.step(gone, cluster::remove(&bench, name)).await;
    outcome.and(removed)
}

/// Which cluster it is about, and where that is.
async fn bench<'a>(access: &Access, asked: &'a args::Check, say: Say) -> Result<Bench<'a>> {
    let (namespace, cluster) = if asked.create {
        (access.namespace.clone(), asked.name.clone())
    } else {
        let seen = see_objects(access).await?;
        let cluster = seen.one_cluster(asked.cluster.as_deref())?;
        (cluster.namespace().unwrap_or_default(), cluster.name_any())
    };
    let access = Access { scope: Scope::In(namespace.clone()), ..access.clone() };
    let steps = Steps::new(say);
    Ok(Bench { access, namespace, cluster, steps, limit: asked.timeout, asked })
}

async fn put_get_repair(bench: &Bench<'_>, stop: &CancellationToken) -> Result<()> {
    let (steps, name) = (&bench.steps, &bench.cluster);
    let ready = steps.step(format!("DefsCluster {name} Ready"), cluster::ready(bench));
    unless_stopped(stop, ready).await?;
    let made = steps.step("an owner with a key of its own".to_owned(), Owner::new(bench));
    let owner = unless_stopped(stop, made).await?;
    let size = bytes(bench.asked.size.0);
    unless_stopped(stop, steps.step(format!("put {size}"), owner.put())).await?;
    let outcome = unless_stopped(stop, Box::pin(read_and_lose(bench, &owner))).await;
    if bench.asked.keep {
        bench.steps.note(&owner.left());
        return outcome;
    }
    // Also when something failed: nobody else has the key by which the object could be removed.
    let removed = steps.step("rm".to_owned(), owner.remove()).await;
    outcome.and(removed)
}

async fn read_and_lose(bench: &Bench<'_>, owner: &Owner) -> Result<()> {
    let steps = &bench.steps;
    steps.step("get, equal".to_owned(), owner.read_back()).await?;
    let held = lose::find(bench, owner);
    let pair = steps.step("stat, the pair that holds most of it found".to_owned(), held).await?;
    for (role, node) in [("primary", &pair.primary), ("mirror", &pair.mirror)] {
        lose::lose(bench, owner, &pair.name, (role, node)).await?;
    }
    Ok(())
}

/// Does it until somebody asks for an end.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let done = stop.run_until_cancelled(work).await;
    done.unwrap_or_else(|| Err(anyhow!("stopped before it was done")))
}

/// What the cluster says when a step has failed. The failure itself is told by others.
async fn tell_state(bench: &Bench<'_>, say: Say) {
    let seen = match see(&bench.access).await {
        Ok(seen) => seen,
        Err(error) => return bench.steps.note(&told(&error.into())),
    };
    let clusters = seen.clusters_named(Some(&bench.cluster)).unwrap_or_default();
    let (happened, without) =
        match events::of_cluster(&bench.access, &bench.namespace, &bench.cluster).await {
            Ok(happened) => (happened, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
    let object = json!({
        "event": "state", "state": status::json(&seen, &clusters), "events": happened,
        "withoutEvents": without,
    });
    say.event(&object, || {
        let mut text = vec![String::new(), status::text(&seen, &clusters), String::new()];
        text.extend(happened.iter().map(|it| it.line(seen.now)));
        text.extend(without.clone());
        text.join("\n")
    });
}
