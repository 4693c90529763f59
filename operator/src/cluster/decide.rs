//! Carries out what the planner says of a cluster's pairs, as far as it is for the cluster: new
//! pairs become objects, and changes are written into a pair's status before anybody acts on
//! them. What then happens to a pair is its own controller's.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use defs_core::ids::{PairId, hex};
use defs_core::port::Randomness;
use defs_core::wish::Want;
use defs_crds::cluster::Approval;
use defs_crds::cluster::status::Plan;
use defs_crds::names::{annotation, label};
use defs_crds::pair::status::{DefsPairStatus, Migration, MigrationPhase};
use defs_crds::pair::{DefsPairSpec, Member, Origin};
use defs_crds::reason::Reason;
use defs_crds::{DefsCluster, DefsPair, Reference};
use defs_launch::OsRandom;
use defs_pairing::planner::Policy;
use kube::{Resource, ResourceExt};

use super::Looked;
use super::look::weights;
use crate::apply::{apply_status, delete};
use crate::build::Names;
use crate::condition::{now, unix_time};
use crate::context::Context;
use crate::error::Error;
use crate::plan::{Cause, Decision, Going, Judgement, Wanted, better, carry_on, judge};

/// What was decided of a cluster.
pub(super) struct Decided {
    pub(super) judgement: Judgement,
    /// The plan for better pairs as it stands now.
    pub(super) plan: Option<Plan>,
    /// Why there is none any more, if there was one.
    pub(super) broken: Option<String>,
    /// The node whose pod is made anew now.
    pub(super) restarts: Option<String>,
}

impl Decided {
    /// Whether nothing is under way that no watch tells of.
    pub(super) fn is_quiet(&self) -> bool {
        self.restarts.is_none() && self.plan.as_ref().is_none_or(|plan| !plan.running)
    }
}

pub(super) async fn decide(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    looked: &Looked,
) -> Result<Decided, Error> {
    let spec = &cluster.spec;
    let wanted = Wanted {
        pairs: spec.pairs() as usize,
        replicas: spec.replicas as usize,
        hard: spec.topology.hard,
        replace_after: spec.failover.replace_after.duration(),
        freeze_above_percent: spec.failover.freeze_above_percent,
        policy: policy(cluster),
        is_paused: is_paused(cluster, |paused| paused.healing),
    };
    let pairs = (&looked.known_pairs[..], &looked.orphans[..]);
    let settled = settled(context, names, looked);
    let judgement = judge(&looked.members, pairs, &wanted, settled);
    let before = cluster.status.as_ref().and_then(|status| status.plan.clone());
    let mut decided = Decided { judgement, plan: before, broken: None, restarts: None };
    if is_paused(cluster, |_| false) {
        return Ok(decided);
    }
    let mut taken = looked.pair_names.clone();
    for decision in decided.judgement.decisions.clone() {
        carry_out(context, (cluster, names), (looked, &mut taken), &decision).await?;
    }
    let is_calm = decided.judgement.frozen.is_none() && decided.judgement.decisions.is_empty();
    if is_calm && !is_paused(cluster, |paused| paused.rebalancing) {
        rebalance(context, (cluster, names), looked, &wanted, &mut decided).await?;
    }
    if is_calm && decided.plan.as_ref().is_none_or(|plan| !plan.running) {
        decided.restarts = restart(context, names, looked).await?;
    }
    Ok(decided)
}

/// What the spec says about pairing, for the planner.
fn policy(cluster: &DefsCluster) -> Policy {
    let pairing = &cluster.spec.pairing;
    let moves = usize::try_from(pairing.max_concurrent_moves).ok().and_then(NonZeroUsize::new);
    Policy {
        weights: weights(&pairing.weights),
        max_round_trip: pairing.max_rtt.as_ref().map(|it| it.duration()),
        min_gain_percent: pairing.min_gain_percent,
        cooldown: pairing.cooldown.duration(),
        moves_max: moves.unwrap_or(NonZeroUsize::MIN),
        spares_min: 0,
    }
}

/// Whether all, or what `part` says, is paused now.
pub(crate) fn is_paused(
    cluster: &DefsCluster,
    part: impl Fn(&defs_crds::cluster::Paused) -> bool,
) -> bool {
    let paused = &cluster.spec.paused;
    let is_over = paused.until.as_ref().is_some_and(|until| until.0 <= now().0);
    !is_over && (paused.all || part(paused))
}

