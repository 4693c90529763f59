//! How a cluster is, as the operator has seen it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::LARGE;
use crate::size::ByteSize;

/// The most versions that are listed.
pub const VERSIONS_MAX: usize = 8;

/// The most steps of a plan that are listed; a longer plan waits for the next one.
pub const PLAN_STEPS_MAX: usize = 32;

/// How a cluster is. Written when it changes: what grows all the time is told in steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::plain)]
pub struct DefsClusterStatus {
    /// The generation of the spec that this follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = LARGE))]
    pub observed_generation: Option<i64>,
    /// The cluster in one word: the last of these that is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ClusterPhase>,
    /// Nodes that there are.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub replicas: u32,
    /// Nodes of these that serve or could.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub ready: u32,
    /// Nodes of these that are in no pair and could take a place: they answer, and nobody has
    /// asked for another in theirs.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub spares: u32,
    /// How the pairs are.
    #[serde(default)]
    pub pairs: PairCounts,
    /// The label selector of the nodes' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
    /// Bytes that owners could store in all, each counted once though a pair holds it twice; in
    /// steps of at most a sixteenth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LARGE))]
    pub usable_bytes: Option<u64>,
    /// Bytes of these that are in use; in steps of at most a sixteenth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LARGE))]
    pub used_bytes: Option<u64>,
    /// Percent of the usable bytes that are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub used_percent: Option<u8>,
    /// `usableBytes` with a unit, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable: Option<ByteSize>,
    /// What may be lost now without losing data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<DurabilityNow>,
    /// What the nodes run, what most of them run first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = VERSIONS_MAX))]
    pub versions: Vec<VersionCount>,
    /// The plan for better pairs: one that is being carried out, or that waits for a person's
    /// word with `pairing.approval` Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// What is true of the cluster, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = crate::schema::conditions)]
    pub conditions: Vec<Condition>,
}

/// A cluster in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterPhase {
    /// Nothing of it is there yet.
    Pending,
    /// Nodes start and find their first pairs.
    Forming,
    /// All pairs are healthy.
    Ready,
    /// A pair has one member that answers, or none.
    Degraded,
    /// Something is paused.
    Paused,
    /// So many nodes are silent at once that nothing is replaced.
    Frozen,
    /// It can't become ready by itself: the condition Ready says why.
    Failed,
}

/// How the pairs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PairCounts {
    /// All of them.
    #[schemars(range(max = 100_000))]
    pub total: u32,
    /// Both members answer and hold the same.
    #[schemars(range(max = 100_000))]
    pub healthy: u32,
    /// One member holds everything alone.
    #[schemars(range(max = 100_000))]
    pub degraded: u32,
    /// Both members are gone for good.
    #[schemars(range(max = 100_000))]
    pub lost: u32,
}

/// What may be lost now without losing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DurabilityNow {
    /// Whole pairs that may vanish.
    #[schemars(range(max = 100))]
    pub tolerated_pairs: u32,
    /// Whole zones that may vanish.
    #[schemars(range(max = 100))]
    pub tolerated_zones: u32,
    /// Pairs that would be lost with one more node.
    #[schemars(range(max = 100_000))]
    pub at_risk: u32,
}

/// How many nodes run a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionCount {
    /// The version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// Nodes that run it.
    #[schemars(range(max = 100_000))]
    pub nodes: u32,
}

/// A plan for better pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What the annotation `defs.bpfs.io/approve-plan` must say. Another plan has another id.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// What is still to be done, in this order.
    #[schemars(length(max = PLAN_STEPS_MAX))]
    pub steps: Vec<PlanStep>,
    /// Whether it is being carried out.
    #[serde(default)]
    pub running: bool,
}

/// One pair that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// The DefsPair.
    #[schemars(length(max = 253))]
    pub pair: String,
    /// The DefsNode that leaves it.
    #[schemars(length(max = 253))]
    pub leaves: String,
    /// The DefsNode that comes.
    #[schemars(length(max = 253))]
    pub comes: String,
    /// By how many percent the pair would fit better.
    #[schemars(range(max = 10_000))]
    pub gain_percent: u32,
    /// Why, for people.
    #[schemars(length(max = 512))]
    pub why: String,
}

/// Bits of a number that [`bucket`] keeps: a status changes when it moves by a sixteenth, not
/// with every file.
const BUCKET_BITS: u32 = 5;

/// `bytes`, rounded down to its five leading bits.
#[must_use]
pub fn bucket(bytes: u64) -> u64 {
    let dropped = (u64::BITS - bytes.leading_zeros()).saturating_sub(BUCKET_BITS);
    bytes >> dropped << dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_below_its_bytes_by_less_than_a_sixteenth() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(31), 31);
        assert_eq!(bucket((61 << 30) + 12_345), 60 << 30);
        for bytes in [33_u64, 1000, 123_456_789, u64::MAX] {
            let bucket = bucket(bytes);
            assert!(bucket <= bytes && bytes - bucket < bytes / 16 + 1, "{bytes} → {bucket}");
        }
    }
}
