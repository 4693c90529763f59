//! Writes a cluster's status: only when something is different, and in steps where numbers move
//! all the time.

use std::collections::BTreeMap;

use defs_core::size::Size;
use defs_crds::cluster::Profile;
use defs_crds::cluster::status::{
    ClusterPhase, DefsClusterStatus, DurabilityNow, PairCounts, VersionCount, bucket,
};
use defs_crds::names::{annotation, pod_selector};
use defs_crds::pair::status::PairPhase;
use defs_crds::reason::{ConditionType as Type, Reason};
use defs_crds::{ByteSize, DefsCluster, DefsNode};
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::Looked;
use super::decide::{Decided, is_paused};
use crate::apply::apply_status;
use crate::build::Names;
use crate::condition::Conditions;
use crate::context::Context;
use crate::error::Error;
use crate::plan::{Asked, Judgement, are_apart, spares};

/// What there is to tell of a cluster.
struct Told<'a> {
    looked: &'a Looked,
    decided: &'a Decided,
    counts: PairCounts,
    /// Nodes that are heard.
    heard: usize,
    /// Nodes that could take a place.
    spares: u32,
    used_percent: u8,
    /// What could not be made.
    problem: Option<&'a Error>,
}

pub(super) async fn tell(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    looked: &Looked,
    decided: &Decided,
    problem: Option<&Error>,
) -> Result<(), Error> {
    let before = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let mut conditions = Conditions::of(before.conditions.clone(), generation);
    let counts = counts(looked);
    let now = Instant::now();
    let heard = looked.known.values().filter(|it| it.is_heard(now)).count();
    let usable: u64 = looked.known_pairs.iter().map(|pair| capacity(looked, pair)).sum();
    let used: u64 = looked.known_pairs.iter().map(|pair| pair.held).sum();
    let told = Told {
        looked,
        decided,
        counts,
        heard,
        spares: count(spares(&looked.members, &looked.known_pairs)),
        used_percent: percent(used, usable),
        problem: problem.filter(|error| error.is_for_people()),
    };
    say(&mut conditions, cluster, &told);
    if let Some(why) = &decided.broken {
        conditions.news.push((Reason::PlanOutdated, format!("It is given up: {why}.")));
    }
    let status = DefsClusterStatus {
        observed_generation: generation,
        phase: Some(phase(cluster, counts, &decided.judgement, heard)),
        replicas: count(looked.nodes.len()),
        ready: count(heard),
        spares: told.spares,
        pairs: counts,
        selector: Some(pod_selector(&names.cluster)),
        usable_bytes: Some(bucket(usable)),
        used_bytes: Some(bucket(used)),
        used_percent: Some(told.used_percent),
        usable: Some(ByteSize(Size(bucket(usable)))),
        durability: Some(durability(cluster, looked, counts)),
        versions: versions(looked),
        plan: decided.plan.clone(),
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
    DurabilityNow {
        tolerated_pairs: tolerate.pairs.saturating_sub(counts.lost),
        tolerated_zones: tolerated_zones(tolerate.zones, zones(looked).len()),
        at_risk: counts.degraded,
    }
}

/// With pairs across zones, one zone less takes one copy of each at most.
fn tolerated_zones(wanted: u32, zones: usize) -> u32 {
    wanted.min(count(zones.saturating_sub(1)))
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

fn say(conditions: &mut Conditions, cluster: &DefsCluster, told: &Told<'_>) {
    let Told { looked, decided, counts, heard, .. } = told;
    let spec = &cluster.spec;
    let are_paired =
        counts.total >= spec.pairs() && counts.healthy + counts.degraded >= spec.pairs();
    let together = together(cluster, looked);
    let is_durable = counts.degraded + counts.lost == 0 && are_paired;
    let is_strict = spec.profile == Profile::Strict;
    let is_ready = *heard >= spec.replicas as usize
        && counts.healthy >= spec.pairs()
        && told.problem.is_none()
        && (!is_strict || (together.is_empty() && is_durable));
    let (reason, detail) = if is_ready {
        (Reason::AsAsked, String::new())
    } else {
        why_not_ready(spec, told, are_paired)
    };
    conditions.say(Type::Ready, is_ready, reason, detail.clone());
    let is_available = counts.healthy > 0;
    let available = if is_available { Reason::AsAsked } else { reason };
    conditions.say(Type::Available, is_available, available, detail.clone());
    let is_degraded = counts.degraded + counts.lost > 0;
    let degraded = if is_degraded { reason } else { Reason::AsAsked };
    conditions.say(Type::Degraded, is_degraded, degraded, detail);
    let (paired, why, detail) = pairing(spec, told, are_paired);
    conditions.say(Type::PairingSatisfied, paired, why, detail);
    let is_distinct = together.is_empty();
    let distinct = if is_distinct { Reason::AsAsked } else { Reason::DomainsShared };
    conditions.say(Type::TopologySatisfied, is_distinct, distinct, together.join(", "));
    let durable = if is_durable { Reason::AsAsked } else { Reason::DurabilityBelow };
    conditions.say(Type::DurabilityMet, is_durable, durable, "");
    let (has_room, why) = match told.used_percent {
        FULL_PERCENT.. => (false, Reason::Full),
        NEARLY_FULL_PERCENT.. => (false, Reason::NearlyFull),
        _ => (true, Reason::AsAsked),
    };
    conditions.say(Type::CapacityOk, has_room, why, "");
    conditions.say(Type::CertificatesReady, true, Reason::AsAsked, "");
    let (isolated, why, detail) = match decided.judgement.frozen {
        Some(silent) => {
            let why = if *heard == 0 { Reason::CutOff } else { Reason::TooManySilent };
            (true, why, format!("{silent} of {} nodes.", looked.nodes.len()))
        }
        None => (false, Reason::Reachable, String::new()),
    };
    conditions.say(Type::OperatorIsolated, isolated, why, detail);
    let is_paused = is_paused(cluster, |paused| paused.healing || paused.rebalancing);
    let paused = if is_paused { Reason::PausedByPerson } else { Reason::AsAsked };
    conditions.say(Type::Paused, is_paused, paused, "");
    let (progresses, why, detail) = progress(cluster, told);
    conditions.say(Type::Progressing, progresses, why, detail);
}

/// Percent in use from which nothing new can be stored, and from which somebody should care.
const FULL_PERCENT: u8 = 98;
const NEARLY_FULL_PERCENT: u8 = 80;

/// Nodes that are named one by one in a message.
const NAMED_MAX: usize = 3;

/// What keeps a cluster from being ready: first what people must see to.
fn why_not_ready(
    spec: &defs_crds::DefsClusterSpec,
    told: &Told<'_>,
    are_paired: bool,
) -> (Reason, String) {
    let Told { looked, counts, heard, .. } = told;
    if let Some(error) = told.problem {
        return (error.reason(), format!("{}.", error.whole()));
    }
    let troubles: Vec<_> = looked.nodes.iter().filter_map(|node| trouble(node)).collect();
    let mut detail: Vec<_> = troubles.iter().take(NAMED_MAX).map(|it| it.1.clone()).collect();
    if troubles.len() > NAMED_MAX {
        detail.push(format!("And {} more.", troubles.len() - NAMED_MAX));
    }
    let stuck = troubles.iter().find(|(reason, _)| is_for_people(*reason));
    let reason = if let Some((reason, _)) = stuck {
        *reason
    } else if counts.lost > 0 {
        Reason::PairLost
    } else if counts.degraded > 0 {
        Reason::MemberAway
    } else if *heard < spec.replicas as usize && are_paired {
        Reason::NodesMissing
    } else {
        Reason::Forming
    };
    (reason, detail.join(" "))
}

/// What a node says of itself that is not ready.
fn trouble(node: &DefsNode) -> Option<(Reason, String)> {
    let conditions = node.status.as_ref()?.conditions.iter();
    let ready = conditions.into_iter().find(|it| it.type_ == Type::Ready.name())?;
    let reason = Reason::ALL.iter().find(|it| it.name() == ready.reason)?;
    let text = || format!("{}: {}", node.name_any(), ready.message);
    (ready.status != "True").then(|| (*reason, text()))
}

/// What doesn't pass by itself.
fn is_for_people(reason: Reason) -> bool {
    use Reason::{
        ApplyRefused, CertificateMissing, ImageNotPulled, PodCrashing, PodUnschedulable,
        VolumeMissing,
    };
    matches!(
        reason,
        ApplyRefused
            | CertificateMissing
            | ImageNotPulled
            | PodCrashing
            | PodUnschedulable
            | VolumeMissing
    )
}

fn pairing(
    spec: &defs_crds::DefsClusterSpec,
    told: &Told<'_>,
    are_paired: bool,
) -> (bool, Reason, String) {
    let judgement = &told.decided.judgement;
    if !judgement.without_substitute.is_empty() {
        let waiting = judgement.without_substitute.join(", ");
        return (
            false,
            Reason::SparesMissing,
            format!("Nobody is free for the place of {waiting}."),
        );
    }
    if !judgement.unpaired.is_empty() {
        return (false, Reason::NodeUnpaired, format!("{}.", judgement.unpaired.join(", ")));
    }
    if !are_paired {
        let unpaired = format!("{} of {} pairs.", told.counts.total, spec.pairs());
        return (false, Reason::Forming, unpaired);
    }
    if told.spares < spec.min_spares {
        let spares = format!("{} of {}.", told.spares, spec.min_spares);
        return (false, Reason::SparesMissing, spares);
    }
    (true, Reason::AsAsked, String::new())
}

/// What the operator changes now, the most telling of it.
fn progress(cluster: &DefsCluster, told: &Told<'_>) -> (bool, Reason, String) {
    let Told { looked, decided, .. } = told;
    if let Some(node) = &decided.restarts {
        return (true, Reason::RollingOut, format!("{node}."));
    }
    if let Some(plan) = &decided.plan {
        let approved = cluster.annotations().get(annotation::APPROVE_PLAN);
        return if plan.running {
            (true, Reason::Rebalancing, format!("{} steps are left.", plan.steps.len()))
        } else if approved.is_some_and(|approved| *approved != plan.id) {
            (false, Reason::PlanOutdated, format!("The plan that waits is {}.", plan.id))
        } else {
            let how = format!("{}={}.", annotation::APPROVE_PLAN, plan.id);
            (false, Reason::WaitingForApproval, how)
        };
    }
    if let Some(pair) = looked.known_pairs.iter().find(|pair| pair.is_changing()) {
        return (true, Reason::Replacing, format!("{}.", pair.name));
    }
    let shrinks = looked.members.iter().filter(|it| it.asked == Asked::Shrink).count();
    if shrinks > 0 {
        return (true, Reason::ScalingDown, format!("{shrinks} nodes are to go."));
    }
    let joined = looked.members.iter().filter(|it| it.node.is_some()).count();
    let wanted = cluster.spec.replicas as usize;
    if joined < wanted {
        return (true, Reason::ScalingUp, format!("{joined} of {wanted} nodes have joined."));
    }
    (false, Reason::AsAsked, String::new())
}

fn together(cluster: &DefsCluster, looked: &Looked) -> Vec<String> {
    let together = looked.known_pairs.iter().filter(|pair| !is_apart(cluster, looked, pair));
    together.map(|pair| pair.name.clone()).collect()
}

/// Says why nothing could be looked after at all.
pub(super) async fn refused(
    context: &Context,
    cluster: &DefsCluster,
    error: &Error,
) -> Result<(), Error> {
    if !error.is_for_people() {
        return Ok(());
    }
    let before = cluster.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(before.conditions.clone(), cluster.metadata.generation);
    let (reason, detail) = (error.reason(), format!("{}.", error.whole()));
    conditions.say(Type::Ready, false, reason, detail.clone());
    if reason == Reason::CertificateMissing {
        conditions.say(Type::CertificatesReady, false, reason, detail);
    }
    let status = DefsClusterStatus {
        observed_generation: cluster.metadata.generation,
        phase: Some(ClusterPhase::Failed),
        conditions: conditions.all,
        ..before
    };
    apply_status(&context.client, cluster, cluster.status.as_ref(), &status).await?;
    context.tell(&cluster.object_ref(&()), conditions.news).await;
    Ok(())
}

fn is_apart(cluster: &DefsCluster, looked: &Looked, pair: &crate::plan::KnownPair) -> bool {
    let of = |name: &String| looked.members.iter().find(|it| it.name == *name && it.node.is_some());
    match (of(&pair.members[0]), of(&pair.members[1])) {
        (Some(a), Some(b)) => are_apart(&a.labels, &b.labels, cluster.spec.topology.hard),
        // Nobody has said yet where they stand.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_that_may_vanish_are_no_more_than_there_are() {
        assert_eq!(tolerated_zones(1, 3), 1);
        assert_eq!(tolerated_zones(2, 2), 1);
        assert_eq!(tolerated_zones(0, 3), 0);
        assert_eq!(tolerated_zones(1, 0), 0);
    }
}