/// For how long the free nodes have been just these.
fn settled(context: &Context, names: &Names, looked: &Looked) -> Duration {
    let paired: Vec<_> = looked.known_pairs.iter().flat_map(|it| it.members.iter()).collect();
    let free = looked.members.iter().filter(|it| it.is_heard && !paired.contains(&&it.name));
    let free = free.map(|it| it.name.clone()).collect();
    context.free.settled((&names.namespace, &names.cluster), free)
}

async fn carry_out(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    (looked, taken): (&Looked, &mut BTreeSet<String>),
    decision: &Decision,
) -> Result<(), Error> {
    match decision {
        Decision::Form(members) => {
            form(context, (cluster, names), taken, (members, None)).await.map(drop)
        }
        Decision::Adopt(orphan) => {
            let members = (&orphan.members, Some(orphan.id));
            if !form(context, (cluster, names), taken, members).await? {
                return Ok(());
            }
            let [primary, mirror] = &orphan.members;
            let news = (Reason::PairAdopted, format!("{primary} and {mirror}."));
            context.tell(&cluster.object_ref(&()), vec![news]).await;
            Ok(())
        }
        Decision::Replace { pair, gone, comes, cause } => {
            change(context, looked, pair, (gone, comes), (cause, false)).await
        }
        Decision::Yield { pair, leaves, comes, cause } => {
            change(context, looked, pair, (leaves, comes), (cause, true)).await
        }
        Decision::Dissolve { pair, given_up } => {
            dissolve(context, (cluster, names), looked, (pair, given_up)).await
        }
        Decision::Remove(node) => {
            let Some(node) = looked.nodes.iter().find(|it| it.name_any() == *node) else {
                return Ok(());
            };
            delete(&context.client, &**node).await
        }
    }
}

/// A new pair of `members`, the primary first, or the object of one that has an id already.
/// Whether it was made: not so while the store may lag behind the one that was.
async fn form(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    taken: &mut BTreeSet<String>,
    (members, id): (&[String; 2], Option<PairId>),
) -> Result<bool, Error> {
    if !context.formed.is_due((names.namespace.clone(), members.clone())) {
        return Ok(false);
    }
    let mut numbers = (0..u32::MAX).map(|it| format!("{}-pair-{it}", names.cluster));
    let Some(name) = numbers.find(|name| !taken.contains(name)) else { return Ok(false) };
    taken.insert(name.clone());
    let member = |name: &String| Member { node_ref: Reference::to(name), preferred_role: None };
    let spec = DefsPairSpec {
        cluster_ref: Reference::to(&names.cluster),
        members: members.iter().map(member).collect(),
        origin: Origin::Auto,
        paused: false,
    };
    let mut pair = DefsPair::new(&name, spec);
    pair.metadata = crate::build::owned_by(cluster, name.clone(), &names.cluster)?;
    pair.labels_mut().insert(label::PAIR.to_owned(), name);
    if let Some(id) = id {
        pair.annotations_mut().insert(annotation::PAIR_ID.to_owned(), id.full());
    }
    super::create(context, &pair).await?;
    Ok(true)
}

/// Writes down what is to become of a pair.
async fn change(
    context: &Context,
    looked: &Looked,
    pair: &str,
    (from, to): (&str, &str),
    (cause, hands_over): (&Cause, bool),
) -> Result<(), Error> {
    let Some(pair) = looked.pairs.iter().find(|it| it.name_any() == pair) else { return Ok(()) };
    let before = pair.status.clone().unwrap_or_default();
    let Some(epoch) = before.epoch else { return Ok(()) };
    // The store may lag behind what called it to another pair.
    let namespace = pair.namespace().unwrap_or_default();
    if !context.called.is_due((namespace, to.to_owned())) {
        return Ok(());
    }
    let held = looked.known_pairs.iter().find(|it| it.name == pair.name_any());
    let migration = Migration {
        id: hex(&OsRandom.array::<8>()),
        cause: cause.text.clone(),
        intentional: cause.is_intent,
        from: from.to_owned(),
        to: to.to_owned(),
        phase: if hands_over { MigrationPhase::Copying } else { MigrationPhase::Planned },
        checkpoint: Some(epoch.to_string()),
        done_bytes: 0,
        total_bytes: held.map_or(0, |it| it.held),
        bytes_per_second: 0,
        started_at: now(),
        eta: None,
    };
    let name = pair.name_any();
    tracing::info!(pair = name, from, to, cause = cause.text, "a member is to be replaced");
    let status = DefsPairStatus { migration: Some(migration), ..before };
    if apply_status(&context.client, &**pair, pair.status.as_ref(), &status).await? {
        let news = (Reason::MigrationStarted, format!("{to} for {from}: {}.", cause.text));
        context.tell(&pair.object_ref(&()), vec![news]).await;
    }
    Ok(())
}

