//! Conditions and events in one breath: what is said of an object is kept in its status, and
//! told once when it changes.

use std::time::{Duration, SystemTime};

use defs_core::port::Clock as _;

use defs_crds::condition::{Statement, Verdict, set};
use defs_crds::reason::{ConditionType, Reason};
use defs_launch::SystemClock;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Now, as certificates take it.
pub(crate) fn system_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(SystemClock::new().now().0)
}

/// Now, in Unix time.
pub(crate) fn unix_time() -> Duration {
    Duration::from_millis(SystemClock::new().now().0)
}

/// Now, as objects carry it: in whole seconds.
pub(crate) fn now() -> Time {
    let seconds = i64::try_from(SystemClock::new().now().0 / 1000).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The conditions of an object while its status is written anew.
pub(crate) struct Conditions {
    pub(crate) all: Vec<Condition>,
    generation: Option<i64>,
    /// What changed, to be told.
    pub(crate) news: Vec<(Reason, String)>,
}

impl Conditions {
    pub(crate) fn of(before: Vec<Condition>, generation: Option<i64>) -> Self {
        Self { all: before, generation, news: Vec::new() }
    }

    /// Says something of the object.
    pub(crate) fn say(
        &mut self,
        kind: ConditionType,
        verdict: impl Into<Verdict>,
        reason: Reason,
        detail: impl Into<String>,
    ) {
        let verdict = verdict.into();
        let statement = Statement { kind, verdict, reason, detail: detail.into() };
        let before = self.all.iter().find(|known| known.type_ == kind.name());
        let is_news = before
            .is_none_or(|known| known.status != verdict.word() || known.reason != reason.name());
        set(&mut self.all, &statement, self.generation, &now());
        if is_news && reason != Reason::AsAsked && reason != Reason::NotSeenYet {
            self.news.push((reason, statement.message()));
        }
    }
}
