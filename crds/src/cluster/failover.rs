//! When a node that is silent is suspected, held to be down, and replaced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::interval::Interval;
use crate::rules::{rule, time_within};

/// When a node that is silent is suspected, held to be down, and replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Failover {
    /// Between two heartbeats of the nodes of a pair.
    #[schemars(extend("x-kubernetes-validations" = time_within("100ms", "1m")))]
    pub heartbeat: Interval,
    /// Silence after which a node is suspected: reads go to its partner, and the pair takes nothing
    /// new.
    #[schemars(extend("x-kubernetes-validations" = time_within("300ms", "5m")))]
    pub suspect_after: Interval,
    /// Silence before which a node is never held to be down.
    #[schemars(extend("x-kubernetes-validations" = time_within("400ms", "1h")))]
    pub fail_after: Interval,
    /// How long a node is down before another takes its place.
    #[schemars(extend("x-kubernetes-validations" = time_within("500ms", "720h")))]
    pub replace_after: Interval,
    /// When more percent of the nodes than this are silent at once, nothing is replaced: it is
    /// rather the network, or the operator itself.
    #[schemars(range(min = 1, max = 100))]
    pub freeze_above_percent: u8,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            heartbeat: Interval::seconds(2),
            suspect_after: Interval::seconds(6),
            fail_after: Interval::seconds(10),
            replace_after: Interval::seconds(600),
            freeze_above_percent: 50,
        }
    }
}

fn rules() -> Value {
    json!([
        rule(
            "duration(self.heartbeat) < duration(self.suspectAfter)",
            "heartbeat must be shorter than suspectAfter",
        ),
        rule(
            "duration(self.suspectAfter) < duration(self.failAfter)",
            "suspectAfter must be shorter than failAfter",
        ),
        rule(
            "duration(self.failAfter) < duration(self.replaceAfter)",
            "failAfter must be shorter than replaceAfter",
        ),
    ])
}
