//! `kubectl defs pair`: the pairs, and all that is known of one.

use anyhow::Result;
use defs_crds::DefsPair;
use defs_crds::pair::Origin;
use defs_crds::pair::status::DefsPairStatus;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::tree::role;
use crate::access::{Access, Scope};
use crate::args::PairCommand;
use crate::conditions;
use crate::figures::{UNKNOWN, age, moment};
use crate::migration;
use crate::say::{Say, table};
use crate::seen::{Seen, members, see};

pub(super) async fn run(access: &Access, command: Option<&PairCommand>, say: Say) -> Result<()> {
    let seen = see(access).await?;
    match command {
        None | Some(PairCommand::List) => {
            let all = || json!(seen.pairs.iter().map(|it| json(&seen, it)).collect::<Vec<_>>());
            say.answer(all, || list(&seen));
        }
        Some(PairCommand::Show { name }) => {
            let pair = seen.pair_named(name)?;
            say.answer(|| json(&seen, pair), || show(&seen, pair));
        }
    }
    Ok(())
}

/// Where it is in its life.
pub(super) fn phase(pair: &DefsPair) -> String {
    let phase = pair.status.as_ref().and_then(|status| status.phase);
    phase.map_or_else(|| UNKNOWN.to_owned(), |phase| format!("{phase:?}"))
}

fn list(seen: &Seen) -> String {
    if seen.pairs.is_empty() {
        return format!("there is no DefsPair {}", seen.scope);
    }
    let mut headings =
        vec!["PAIR", "CLUSTER", "PHASE", "EPOCH", "PRIMARY", "MIRROR", "SYNC", "SCORE", "AGE"];
    let mut rows: Vec<_> = seen.pairs.iter().map(|it| row(seen, it)).collect();
    if seen.scope == Scope::All {
        headings.insert(0, "NAMESPACE");
        for (row, pair) in rows.iter_mut().zip(&seen.pairs) {
            row.insert(0, pair.namespace().unwrap_or_default());
        }
    }
    table(&headings, &rows)
}

fn row(seen: &Seen, pair: &DefsPair) -> Vec<String> {
    let status = pair.status.clone().unwrap_or_default();
    let unknown = || UNKNOWN.to_owned();
    vec![
        pair.name_any(),
        pair.spec.cluster_ref.name.clone(),
        phase(pair),
        status.epoch.map_or_else(unknown, |epoch| epoch.to_string()),
        status.primary.clone().unwrap_or_else(unknown),
        status.mirror.clone().unwrap_or_else(unknown),
        sync(&status),
        status.score.as_ref().map_or_else(unknown, |score| score.total.to_string()),
        age(pair.metadata.creation_timestamp.as_ref(), seen.now),
    ]
}

fn sync(status: &DefsPairStatus) -> String {
    match status.sync {
        None => UNKNOWN.to_owned(),
        Some(sync) if sync.pending > 0 => format!("{:?}, {} missing", sync.state, sync.pending),
        Some(sync) => format!("{:?}", sync.state),
    }
}

/// All that is known of one.
fn show(seen: &Seen, pair: &DefsPair) -> String {
    let status = pair.status.clone().unwrap_or_default();
    let unknown = || UNKNOWN.to_owned();
    let mut lines =
        vec![format!("DefsPair {} of cluster {}", pair.name_any(), pair.spec.cluster_ref.name)];
    let mut say = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    say("phase", phase(pair));
    say("pair id", status.pair_id.clone().unwrap_or_else(unknown));
    say("epoch", status.epoch.map_or_else(unknown, |epoch| epoch.to_string()));
    for name in members(pair) {
        let node = seen.node(pair.namespace().as_deref(), &name);
        let state = node.and_then(|node| node.status.as_ref()?.state);
        let state = state.map_or_else(unknown, |state| format!("{state:?}"));
        say(&role(pair, &name), format!("{name} ({state})"));
    }
    say("sync", sync(&status));
    if !status.witnesses.is_empty() {
        say("witnesses", status.witnesses.join(", "));
    }
    if let Some(score) = &status.score {
        let parts = score.parts.iter().map(|(name, points)| format!("{name} {points}"));
        let parts = parts.collect::<Vec<_>>().join(", ");
        let gap = if score.gap > 0 {
            format!("; the best plan known would add {}", score.gap)
        } else {
            String::new()
        };
        say("score", format!("{} of 1000 ({parts}){gap}", score.total));
    }
    say(
        "chosen by",
        match pair.spec.origin {
            Origin::Auto => "the planner".to_owned(),
            Origin::Pinned => "a person: the planner leaves it as it is".to_owned(),
        },
    );
    if pair.spec.paused {
        say("paused", "the operator leaves it alone".to_owned());
    }
    if let Some(it) = &status.migration {
        say("migration", migration::line(it, seen.now));
    }
    for condition in &status.conditions {
        say("condition", conditions::line(condition, seen.now));
    }
    for event in &status.history {
        say("history", format!("{}  epoch {}  {}", moment(event.at.0), event.epoch, event.what));
    }
    lines.join("\n")
}

fn json(seen: &Seen, pair: &DefsPair) -> Value {
    let status = pair.status.clone().unwrap_or_default();
    json!({
        "namespace": pair.namespace(), "name": pair.name_any(),
        "cluster": pair.spec.cluster_ref.name, "origin": pair.spec.origin,
        "paused": pair.spec.paused, "phase": status.phase, "pairId": status.pair_id,
        "epoch": status.epoch, "primary": status.primary, "mirror": status.mirror,
        "members": members(pair), "witnesses": status.witnesses, "sync": status.sync,
        "score": status.score, "history": status.history,
        "migration": status.migration.as_ref().map(|it| migration::json(it, seen.now)),
        "conditions": status.conditions.iter().map(conditions::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn pairs_are_a_table() {
        let seen = example::without_demo_3();
        assert_eq!(
            list(&seen),
            "\
PAIR         CLUSTER  PHASE     EPOCH  PRIMARY  MIRROR  SYNC               SCORE  AGE
demo-pair-0  demo     Healthy   3      demo-0   demo-1  InSync             -      2 h
demo-pair-1  demo     Degraded  3      demo-2   demo-3  Behind, 7 missing  -      2 h"
        );
    }

    #[test]
    fn one_pair_is_shown_with_its_score_and_history() {
        let mut seen = example::replacing(&json!({ "phase": "Copying" }));
        let more = json!({
            "score": { "total": 812, "parts": { "latency": 900 }, "gap": 40 },
            "history": [{ "at": "2026-05-05T11:00:00Z", "epoch": 3, "what": "Primary demo-0." }],
            "witnesses": ["demo-4"],
        });
        seen.pairs[0] = example::pair(0, &json!({ "origin": "Pinned" }), &more);
        let told = show(&seen, &seen.pairs[0]);
        for line in [
            "  primary    demo-0 (Serving)",
            "  score      812 of 1000 (latency 900); the best plan known would add 40",
            "  chosen by  a person: the planner leaves it as it is",
            "  history    2026-05-05 11:00:00 UTC  epoch 3  Primary demo-0.",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
        }
        let told = show(&seen, &seen.pairs[1]);
        assert!(told.contains("  comes      demo-4 (Spare)"), "{told}");
        assert!(told.contains("  migration  demo-3 → demo-4: Copying"), "{told}");
    }
}
