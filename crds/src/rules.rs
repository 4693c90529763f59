//! Rules that the API server checks, in CEL: an expression that must be true, and what
//! people read when it isn't.

use serde_json::{Value, json};

/// One rule. `message` is one line.
pub(crate) fn rule(expression: &str, message: &str) -> Value {
    json!({ "rule": expression, "message": message })
}

/// The rule of a field that is set once, at creation.
pub(crate) fn immutable(field: &str) -> Value {
    let message = format!("{field} can't be changed after creation");
    json!([rule("self == oldSelf", &message)])
}

/// The rules of a size with bounds.
pub(crate) fn size_within(least: &str, most: &str) -> Value {
    let expression = format!(
        "quantity(self).compareTo(quantity('{least}')) >= 0 && \
         quantity(self).compareTo(quantity('{most}')) <= 0"
    );
    json!([rule(&expression, &format!("must be {least} to {most}"))])
}

/// The rules of a time span with bounds.
pub(crate) fn time_within(least: &str, most: &str) -> Value {
    let expression =
        format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')");
    json!([rule(&expression, &format!("must be {least} to {most}"))])
}
