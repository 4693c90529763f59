//! The page of condition types and reasons.

use crate::reason::{ConditionType, Reason, Subject};

const HEAD: &str = "\
# Conditions and reasons

<!-- Generated from `crds/src/reason.rs` by `make pages`; a test compares the two. -->

What the operator says of DefsClusters, DefsNodes and DefsPairs. A condition's message begins with the sentence
of its reason; events and metrics carry the same reasons. Reasons with an exclamation mark come as events of type Warning.

## Conditions
| condition | of | when it is true |
|---|---|---|
";

/// The page `docs/reasons.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for kind in ConditionType::ALL {
        let subject = match kind.subject() {
            Subject::Cluster => "clusters",
            Subject::Pair => "pairs",
            Subject::Any => "all kinds",
        };
        page.push_str(&format!("| `{kind}` | {subject} | {} |\n", kind.sentence()));
    }
    page.push_str("\n## Reasons\n| reason | | what it says |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let mark = if reason.is_warning() { "!" } else { "" };
        page.push_str(&format!("| `{reason}` | {mark} | {} |\n", reason.sentence()));
    }
    page
}
