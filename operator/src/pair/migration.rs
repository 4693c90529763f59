//! How far a change of members is, and when it is over: done, or given up since whoever was to
//! be replaced is back or whoever was to come is gone.

use std::time::Duration;

use defs_crds::DefsCluster;
use defs_crds::cluster::status::bucket;
use defs_crds::pair::status::{DefsPairStatus, Event, HISTORY_MAX, Migration, MigrationPhase};
use defs_crds::reason::{ConditionType as Type, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use tokio::time::Instant;

use super::Observed;
use crate::build::Names;
use crate::cluster::agent_key;
use crate::condition::{Conditions, now};
use crate::context::Context;

/// A change that hasn't moved for so long stands still.
const STUCK_AFTER: Duration = Duration::from_mins(5);

/// A newcomer that is silent for so long is not waited for.
const NEWCOMER_PATIENCE: Duration = Duration::from_mins(1);

/// What is told of a change in one line.
pub(super) fn told(migration: &Migration) -> String {
    let Migration { from, to, cause, done_bytes, total_bytes, .. } = migration;
    format!("{to} for {from}: {cause}; {done_bytes} of {total_bytes} bytes.")
}

/// Writes how far the change of members is.
pub(super) fn settle(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    status: &mut DefsPairStatus,
    conditions: &mut Conditions,
    observed: &Observed,
) {
    let Some(mut migration) = status.migration.take() else {
        conditions.say(Type::MigrationStuck, false, Reason::AsAsked, "");
        return;
    };
    let change = (status.pair_id.as_deref(), &migration);
    if let Some(why) = given_up(context, (cluster, names), change, observed) {
        let note = format!("{} for {}: {why}.", migration.to, migration.from);
        conditions.news.push((Reason::MigrationFailed, note.clone()));
        return over(context, status, conditions, (&migration, note));
    }
    let has_come = observed.has(&migration.to);
    if has_come && migration.phase != MigrationPhase::Switching {
        migration.phase = MigrationPhase::Switching;
        let note = format!("{} has the place of {}.", migration.to, migration.from);
        conditions.news.push((Reason::NodeReplaced, note));
    }
    if has_come && observed.is_in_sync() {
        let note = format!("{} holds everything: {}.", migration.to, migration.cause);
        conditions.news.push((Reason::MigrationDone, note.clone()));
        return over(context, status, conditions, (&migration, note));
    }
    measure(context, &mut migration, conditions, observed);
    status.migration = Some(migration);
}

/// It is over: nothing of it is left but a line of the pair's history.
fn over(
    context: &Context,
    status: &mut DefsPairStatus,
    conditions: &mut Conditions,
    (migration, what): (&Migration, String),
) {
    context.progress.forget(&migration.id);
    conditions.say(Type::MigrationStuck, false, Reason::AsAsked, "");
    let epoch = status.epoch.unwrap_or_default();
    let what = what.chars().take(512).collect();
    status.history.insert(0, Event { at: now(), epoch, what });
    status.history.truncate(HISTORY_MAX);
}

/// Why a change is not gone on with. What was decided for a node that is back is over before
/// anybody else has its place; a newcomer that is gone, or in another pair by now, makes room for
/// another.
pub(super) fn given_up(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    (pair, migration): (Option<&str>, &Migration),
    observed: &Observed,
) -> Option<String> {
    if observed.has(&migration.to) && migration.from != migration.to {
        return None;
    }
    let is_back = migration.phase == MigrationPhase::Planned
        && !migration.intentional
        && observed.has(&migration.from)
        && observed.heard == [true; 2]
        && !observed.is_degraded;
    if is_back {
        return Some(format!("{} is back", migration.from));
    }
    let known = context.agents.known(&agent_key(names, &migration.to));
    let is_in = known.report.as_ref().and_then(|it| it.pair.as_ref());
    if is_in.is_some_and(|other| Some(other.pair_id.as_str()) != pair) {
        return Some(format!("{} is in another pair", migration.to));
    }
    let silence = context.agents.silence(&known, Instant::now());
    let patience = NEWCOMER_PATIENCE.max(cluster.spec.failover.fail_after.duration());
    (silence > patience).then(|| format!("{} is not heard any more", migration.to))
}

/// What is copied, how fast, and when it will be done.
fn measure(
    context: &Context,
    migration: &mut Migration,
    conditions: &mut Conditions,
    observed: &Observed,
) {
    let total = observed.held.max(migration.total_bytes);
    let done = observed.copied(context, migration).min(total);
    let (rate, still) = context.progress.note(&migration.id, done);
    migration.total_bytes = bucket(total);
    migration.done_bytes = bucket(done).min(migration.total_bytes);
    migration.bytes_per_second = bucket(rate);
    let left = total.saturating_sub(done);
    migration.eta = left.checked_div(rate).and_then(|seconds| {
        let seconds = i64::try_from(seconds).ok()?;
        now().0.checked_add(SignedDuration::from_secs(seconds)).ok().map(rounded)
    });
    let is_stuck = still >= STUCK_AFTER;
    let (reason, detail) = if is_stuck {
        let minutes = still.as_secs() / 60;
        (Reason::MigrationStalled, format!("{} Nothing for {minutes} minutes.", told(migration)))
    } else {
        (Reason::AsAsked, String::new())
    };
    conditions.say(Type::MigrationStuck, is_stuck, reason, detail);
}

/// To ten seconds: a time that is guessed anew every two would be written as often.
fn rounded(at: k8s_openapi::jiff::Timestamp) -> Time {
    let seconds = at.as_second() / 10 * 10;
    Time(k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap_or(at))
}
