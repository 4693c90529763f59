//! All that one needs to see of a namespace after a failure: objects, events, logs.

use std::fmt::Debug;

use defs_crds::{DefsCluster, DefsNode, DefsPair};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, LogParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Namespace;
use crate::machines::is_ready;
use crate::network::pod_ready;

/// The last lines of each node, and of the operator, which speaks of all of them.
const NODE_LINES: i64 = 25;
const OPERATOR_LINES: i64 = 100;

/// The last events.
const EVENTS_MAX: usize = 80;

/// What there is in `namespace`. What can't be had is told where it would stand.
pub(super) async fn of(namespace: &Namespace) -> String {
    let parts = [
        machines(namespace).await,
        objects::<DefsCluster>(namespace).await,
        objects::<DefsPair>(namespace).await,
        objects::<DefsNode>(namespace).await,
        pods(namespace).await,
        claims(namespace).await,
        events(namespace).await,
        node_logs(namespace).await,
        operator_logs(namespace).await,
    ];
    parts.concat()
}

fn part(title: &str, lines: Result<Vec<String>, kube::Error>) -> String {
    match lines {
        Ok(lines) => format!("--- {title}\n{}\n", lines.join("\n")),
        Err(error) => format!("--- {title}: {error}\n"),
    }
}

async fn list<K>(namespace: &Namespace) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    Ok(namespace.api::<K>().list(&ListParams::default()).await?.items)
}

async fn machines(namespace: &Namespace) -> String {
    let all = match namespace.world().machines().all().await {
        Ok(all) => all,
        Err(error) => return format!("--- machines: {error:#}\n"),
    };
    let line = |node: &k8s_openapi::api::core::v1::Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let taints: Vec<_> = taints.into_iter().map(|taint| taint.key).collect();
        let ready = if is_ready(node) { "Ready" } else { "NotReady" };
        format!("{} {ready} {}", node.name_any(), taints.join(" "))
    };
    part("machines", Ok(all.iter().map(line).collect()))
}

/// As YAML, without what only the API server reads.
async fn objects<K>(namespace: &Namespace) -> String
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let text = |mut object: K| {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        metadata.owner_references = None;
        serde_saphyr::to_string(&object).unwrap_or_else(|error| error.to_string())
    };
    let texts = list::<K>(namespace).await.map(|all| all.into_iter().map(text).collect());
    part(&K::plural(&()), texts)
}

async fn pods(namespace: &Namespace) -> String {
    let line = |pod: Pod| {
        let mut line = pod.name_any();
        let ready = if pod_ready(&pod) { "ready" } else { "not ready" };
        let going = if pod.metadata.deletion_timestamp.is_some() { " Terminating" } else { "" };
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let phase = word(status.phase);
        let (machine, address) = (word(spec.node_name), word(status.pod_ip));
        line.push_str(&format!(" {phase}{going} {ready} on {machine} at {address}"));
        for container in status.container_statuses.into_iter().flatten() {
            line.push_str(&container_line(&container));
        }
        let conditions = status.conditions.into_iter().flatten();
        for wrong in conditions.filter(|it| it.status != "True").filter_map(|it| it.message) {
            line.push_str(&format!("\n    {wrong}"));
        }
        line
    };
    let lines = list::<Pod>(namespace).await.map(|all| all.into_iter().map(line).collect());
    part("pods", lines)
}

fn container_line(container: &ContainerStatus) -> String {
    let mut line = String::new();
    if container.restart_count > 0 {
        line.push_str(&format!(", {} restarts", container.restart_count));
    }
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    if let Some(waiting) = waiting {
        let (reason, why) = (waiting.reason.as_deref(), waiting.message.as_deref());
        line.push_str(&format!(", {} {}", reason.unwrap_or_default(), why.unwrap_or_default()));
    }
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(ended) = ended {
        line.push_str(&format!(", ended before with code {}", ended.exit_code));
    }
    line
}

async fn claims(namespace: &Namespace) -> String {
    let line = |claim: PersistentVolumeClaim| {
        let going = if claim.metadata.deletion_timestamp.is_some() { " Terminating" } else { "" };
        let name = claim.name_any();
        let volume = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
        let phase = claim.status.and_then(|status| status.phase).unwrap_or_default();
        format!("{name} {phase}{going} {volume}")
    };
    let lines = list::<PersistentVolumeClaim>(namespace).await;
    part("volume claims", lines.map(|all| all.into_iter().map(line).collect()))
}

async fn events(namespace: &Namespace) -> String {
    let lines = list::<Event>(namespace).await.map(|mut all| {
        all.sort_by_key(last_seen);
        let kept = all.len().saturating_sub(EVENTS_MAX);
        all.drain(..kept);
        all.iter().map(event_line).collect()
    });
    part("events, the last at the end", lines)
}

/// When it was seen last, as text that sorts by time: each source fills in another field.
fn last_seen(event: &Event) -> String {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0.to_string());
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0.to_string());
    let new = event.event_time.as_ref().map(|time| time.0.to_string());
    let made = event.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    series.or(old).or(new).or(made).unwrap_or_default()
}

fn event_line(event: &Event) -> String {
    let regarding = event.regarding.as_ref();
    let kind = regarding.and_then(|it| it.kind.as_deref()).unwrap_or_default();
    let name = regarding.and_then(|it| it.name.as_deref()).unwrap_or_default();
    let type_ = event.type_.as_deref().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    let note = event.note.as_deref().unwrap_or_default();
    let seen = last_seen(event);
    let time = seen.get(11..19).unwrap_or(&seen);
    format!("{time} {type_} {kind}/{name} {reason}: {note}")
}

async fn node_logs(namespace: &Namespace) -> String {
    let pods = list::<Pod>(namespace).await.unwrap_or_default();
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    let params = LogParams { tail_lines: Some(NODE_LINES), ..LogParams::default() };
    let logs = logs(&namespace.api::<Pod>(), &names, &params).await;
    logs.iter().map(|(name, log)| format!("--- log of {name}\n{log}\n")).collect()
}

async fn operator_logs(namespace: &Namespace) -> String {
    let logs = namespace.world().operator().logs(OPERATOR_LINES).await;
    logs.iter().map(|(name, log)| format!("--- log of the operator {name}\n{log}\n")).collect()
}

/// The logs of pods, side by side; of those that ended before too.
pub(crate) async fn logs(
    pods: &Api<Pod>,
    names: &[String],
    params: &LogParams,
) -> Vec<(String, String)> {
    join_all(names.iter().map(|name| log_of(pods, name, params))).await
}

async fn log_of(pods: &Api<Pod>, name: &str, params: &LogParams) -> (String, String) {
    let log = pods.logs(name, params).await.unwrap_or_else(|error| error.to_string());
    let previous = LogParams { previous: true, ..params.clone() };
    let log = match pods.logs(name, &previous).await {
        Ok(before) => format!("{before}\n(ended, and began again)\n{log}"),
        Err(_there_is_none) => log,
    };
    (name.to_owned(), log)
}
