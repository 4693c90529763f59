//! Conditions as objects carry them: made from a type and a reason, and kept so that their
//! time says when they last changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::{ConditionType, Reason};

/// The longest message of a condition, in characters: what the schema takes.
pub const MESSAGE_MAX: usize = 1024;

/// Whether what a condition says is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is.
    True,
    /// It isn't.
    False,
    /// Nobody knows.
    Unknown,
}

impl Verdict {
    /// As it stands in an object.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What is to be said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Of what.
    pub kind: ConditionType,
    /// Whether it is true.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What people need beyond the reason's own sentence: who, where, since when. May be empty.
    pub detail: String,
}

impl Statement {
    /// The sentence of the reason, and the detail after it.
    #[must_use]
    pub fn message(&self) -> String {
        let message = format!("{} {}", self.reason.sentence(), self.detail);
        message.trim_end().chars().take(MESSAGE_MAX).collect()
    }
}

/// Writes `statement` into `conditions`. The time changes only when the verdict does.
/// Whether anything is different from before.
pub fn set(
    conditions: &mut Vec<Condition>,
    statement: &Statement,
    generation: Option<i64>,
    now: &Time,
) -> bool {
    let mut condition = Condition {
        last_transition_time: now.clone(),
        message: statement.message(),
        observed_generation: generation,
        reason: statement.reason.name().to_owned(),
        status: statement.verdict.word().to_owned(),
        type_: statement.kind.name().to_owned(),
    };
    match conditions.iter_mut().find(|known| known.type_ == condition.type_) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time.clone();
            }
            let changed = *known != condition;
            *known = condition;
            changed
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

/// Whether the condition `kind` is true.
#[must_use]
pub fn holds(conditions: &[Condition], kind: ConditionType) -> bool {
    conditions
        .iter()
        .any(|known| known.type_ == kind.name() && known.status == Verdict::True.word())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn ready(verdict: Verdict, reason: Reason) -> Statement {
        Statement { kind: ConditionType::Ready, verdict, reason, detail: String::new() }
    }

    #[test]
    fn the_time_changes_with_the_verdict_and_not_with_the_reason() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, &ready(Verdict::False, Reason::Forming), Some(1), &at(10)));
        assert!(set(
            &mut conditions,
            &ready(Verdict::False, Reason::NodesMissing),
            Some(1),
            &at(20)
        ));
        assert_eq!(conditions[0].last_transition_time, at(10));
        assert!(!set(
            &mut conditions,
            &ready(Verdict::False, Reason::NodesMissing),
            Some(1),
            &at(30)
        ));
        assert!(set(&mut conditions, &ready(Verdict::True, Reason::AsAsked), Some(1), &at(40)));
        assert_eq!((conditions.len(), &conditions[0].last_transition_time), (1, &at(40)));
        assert!(holds(&conditions, ConditionType::Ready));
        assert!(!holds(&conditions, ConditionType::Degraded));
    }

    #[test]
    fn a_message_is_the_reasons_sentence_with_the_detail_cut_to_what_the_schema_takes() {
        let mut statement = ready(Verdict::False, Reason::NodeDown);
        statement.detail = "demo-3: the kubelet since 10:02.".to_owned();
        assert_eq!(
            statement.message(),
            "Two who are independent of each other say that a node is down. demo-3: the kubelet \
             since 10:02."
        );
        statement.detail = "é".repeat(2 * MESSAGE_MAX);
        assert_eq!(statement.message().chars().count(), MESSAGE_MAX);
    }
}