/// Lets a pair go of which nothing is left, so that its nodes can be in others. What it held is
/// rebuilt elsewhere as soon as nobody is waited for.
async fn dissolve(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    looked: &Looked,
    (pair, given_up): (&str, &[String]),
) -> Result<(), Error> {
    let ids = looked.members.iter().filter(|it| given_up.contains(&it.name));
    for id in ids.filter_map(|it| it.node) {
        crate::pair::tell_network(context, names, id, Want::Lost).await?;
    }
    let Some(pair) = looked.pairs.iter().find(|it| it.name_any() == pair) else { return Ok(()) };
    delete(&context.client, &**pair).await?;
    let members: Vec<_> = pair.spec.members.iter().map(|it| it.node_ref.name.as_str()).collect();
    let news = (Reason::PairLost, format!("{}: {}.", pair.name_any(), members.join(", ")));
    context.tell(&cluster.object_ref(&()), vec![news]).await;
    Ok(())
}

/// Better pairs, while all is well: a plan is made, waits for a person's word where it shall,
/// and is carried out step by step.
async fn rebalance(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    looked: &Looked,
    wanted: &Wanted,
    decided: &mut Decided,
) -> Result<(), Error> {
    let (members, pairs) = (&looked.members[..], &looked.known_pairs[..]);
    if decided.plan.as_ref().is_none_or(|plan| !plan.running) {
        if !looked.is_settled {
            return Ok(());
        }
        let rules = (&wanted.policy, wanted.hard);
        let steps = better(members, pairs, rules, &looked.survey, unix_time());
        let is_same = decided.plan.as_ref().is_some_and(|plan| plan.steps == steps);
        if !is_same {
            let id = hex(&OsRandom.array::<4>());
            decided.plan = (!steps.is_empty()).then_some(Plan { id, steps, running: false });
        }
    }
    let Some(plan) = decided.plan.as_mut() else { return Ok(()) };
    if !may_run(cluster, plan) {
        return Ok(());
    }
    if !plan.running {
        // First it is written down that it runs, then it does.
        plan.running = true;
        return Ok(());
    }
    match carry_on(&plan.steps, members, pairs, wanted.policy.moves_max) {
        Going::Broken(why) => {
            decided.broken = Some(why);
            decided.plan = None;
        }
        Going::On { left, begins } => {
            plan.steps = left;
            if plan.steps.is_empty() {
                decided.plan = None;
            }
            for begun in &begins {
                let taken = &mut BTreeSet::new();
                carry_out(context, (cluster, names), (looked, taken), begun).await?;
            }
            decided.judgement.decisions.extend(begins);
        }
    }
    Ok(())
}

/// Whether a plan needs no word, has got it, or has begun.
fn may_run(cluster: &DefsCluster, plan: &Plan) -> bool {
    let approved = cluster.annotations().get(annotation::APPROVE_PLAN);
    match cluster.spec.pairing.approval {
        Approval::Auto => true,
        Approval::Manual => plan.running || approved == Some(&plan.id),
    }
}

/// Makes the pod anew whose turn it is.
async fn restart(
    context: &Context,
    names: &Names,
    looked: &Looked,
) -> Result<Option<String>, Error> {
    let Some(next) = crate::plan::next_restart(&looked.members, &looked.known_pairs) else {
        return Ok(None);
    };
    let pods = &context.world.pods;
    let pod = kube::runtime::reflector::ObjectRef::new(next).within(&names.namespace);
    if let Some(pod) = pods.get(&pod) {
        delete(&context.client, &*pod).await?;
    }
    Ok(Some(next.to_owned()))
}
