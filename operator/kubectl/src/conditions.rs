//! Which conditions are not as they should be, and how they are told.

use defs_crds::condition::Verdict;
use defs_crds::reason::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::figures::{seconds_since, span};

/// Conditions of which a healthy object says False: something is amiss while they hold.
const UNWANTED: [ConditionType; 4] = [
    ConditionType::Degraded,
    ConditionType::Paused,
    ConditionType::OperatorIsolated,
    ConditionType::MigrationStuck,
];

/// The conditions that are not as they should be, in the order in which people read them.
/// Whatever an operator of another version says under other names is left out: nobody here
/// knows which way round it is meant.
pub(crate) fn amiss(conditions: &[Condition]) -> Vec<&Condition> {
    let kinds = ConditionType::ALL.iter();
    let found = kinds.filter_map(|kind| Some((*kind, of(conditions, *kind)?)));
    found.filter(|(kind, it)| !is_as_it_should(*kind, it)).map(|(_, it)| it).collect()
}

/// The condition of this type.
pub(crate) fn of(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|it| it.type_ == kind.name())
}

fn is_as_it_should(kind: ConditionType, condition: &Condition) -> bool {
    // Work that goes on is neither good nor bad: who does it says so elsewhere.
    if kind == ConditionType::Progressing {
        return true;
    }
    let wanted = Verdict::from(!UNWANTED.contains(&kind));
    condition.status == wanted.word()
}

/// `Ready is False for 3 min (NodesMissing): Fewer nodes serve than were asked for.`
pub(crate) fn line(condition: &Condition, now: Timestamp) -> String {
    format!("{}{}", verdict(condition, now), after(&condition.message))
}

/// The same of several. A message that several have is told once.
pub(crate) fn lines(
    conditions: &[&Condition],
    now: Timestamp,
    told: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut known: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for condition in conditions {
        let message = condition.message.as_str();
        let is_new = !known.contains(&message);
        let message = if is_new { told(message) } else { String::new() };
        lines.push(format!("{}{}", verdict(condition, now), after(&message)));
        known.push(&condition.message);
    }
    lines
}

fn verdict(condition: &Condition, now: Timestamp) -> String {
    let Condition { type_, status, reason, .. } = condition;
    let lasts = span(seconds_since(condition.last_transition_time.0, now));
    format!("{type_} is {status} for {lasts} ({reason})")
}

fn after(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// Characters of a message within a list.
const SHORT_MAX: usize = 200;

/// A message for a list, where `why` has the whole.
pub(crate) fn shortened(message: &str) -> String {
    let short: String = message.chars().take(SHORT_MAX).collect();
    if short.len() < message.len() { format!("{short}…") } else { short }
}

/// What a reason says to people, without what the operator has added to it in this case.
pub(crate) fn sentence(condition: &Condition) -> String {
    let known = Reason::ALL.iter().find(|it| it.name() == condition.reason);
    known.map_or_else(|| shortened(&condition.message), |it| it.sentence().to_owned())
}

/// For programs.
pub(crate) fn json(condition: &Condition) -> Value {
    json!({
        "type": condition.type_, "status": condition.status, "reason": condition.reason,
        "message": condition.message, "since": condition.last_transition_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{condition, now};

    #[test]
    fn what_should_not_hold_is_amiss_when_it_does_and_what_nobody_knows_is_too() {
        let conditions = [
            condition("MigrationStuck", "False", "AsAsked", ""),
            condition("Degraded", "True", "MemberAway", ""),
            condition("SomethingNew", "False", "Whatever", ""),
            condition("Progressing", "False", "AsAsked", ""),
            condition("Ready", "False", "MemberAway", ""),
            condition("Synced", "Unknown", "NotSeenYet", ""),
            condition("Available", "True", "AsAsked", ""),
        ];
        let named: Vec<_> = amiss(&conditions).iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(named, ["Ready", "Degraded", "Synced"]);
    }

    #[test]
    fn a_condition_is_told_with_its_age_reason_and_message() {
        let ready = condition("Ready", "False", "NodeDown", "It is gone.");
        assert_eq!(line(&ready, now()), "Ready is False for 3 min (NodeDown): It is gone.");
        let silent = condition("Synced", "Unknown", "NotSeenYet", "");
        assert_eq!(line(&silent, now()), "Synced is Unknown for 3 min (NotSeenYet)");
    }

    #[test]
    fn a_message_that_several_have_is_told_once_and_a_long_one_is_cut() {
        let long = "x".repeat(SHORT_MAX + 1);
        let conditions = [
            condition("Ready", "False", "NodeDown", &long),
            condition("Available", "False", "NodeDown", &long),
        ];
        let told = lines(&conditions.iter().collect::<Vec<_>>(), now(), shortened);
        assert_eq!(
            told,
            [
                format!("Ready is False for 3 min (NodeDown): {}…", "x".repeat(SHORT_MAX)),
                "Available is False for 3 min (NodeDown)".to_owned(),
            ]
        );
    }

    #[test]
    fn a_reason_has_its_sentence_and_an_unknown_one_the_operators_words() {
        let known =
            condition("Ready", "False", "ImageNotPulled", "The image can't be pulled. x: y");
        assert_eq!(sentence(&known), "The image can't be pulled.");
        assert_eq!(sentence(&condition("Ready", "False", "Dreaming", "It dreams.")), "It dreams.");
    }
}
