//! Writes a cluster's status: only when something is different, and in steps where numbers move
//! all the time.

use std::collections::BTreeMap;

use defs_core::size::Size;
use defs_crds::cluster::Profile;
use defs_crds::cluster::status::{
    ClusterPhase, DefsClusterStatus, DurabilityNow, PairCounts, VersionCount, bucket,
};
use defs_crds::names::pod_selector;
use defs_crds::pair::status::PairPhase;
use defs_crds::reason::{ConditionType as Type, Reason};
use defs_crds::{ByteSize, DefsCluster};
use kube::Resource;
use tokio::time::Instant;

use super::Looked;
use super::decide::is_paused;
use crate::apply::apply_status;
use crate::build::Names;
use crate::condition::Conditions;
use crate::context::Context;
use crate::error::Error;
use crate::plan::{Judgement, are_apart};

pub(super) async fn tell(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    looked: &Looked,
    judgement: &Judgement,
) -> Result<(), Error> {
    let before = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let mut conditions = Conditions::of(before.conditions.clone(), generation);
    let counts = counts(looked);
    let now = Instant::now();
    let heard = looked.known.values().filter(|it| it.is_heard(now)).count();
    say(&mut conditions, cluster, looked, judgement, (counts, heard));
    let usable: u64 = looked.known_pairs.iter().map(|pair| capacity(looked, pair)).sum();
    let used: u64 = looked.known_pairs.iter().map(|pair| pair.held).sum();
    let status = DefsClusterStatus {
        observed_generation: generation,
        phase: Some(phase(cluster, counts, judgement, heard)),
        replicas: count(looked.nodes.len()),
        ready: count(heard),
        spares: count(looked.members.len().saturating_sub(2 * looked.known_pairs.len())),
        pairs: counts,
        selector: Some(pod_selector(&names.cluster)),
        usable_bytes: Some(bucket(usable)),
        used_bytes: Some(bucket(used)),
        used_percent: Some(percent(used, usable)),
        usable: Some(ByteSize(Size(bucket(usable)))),
        durability: Some(durability(cluster, looked, counts)),
        versions: versions(looked),
        plan: None,
        conditions: conditions.all,
    };
    apply_status(&context.client, cluster, cluster.status.as_ref(), &status).await?;
    context.tell(&cluster.object_ref(&()), conditions.news).await;
    Ok(())
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// `part` in percent of `whole`.
pub(crate) fn percent(part: u64, whole: u64) -> u8 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

fn counts(looked: &Looked) -> PairCounts {
    let mut counts = PairCounts { total: count(looked.pairs.len()), ..PairCounts::default() };
    for pair in &looked.pairs {
        match pair.status.as_ref().and_then(|status| status.phase) {
            Some(PairPhase::Healthy) => counts.healthy += 1,
            Some(PairPhase::Lost | PairPhase::Dissolved) => counts.lost += 1,
            Some(PairPhase::Degraded | PairPhase::Syncing | PairPhase::Migrating) => {
                counts.degraded += 1;
            }
            Some(PairPhase::Forming) | None => {}
        }
    }
    counts
}

fn capacity(looked: &Looked, pair: &crate::plan::KnownPair) -> u64 {
    let of = |name: &String| {
        looked.members.iter().find(|it| it.name == *name).map_or(0, |it| it.capacity)
    };
    of(&pair.members[0]).min(of(&pair.members[1]))
}

fn phase(
    cluster: &DefsCluster,
    counts: PairCounts,
    judgement: &Judgement,
    heard: usize,
) -> ClusterPhase {
    let wanted = cluster.spec.pairs();
    if judgement.frozen.is_some() {
        ClusterPhase::Frozen
    } else if is_paused(cluster, |paused| paused.healing || paused.rebalancing) {
        ClusterPhase::Paused
    } else if counts.degraded + counts.lost > 0 {
        ClusterPhase::Degraded
    } else if counts.healthy >= wanted {
        ClusterPhase::Ready
    } else if heard == 0 {
        ClusterPhase::Pending
    } else {
        ClusterPhase::Forming
    }
}

/// Pairs that may vanish: as many as were asked for, less those that are gone or have one copy.
fn durability(cluster: &DefsCluster, looked: &Looked, counts: PairCounts) -> DurabilityNow {
    let tolerate = &cluster.spec.durability.tolerate;
    let zones = zones(looked);
    DurabilityNow {
        tolerated_pairs: tolerate.pairs.saturating_sub(counts.lost),
        tolerated_zones: tolerate.zones.min(count(zones.len().saturating_sub(1))),
        at_risk: counts.degraded,
    }
}

fn zones(looked: &Looked) -> std::collections::BTreeSet<(String, String)> {
    let zone = |it: &crate::plan::Member| (it.labels.region.clone(), it.labels.zone.clone());
    looked.members.iter().filter(|it| it.node.is_some()).map(zone).collect()
}

fn versions(looked: &Looked) -> Vec<VersionCount> {
    let mut by_version: BTreeMap<String, u32> = BTreeMap::new();
    for report in looked.known.values().filter_map(|it| it.report.as_ref()) {
        if let Some(status) = &report.status {
            *by_version.entry(status.version.clone()).or_default() += 1;
        }
    }
    let mut versions: Vec<_> =
        by_version.into_iter().map(|(version, nodes)| VersionCount { version, nodes }).collect();
    versions.sort_by_key(|it| std::cmp::Reverse(it.nodes));
    versions.truncate(defs_crds::cluster::status::VERSIONS_MAX);
    versions
}

fn say(
    conditions: &mut Conditions,
    cluster: &DefsCluster,
    looked: &Looked,
    judgement: &Judgement,
    (counts, heard): (PairCounts, usize),
) {
    let spec = &cluster.spec;
    let replicas = spec.replicas as usize;
    let silent: Vec<_> =
        looked.members.iter().filter(|it| !it.is_heard).map(|it| it.name.as_str()).collect();
    let silent = silent.join(", ");
    let are_paired =
        counts.total >= spec.pairs() && counts.healthy + counts.degraded >= spec.pairs();
    let unpaired = format!("{} of {} pairs.", counts.total, spec.pairs());
    let apart = looked.known_pairs.iter().filter(|pair| !is_apart(cluster, looked, pair));
    let together: Vec<_> = apart.map(|pair| pair.name.as_str()).collect();
    let is_distinct = together.is_empty();
    let is_durable = counts.degraded + counts.lost == 0 && are_paired;
    let is_strict = spec.profile == Profile::Strict;
    let is_ready = heard >= replicas
        && counts.healthy >= spec.pairs()
        && (!is_strict || (is_distinct && is_durable));
    let reason = if is_ready {
        Reason::AsAsked
    } else if counts.lost > 0 {
        Reason::PairLost
    } else if counts.degraded > 0 {
        Reason::MemberAway
    } else if heard < replicas && are_paired {
        Reason::NodesMissing
    } else {
        Reason::Forming
    };
    let detail = if silent.is_empty() { String::new() } else { format!("Not heard: {silent}.") };
    conditions.say(Type::Ready, is_ready, reason, detail.clone());
    let is_available = counts.healthy > 0;
    let available = if is_available { Reason::AsAsked } else { reason };
    conditions.say(Type::Available, is_available, available, detail.clone());
    let is_degraded = counts.degraded + counts.lost > 0;
    let degraded = if is_degraded { reason } else { Reason::AsAsked };
    conditions.say(Type::Degraded, is_degraded, degraded, detail);
    let paired = match (are_paired, judgement.without_substitute.is_empty()) {
        (true, true) => (true, Reason::AsAsked, String::new()),
        (_, false) => {
            let waiting = judgement.without_substitute.join(", ");
            (false, Reason::SparesMissing, format!("Nobody is free for the place of {waiting}."))
        }
        (false, true) => (false, Reason::Forming, unpaired),
    };
    conditions.say(Type::PairingSatisfied, paired.0, paired.1, paired.2);
    let distinct = if is_distinct { Reason::AsAsked } else { Reason::DomainsShared };
    conditions.say(Type::TopologySatisfied, is_distinct, distinct, together.join(", "));
    let durable = if is_durable { Reason::AsAsked } else { Reason::DurabilityBelow };
    conditions.say(Type::DurabilityMet, is_durable, durable, "");
    let (isolated, why, detail) = match judgement.frozen {
        Some(silent) => {
            let why = if heard == 0 { Reason::CutOff } else { Reason::TooManySilent };
            (true, why, format!("{silent} of {} nodes.", looked.nodes.len()))
        }
        None => (false, Reason::Reachable, String::new()),
    };
    conditions.say(Type::OperatorIsolated, isolated, why, detail);
    let is_paused = is_paused(cluster, |paused| paused.healing || paused.rebalancing);
    let paused = if is_paused { Reason::PausedByPerson } else { Reason::AsAsked };
    conditions.say(Type::Paused, is_paused, paused, "");
}

fn is_apart(cluster: &DefsCluster, looked: &Looked, pair: &crate::plan::KnownPair) -> bool {
    let of = |name: &String| looked.members.iter().find(|it| it.name == *name && it.node.is_some());
    match (of(&pair.members[0]), of(&pair.members[1])) {
        (Some(a), Some(b)) => are_apart(&a.labels, &b.labels, cluster.spec.topology.hard),
        // Nobody has said yet where they stand.
        _ => true,
    }
}
