//! What happened to objects lately, as Kubernetes keeps it for an hour.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::access::{Access, Scope};
use crate::api::ApiError;
use crate::figures::{seconds_since, span};

/// The newest that are told; older ones seldom explain what is now.
const TOLD_MAX: usize = 12;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Happened {
    /// The last time, if it is said.
    at: Option<Time>,
    kind: String,
    name: String,
    is_warning: bool,
    reason: String,
    note: String,
    times: u32,
}

impl Happened {
    fn of(event: Event) -> Self {
        let series = event.series;
        let in_series = series.as_ref().and_then(|it| it.last_observed_time.as_ref());
        let at = in_series
            .map(|at| at.0)
            .or(event.last_timestamp.map(|at| at.0))
            .or(event.event_time.map(|at| at.0))
            .or(event.metadata.creation_timestamp.map(|at| at.0));
        let times = series.and_then(|it| it.count).or(event.count).unwrap_or(1);
        Self {
            at: at.map(Time),
            kind: event.involved_object.kind.unwrap_or_default(),
            name: event.involved_object.name.unwrap_or_default(),
            is_warning: event.type_.as_deref() == Some("Warning"),
            reason: event.reason.unwrap_or_default(),
            note: event.message.unwrap_or_default(),
            times: u32::try_from(times).unwrap_or(1).max(1),
        }
    }

    /// `3 min ago  Warning  Pod/demo-3  BackOff: restarting failed container (4 times)`.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let ago = self
            .at
            .as_ref()
            .map_or_else(|| "some time".to_owned(), |at| span(seconds_since(at.0, now)));
        let type_ = if self.is_warning { "Warning" } else { "Normal " };
        let times = if self.times > 1 { format!(" ({} times)", self.times) } else { String::new() };
        let Self { kind, name, reason, note, .. } = self;
        format!("{:>9} ago  {type_}  {kind}/{name}  {reason}: {}{times}", ago, note.trim_end())
    }
}

/// An object of which events are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

impl About {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// What happened to `objects` lately, the newest last.
pub(crate) async fn about(
    access: &Access,
    namespace: &str,
    objects: &[About],
) -> Result<Vec<Happened>, ApiError> {
    let scope = Scope::In(namespace.to_owned());
    let mut events = Vec::new();
    for About { kind, name } in objects {
        let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
        events.extend(access.list::<Event>(&scope, Some(&fields)).await?.objects);
    }
    Ok(newest(events))
}

/// What happened lately to a cluster and all that is named after it, the newest last.
pub(crate) async fn of_cluster(
    access: &Access,
    namespace: &str,
    cluster: &str,
) -> Result<Vec<Happened>, ApiError> {
    let scope = Scope::In(namespace.to_owned());
    let mut events = access.list::<Event>(&scope, None).await?.objects;
    events.retain(|event| {
        let name = event.involved_object.name.as_deref().unwrap_or_default();
        is_of(name, cluster)
    });
    Ok(newest(events))
}

/// Whether an object has its name from `cluster`.
fn is_of(name: &str, cluster: &str) -> bool {
    let name = name.strip_prefix("data-").unwrap_or(name);
    name.strip_prefix(cluster).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn newest(events: Vec<Event>) -> Vec<Happened> {
    let mut happened: Vec<_> = events.into_iter().map(Happened::of).collect();
    happened.sort_by_key(|it| it.at.as_ref().map(|at| at.0));
    let older = happened.len().saturating_sub(TOLD_MAX);
    happened.split_off(older)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example::now;

    fn event(name: &str, more: serde_json::Value) -> Event {
        let mut event = json!({
            "metadata": {"name": "e", "creationTimestamp": "2026-05-05T00:00:00Z"},
            "involvedObject": {"kind": "Pod", "name": name},
            "type": "Warning", "reason": "BackOff", "message": "it ends\n",
        });
        crate::example::overlay(&mut event, more);
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn old_and_new_kinds_of_events_tell_when_they_came_last() {
        let minutes_ago = |minutes: i64| {
            let then = now() - k8s_openapi::jiff::SignedDuration::from_mins(minutes);
            format!("{then:.6}")
        };
        let told = newest(vec![
            event(
                "b",
                json!({ "eventTime": minutes_ago(4),
                "series": { "count": 5, "lastObservedTime": minutes_ago(2) } }),
            ),
            event("a", json!({ "lastTimestamp": minutes_ago(3), "count": 2 })),
            event("c", json!({ "eventTime": minutes_ago(1), "type": "Normal" })),
        ]);
        let lines: Vec<_> = told.iter().map(|it| it.line(now())).collect();
        assert_eq!(
            lines,
            [
                "    3 min ago  Warning  Pod/a  BackOff: it ends (2 times)",
                "    2 min ago  Warning  Pod/b  BackOff: it ends (5 times)",
                "     60 s ago  Normal   Pod/c  BackOff: it ends",
            ]
        );
    }

    #[test]
    fn only_the_newest_are_told() {
        let events = (0..20).map(|second| {
            event("a", json!({ "lastTimestamp": format!("2026-05-05T00:00:{second:02}Z") }))
        });
        let told = newest(events.collect());
        assert_eq!(told.len(), TOLD_MAX);
        assert_eq!(told[0].at.as_ref().unwrap().0.to_string(), "2026-05-05T00:00:08Z");
    }

    #[test]
    fn events_of_a_clusters_pods_volumes_and_pairs_are_its_own() {
        for (name, is_its) in [
            ("demo", true),
            ("demo-3", true),
            ("data-demo-3", true),
            ("demo-pair-0", true),
            ("demos-3", false),
            ("other", false),
        ] {
            assert_eq!(is_of(name, "demo"), is_its, "{name}");
        }
    }
}
