//! A DefsPair: observe what its members say, judge how it is, say to the network what is still
//! to be done, tell. Everything that is to happen is in the status before it is said, so whoever
//! comes after a crash goes on with it.

mod act;
mod migration;
mod observe;

use std::sync::Arc;

use defs_core::ids::{PairId, hex};
use defs_core::port::Randomness;
use defs_crds::condition::Verdict;
use defs_crds::names::annotation;
use defs_crds::pair::Origin;
use defs_crds::pair::status::{
    DefsPairStatus, Event, HISTORY_MAX, PairPhase, PairScore, SyncState, SyncStatus,
};
use defs_crds::reason::{ConditionType as Type, Reason};
use defs_crds::{DefsCluster, DefsPair};
use defs_launch::OsRandom;
use defs_pairing::score::Part;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::apply::apply_status;
use crate::build::Names;
use crate::cluster::steady;
use crate::condition::{Conditions, now};
use crate::context::{Context, LOOK_AGAIN, Ranking, SOON};
use crate::error::Error;
pub(crate) use act::tell_network;
use observe::{Observed, observe};

/// Brings a pair one step nearer to what is wanted of it.
pub(crate) async fn reconcile(pair: Arc<DefsPair>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = pair.namespace().ok_or(Error::Nameless)?;
    if pair.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let cluster = ObjectRef::new(&pair.spec.cluster_ref.name).within(&namespace);
    let Some(cluster) = context.world.clusters.get(&cluster) else {
        refuse(&context, &pair, "Its clusterRef names no DefsCluster of this namespace.").await?;
        return Ok(Action::requeue(LOOK_AGAIN));
    };
    let names = Names::of(&cluster)?;
    if let Some(why) = objection(&context, &pair) {
        refuse(&context, &pair, &why).await?;
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    let mut status = pair.status.clone().unwrap_or_default();
    if status.pair_id.is_none() {
        // First the id, then the word: said twice, it means one pair.
        // A pair that the network has already keeps its own.
        let has = pair.annotations().get(annotation::PAIR_ID);
        let has = has.filter(|id| id.parse::<PairId>().is_ok()).cloned();
        status.pair_id = Some(has.unwrap_or_else(|| hex(&OsRandom.array::<16>())));
        status.phase = Some(PairPhase::Forming);
        apply_status(&context.client, &*pair, pair.status.as_ref(), &status).await?;
        return Ok(Action::requeue(SOON));
    }
    let observed = observe(&context, &names, &pair, &status);
    if !crate::cluster::is_paused(&cluster, |_| false) && !pair.spec.paused {
        act::act(&context, (&cluster, &names), &pair, &status, &observed).await?;
    }
    if context.agents.has_just_begun() && status.epoch.is_some() && observed.heard != [true; 2] {
        return Ok(Action::requeue(SOON));
    }
    let is_settled = tell(&context, &cluster, &pair, (&names, status), &observed).await?;
    context.failures.over("DefsPair", &*pair);
    Ok(Action::requeue(if is_settled { LOOK_AGAIN } else { SOON }))
}

/// Why a pair that a person made can't be. Nothing is done about it, and its nodes are as free as
/// without it.
pub(crate) fn objection(context: &Context, pair: &DefsPair) -> Option<String> {
    let namespace = pair.namespace()?;
    let name = pair.name_any();
    for member in &pair.spec.members {
        let member = &member.node_ref.name;
        let node = ObjectRef::new(member).within(&namespace);
        let Some(node) = context.world.nodes.get(&node) else {
            return Some(format!("There is no DefsNode {member} in this namespace."));
        };
        if node.spec.cluster_ref != pair.spec.cluster_ref {
            return Some(format!("{member} is a node of {}.", node.spec.cluster_ref.name));
        }
        let others = context.world.pairs.state();
        let taken = others.iter().find(|other| {
            other.namespace().as_deref() == Some(&namespace)
                && other.name_any() != name
                && other.spec.members.iter().any(|it| it.node_ref.name == *member)
                && is_before(other, pair)
        });
        if let Some(taken) = taken {
            return Some(format!("{member} is a member of {} already.", taken.name_any()));
        }
    }
    None
}

/// Of two pairs that name one node, the one that is in the network counts, else the older.
fn is_before(one: &DefsPair, other: &DefsPair) -> bool {
    let rank = |pair: &DefsPair| {
        let is_formed = pair.status.as_ref().is_some_and(|status| status.epoch.is_some());
        (!is_formed, pair.creation_timestamp(), pair.name_any())
    };
    rank(one) < rank(other)
}

async fn refuse(context: &Context, pair: &DefsPair, why: &str) -> Result<(), Error> {
    let before = pair.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(before.conditions.clone(), pair.metadata.generation);
    conditions.say(Type::Ready, false, Reason::InvalidSpec, why);
    let news = std::mem::take(&mut conditions.news);
    let status = DefsPairStatus {
        observed_generation: pair.metadata.generation,
        conditions: conditions.all,
        ..before
    };
    apply_status(&context.client, pair, pair.status.as_ref(), &status).await?;
    context.tell(&pair.object_ref(&()), news).await;
    Ok(())
}

/// Writes how the pair is. Whether nothing is under way.
async fn tell(
    context: &Context,
    cluster: &DefsCluster,
    pair: &DefsPair,
    (names, before): (&Names, DefsPairStatus),
    observed: &Observed,
) -> Result<bool, Error> {
    let mut conditions = Conditions::of(before.conditions.clone(), pair.metadata.generation);
    let mut status = before.clone();
    status.observed_generation = pair.metadata.generation;
    if let Some(epoch) = observed.epoch.filter(|epoch| Some(*epoch) >= before.epoch) {
        note_epoch(&mut status, &mut conditions, observed, epoch);
    }
    migration::settle(context, (cluster, names), &mut status, &mut conditions, observed);
    let ranking = context.rankings.get(&names.namespace, &names.cluster);
    status.score = score(&ranking, &pair.name_any(), status.score.take());
    status.phase = Some(phase(&status, observed));
    status.sync = Some(sync(observed));
    say(&mut conditions, cluster, (pair, &status), observed);
    let news = std::mem::take(&mut conditions.news);
    status.conditions = conditions.all;
    apply_status(&context.client, pair, pair.status.as_ref(), &status).await?;
    context.tell(&pair.object_ref(&()), news).await;
    Ok(status.phase == Some(PairPhase::Healthy) && status.migration.is_none())
}

/// Another epoch is written into the history, and told.
fn note_epoch(
    status: &mut DefsPairStatus,
    conditions: &mut Conditions,
    observed: &Observed,
    epoch: u64,
) {
    let is_new = status.epoch != Some(epoch);
    let before = (status.primary.clone(), status.mirror.clone());
    status.epoch = Some(epoch);
    status.primary = observed.members[0].clone().or(status.primary.take());
    status.mirror = observed.members[1].clone().or(status.mirror.take());
    status.witnesses = observed.witnesses.clone();
    if !is_new {
        return;
    }
    let (primary, mirror) = (name(&status.primary), name(&status.mirror));
    let what = format!("Primary {primary}, mirror {mirror}.");
    if before.0.is_none() {
        conditions.news.push((Reason::PairFormed, what.clone()));
    } else if before.0 != status.primary {
        conditions.news.push((Reason::RoleChanged, format!("Epoch {epoch}. {what}")));
    }
    status.history.insert(0, Event { at: now(), epoch, what });
    status.history.truncate(HISTORY_MAX);
}

fn name(node: &Option<String>) -> &str {
    node.as_deref().unwrap_or("unknown")
}

/// How well the two fit, as the last look at the cluster says.
fn score(ranking: &Ranking, pair: &str, before: Option<PairScore>) -> Option<PairScore> {
    let Some(fit) = ranking.pairs.get(pair) else { return before };
    let known = |name: &String| before.as_ref().and_then(|it| it.parts.get(name)).copied();
    let part = |Part { dimension, points, .. }: &Part| {
        let name = dimension.to_string();
        let points = steady(known(&name), points.get());
        (name, points)
    };
    Some(PairScore {
        parts: fit.parts.iter().map(part).collect(),
        total: steady(before.as_ref().map(|it| it.total), fit.total.get()),
        gap: ranking.gaps.get(pair).copied().unwrap_or(0),
    })
}

fn phase(status: &DefsPairStatus, observed: &Observed) -> PairPhase {
    if observed.epoch.is_none() && status.epoch.is_none() {
        PairPhase::Forming
    } else if status.migration.is_some() {
        PairPhase::Migrating
    } else if observed.is_lost {
        PairPhase::Lost
    } else if observed.heard != [true; 2] || observed.is_degraded {
        PairPhase::Degraded
    } else if observed.is_in_sync() {
        PairPhase::Healthy
    } else {
        PairPhase::Syncing
    }
}

fn sync(observed: &Observed) -> SyncStatus {
    let state = match observed.heard {
        [true, true] if observed.is_in_sync() => SyncState::InSync,
        [true, true] => SyncState::CatchingUp,
        [false, false] => SyncState::Unknown,
        _ => SyncState::Behind,
    };
    SyncStatus { state, lag_bucket: None, pending: 0 }
}

fn say(
    conditions: &mut Conditions,
    cluster: &DefsCluster,
    (pair, status): (&DefsPair, &DefsPairStatus),
    observed: &Observed,
) {
    let phase = status.phase.unwrap_or(PairPhase::Forming);
    let away = observed.away.join(", ");
    let reason = match phase {
        PairPhase::Healthy => Reason::AsAsked,
        PairPhase::Forming => Reason::Forming,
        PairPhase::Syncing => Reason::CatchingUp,
        PairPhase::Migrating => Reason::Replacing,
        PairPhase::Degraded => Reason::MemberAway,
        PairPhase::Lost | PairPhase::Dissolved => Reason::PairLost,
    };
    let detail = match &status.migration {
        Some(it) => format!("{} for {}: {}.", it.to, it.from, it.cause),
        None => away,
    };
    let is_healthy = phase == PairPhase::Healthy;
    conditions.say(Type::Ready, is_healthy, reason, detail.clone());
    let is_redundant = observed.heard == [true; 2];
    let redundancy = if is_redundant { Reason::AsAsked } else { reason };
    conditions.say(Type::RedundancyMet, is_redundant, redundancy, detail);
    let synced: Verdict = match sync(observed).state {
        SyncState::InSync => Verdict::True,
        SyncState::Unknown => Verdict::Unknown,
        SyncState::CatchingUp | SyncState::Behind => Verdict::False,
    };
    let synced_why = if synced == Verdict::True { Reason::AsAsked } else { reason };
    conditions.say(Type::Synced, synced, synced_why, "");
    let hard = cluster.spec.topology.hard;
    let (distinct, why) = match observed.labels.clone() {
        [Some(a), Some(b)] if crate::plan::are_apart(&a, &b, hard) => {
            (Verdict::True, Reason::AsAsked)
        }
        [Some(_), Some(_)] => (Verdict::False, Reason::DomainsShared),
        _ => (Verdict::Unknown, Reason::NotSeenYet),
    };
    conditions.say(Type::DomainsDistinct, distinct, why, "");
    let (progresses, why, detail) = match &status.migration {
        Some(it) if it.intentional => (true, Reason::Rebalancing, migration::told(it)),
        Some(it) => (true, Reason::Replacing, migration::told(it)),
        None if pair.spec.origin == Origin::Pinned => (false, Reason::Pinned, String::new()),
        None => (false, Reason::AsAsked, String::new()),
    };
    conditions.say(Type::Progressing, progresses, why, detail);
}
