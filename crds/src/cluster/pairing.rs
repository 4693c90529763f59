//! How pairs are chosen, and when a better pair is worth the trouble.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::interval::Interval;
use crate::rules::{rule, time_within};

/// How pairs are chosen, and when a better pair is worth the trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pairing {
    /// How much each dimension of a node's score counts.
    pub weights: Weights,
    /// Partners stand no farther apart than this round trip; without it, as far as it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = time_within("1ms", "10s")))]
    pub max_rtt: Option<Interval>,
    /// By how many percent the pairs of an exchange must fit better.
    #[schemars(range(min = 0, max = 100))]
    pub min_gain_percent: u8,
    /// How long a pair that changed is left alone.
    #[schemars(extend("x-kubernetes-validations" = time_within("1m", "720h")))]
    pub cooldown: Interval,
    /// Pairs that change at one time.
    #[schemars(range(min = 1, max = 50))]
    pub max_concurrent_moves: u32,
    /// Whether a plan is carried out by itself.
    pub approval: Approval,
}

impl Default for Pairing {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            max_rtt: None,
            min_gain_percent: 10,
            cooldown: Interval::seconds(3600),
            max_concurrent_moves: 2,
            approval: Approval::Auto,
        }
    }
}

/// How much each dimension of a node's score counts, 0 to 100; at least one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = weights_rules()))]
pub struct Weights {
    /// How far a node stands from the others.
    #[schemars(range(min = 0, max = 100))]
    pub geography: u8,
    /// What it has room for.
    #[schemars(range(min = 0, max = 100))]
    pub capacity: u8,
    /// How fast bytes go.
    #[schemars(range(min = 0, max = 100))]
    pub bandwidth: u8,
    /// How fast it answers.
    #[schemars(range(min = 0, max = 100))]
    pub latency: u8,
    /// Whether it stays and is honest.
    #[schemars(range(min = 0, max = 100))]
    pub stability: u8,
    /// How much of it is idle.
    #[schemars(range(min = 0, max = 100))]
    pub load: u8,
}

impl Default for Weights {
    fn default() -> Self {
        Self { geography: 20, capacity: 15, bandwidth: 15, latency: 15, stability: 25, load: 10 }
    }
}

fn weights_rules() -> Value {
    json!([rule(
        "self.geography + self.capacity + self.bandwidth + self.latency + self.stability + \
         self.load > 0",
        "at least one weight must be above 0",
    )])
}

/// Whether a plan is carried out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// It is.
    #[default]
    Auto,
    /// It waits in `status.plan` until the annotation `defs.bpfs.io/approve-plan` says its id.
    Manual,
}
