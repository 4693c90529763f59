//! How far a change of members is.

use defs_crds::pair::status::{Migration, MigrationPhase};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::figures::{bytes, span};

/// Whether it is still to come to an end.
pub(crate) fn is_under_way(migration: &Migration) -> bool {
    !matches!(migration.phase, MigrationPhase::Done | MigrationPhase::Failed)
}

/// Of what is to be copied.
fn percent(migration: &Migration) -> Option<u64> {
    let done = u128::from(migration.done_bytes.min(migration.total_bytes)) * 100;
    u64::try_from(done.checked_div(u128::from(migration.total_bytes))?).ok()
}

/// As the operator says; else what is left at the rate of late.
fn seconds_left(migration: &Migration, now: Timestamp) -> Option<u64> {
    if let Some(eta) = &migration.eta {
        return u64::try_from(eta.0.as_second().saturating_sub(now.as_second())).ok();
    }
    let left = migration.total_bytes.saturating_sub(migration.done_bytes);
    left.checked_div(migration.bytes_per_second)
}

/// `demo-3 → demo-5: Copying, 42 % of 3.2 GiB, 80 MiB/s, done in about 24 s (its disk failed)`.
pub(crate) fn line(migration: &Migration, now: Timestamp) -> String {
    let Migration { from, to, phase, cause, total_bytes, bytes_per_second, .. } = migration;
    let mut parts = vec![format!("{from} → {to}: {phase:?}")];
    if let Some(percent) = percent(migration) {
        parts.push(format!("{percent} % of {}", bytes(*total_bytes)));
    }
    if is_under_way(migration) {
        if *bytes_per_second > 0 {
            parts.push(format!("{}/s", bytes(*bytes_per_second)));
        }
        parts.push(match seconds_left(migration, now) {
            Some(seconds) => format!("done in about {}", span(seconds.max(1))),
            None => "not known yet how long".to_owned(),
        });
    }
    let because = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
    format!("{}{because}", parts.join(", "))
}

/// For programs.
pub(crate) fn json(migration: &Migration, now: Timestamp) -> Value {
    json!({
        "id": migration.id, "cause": migration.cause, "intentional": migration.intentional,
        "from": migration.from, "to": migration.to, "phase": migration.phase,
        "doneBytes": migration.done_bytes, "totalBytes": migration.total_bytes,
        "bytesPerSecond": migration.bytes_per_second, "percent": percent(migration),
        "startedAt": migration.started_at, "secondsLeft": seconds_left(migration, now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{migration, now};

    #[test]
    fn a_migration_tells_how_far_it_is_and_how_long_it_takes() {
        let copying = migration(&json!({
            "phase": "Copying", "doneBytes": 42 << 20, "totalBytes": 100 << 20,
            "bytesPerSecond": 2 << 20,
        }));
        assert_eq!(
            line(&copying, now()),
            "demo-3 → demo-4: Copying, 42 % of 100 MiB, 2 MiB/s, done in about 29 s (its machine \
             is gone)"
        );
        let json = json(&copying, now());
        assert_eq!((&json["percent"], &json["secondsLeft"]), (&json!(42), &json!(29)));
    }

    #[test]
    fn the_operators_word_counts_before_the_rate_and_nothing_is_made_up_without_either() {
        let told = migration(&json!({
            "phase": "Copying", "totalBytes": 100, "bytesPerSecond": 1,
            "eta": (now() + k8s_openapi::jiff::SignedDuration::from_secs(600)).to_string(),
        }));
        assert_eq!(seconds_left(&told, now()), Some(600));
        let unknown = migration(&json!({ "phase": "Planned" }));
        assert_eq!(
            line(&unknown, now()),
            "demo-3 → demo-4: Planned, not known yet how long (its machine is gone)"
        );
        let done = migration(&json!({ "phase": "Done" }));
        assert_eq!(line(&done, now()), "demo-3 → demo-4: Done (its machine is gone)");
    }
}
