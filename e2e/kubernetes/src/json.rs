//! Objects as JSON: a case says only in what its object differs.

use serde_json::Value;

/// `base` with what `over` says: objects field by field, all else as a whole. Null takes a
/// field away.
#[must_use]
pub fn merged(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let before = base.remove(&name).unwrap_or(Value::Null);
                match merged(before, value) {
                    Value::Null => {}
                    value => drop(base.insert(name, value)),
                }
            }
            Value::Object(base)
        }
        (_, over) => over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_counts_and_the_rest_stays() {
        let base = json!({"replicas": 6, "storage": {"size": "1Gi"}, "image": "a"});
        let over = json!({"storage": {"storageClassName": "fast"}, "image": null, "minSpares": 1});
        let wanted = json!({
            "replicas": 6, "minSpares": 1,
            "storage": {"size": "1Gi", "storageClassName": "fast"},
        });
        assert_eq!(merged(base, over), wanted);
    }
}
