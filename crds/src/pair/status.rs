//! How a pair is, as the operator has seen it.

use std::collections::BTreeMap;

use defs_core::{network, states};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::LARGE;

/// The most past epochs that are kept, the newest first.
pub const HISTORY_MAX: usize = 10;

/// How a pair is. Written when it changes: what moves all the time is told in steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::plain)]
pub struct DefsPairStatus {
    /// The generation of the spec that this follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = LARGE))]
    pub observed_generation: Option<i64>,
    /// Where the pair is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PairPhase>,
    /// Its id in the network; outlives its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub pair_id: Option<String>,
    /// The version of its membership, as the members have signed it. It never decreases, and
    /// grows when the primary changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LARGE))]
    pub epoch: Option<u64>,
    /// The DefsNode that takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub primary: Option<String>,
    /// The DefsNode that holds the same and watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub mirror: Option<String>,
    /// DefsNodes whose word a change of members needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = network::WITNESSES_MAX), inner(length(max = 253)))]
    pub witnesses: Vec<String>,
    /// Whether both hold the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
    /// The change of members under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// How well the two fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<PairScore>,
    /// What happened to it, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = HISTORY_MAX))]
    pub history: Vec<Event>,
    /// What is true of the pair, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = crate::schema::conditions)]
    pub conditions: Vec<Condition>,
}

/// Where a pair is in its life, as in `defs_core::states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PairPhase {
    /// Signed by both, not yet both ready.
    Forming,
    /// A member copies what the other has.
    Syncing,
    /// Both answer and hold the same.
    Healthy,
    /// One member is away: reads only.
    Degraded,
    /// A member is being replaced on purpose.
    Migrating,
    /// Both are gone for good.
    Lost,
    /// Its shards are elsewhere.
    Dissolved,
}

impl From<states::PairState> for PairPhase {
    fn from(state: states::PairState) -> Self {
        match state {
            states::PairState::Forming => Self::Forming,
            states::PairState::Syncing => Self::Syncing,
            states::PairState::Healthy => Self::Healthy,
            states::PairState::Degraded => Self::Degraded,
            states::PairState::Migrating => Self::Migrating,
            states::PairState::Lost => Self::Lost,
            states::PairState::Dissolved => Self::Dissolved,
        }
    }
}

/// Whether the two members of a pair hold the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// In one word.
    pub state: SyncState,
    /// For how long the mirror has lacked something, in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bucket: Option<LagBucket>,
    /// Shards and records that the mirror lacks, in steps of at most a sixteenth.
    #[serde(default)]
    #[schemars(range(max = LARGE))]
    pub pending: u64,
}

/// Whether the two members of a pair hold the same, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SyncState {
    /// They do.
    InSync,
    /// The mirror gets what it lacks.
    CatchingUp,
    /// The mirror lacks something, and gets nothing.
    Behind,
    /// Nobody who knows has answered.
    Unknown,
}

/// For how long a mirror has lacked something.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum LagBucket {
    /// It lacks nothing.
    None,
    /// Less than a second.
    UnderASecond,
    /// Less than ten seconds.
    UnderTenSeconds,
    /// Less than a minute.
    UnderAMinute,
    /// Less than ten minutes.
    UnderTenMinutes,
    /// Ten minutes or more.
    TenMinutesOrMore,
}

/// A change of members, kept before each of its steps so that it goes on after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// Tells it from others.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Why, for people.
    #[schemars(length(max = 512))]
    pub cause: String,
    /// Whether somebody wanted it, so that nobody waits for the node that leaves.
    #[serde(default)]
    pub intentional: bool,
    /// The DefsNode that leaves.
    #[schemars(length(max = 253))]
    pub from: String,
    /// The DefsNode that comes.
    #[schemars(length(max = 253))]
    pub to: String,
    /// How far it is.
    pub phase: MigrationPhase,
    /// What was copied, in the words of the node that copies: where it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub checkpoint: Option<String>,
    /// Bytes that were copied.
    #[serde(default)]
    #[schemars(range(max = LARGE))]
    pub done_bytes: u64,
    /// Bytes that are to be copied in all.
    #[serde(default)]
    #[schemars(range(max = LARGE))]
    pub total_bytes: u64,
    /// Bytes that were copied a second, lately.
    #[serde(default)]
    #[schemars(range(max = LARGE))]
    pub bytes_per_second: u64,
    /// When it began.
    pub started_at: Time,
    /// When it will be done, as far as can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Time>,
}

/// How far a change of members is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MigrationPhase {
    /// It is decided.
    Planned,
    /// The node that comes copies what the pair holds.
    Copying,
    /// The members sign the next epoch.
    Switching,
    /// The node that left drops its copy, a day later.
    Cleaning,
    /// It is done.
    Done,
    /// It was given up: the pair is as before.
    Failed,
}

/// How well two nodes fit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairScore {
    /// Of a thousand points.
    #[schemars(range(max = 1000))]
    pub total: u16,
    /// The points of each dimension, of a thousand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub parts: BTreeMap<String, u16>,
    /// How many points the best plan known would add.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub gap: u16,
}

/// Something that happened to a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Time,
    /// The epoch that it led to.
    #[schemars(range(max = LARGE))]
    pub epoch: u64,
    /// What, for people.
    #[schemars(length(max = 512))]
    pub what: String,
}
