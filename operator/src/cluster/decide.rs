//! Carries out what the planner says of a cluster's pairs, as far as it is for the cluster: new
//! pairs become objects, and changes are written into a pair's status before anybody acts on
//! them. What then happens to a pair is its own controller's.

use std::collections::BTreeSet;
use std::time::Duration;

use defs_core::ids::hex;
use defs_core::port::Randomness;
use defs_crds::names::label;
use defs_crds::pair::status::{DefsPairStatus, Migration, MigrationPhase};
use defs_crds::pair::{DefsPairSpec, Member, Origin};
use defs_crds::{DefsCluster, DefsPair, Reference};
use defs_launch::OsRandom;
use kube::ResourceExt;

use super::Looked;
use crate::apply::apply_status;
use crate::build::Names;
use crate::condition::now;
use crate::context::Context;
use crate::error::Error;
use crate::plan::{Cause, Decision, Judgement, Wanted, judge};

pub(super) async fn decide(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    looked: &Looked,
) -> Result<Judgement, Error> {
    let spec = &cluster.spec;
    let wanted = Wanted {
        pairs: spec.pairs() as usize,
        replicas: spec.replicas as usize,
        hard: spec.topology.hard,
        replace_after: spec.failover.replace_after.duration(),
        freeze_above_percent: spec.failover.freeze_above_percent,
        is_paused: is_paused(cluster, |paused| paused.healing),
    };
    let judgement =
        judge(&looked.members, &looked.known_pairs, &wanted, settled(context, names, looked));
    if is_paused(cluster, |_| false) {
        return Ok(judgement);
    }
    let mut taken: BTreeSet<_> = looked.pairs.iter().map(|pair| pair.name_any()).collect();
    for decision in &judgement.decisions {
        match decision {
            Decision::Form(members) => {
                let mut numbers = (0..u32::MAX).map(|it| format!("{}-pair-{it}", names.cluster));
                let Some(name) = numbers.find(|name| !taken.contains(name)) else { continue };
                form(context, cluster, names, &name, members).await?;
                taken.insert(name);
            }
            Decision::Replace { pair, gone, comes, cause } => {
                change(context, looked, pair, (gone, comes), (cause, false)).await?;
            }
            Decision::Yield { pair, leaves, comes, cause } => {
                change(context, looked, pair, (leaves, comes), (cause, true)).await?;
            }
        }
    }
    Ok(judgement)
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

async fn form(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    name: &str,
    members: &[String; 2],
) -> Result<(), Error> {
    let member = |name: &String| Member { node_ref: Reference::to(name), preferred_role: None };
    let spec = DefsPairSpec {
        cluster_ref: Reference::to(&names.cluster),
        members: members.iter().map(member).collect(),
        origin: Origin::Auto,
        paused: false,
    };
    let mut pair = DefsPair::new(name, spec);
    pair.metadata = crate::build::owned_by(cluster, name.to_owned(), &names.cluster)?;
    pair.labels_mut().insert(label::PAIR.to_owned(), name.to_owned());
    // Where the store lags behind, the name is taken and nothing is made twice.
    super::create(context, &pair).await
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
    tracing::info!(
        pair = pair.name_any(),
        from,
        to,
        cause = cause.text,
        "a member is to be replaced"
    );
    let status = DefsPairStatus { migration: Some(migration), ..before };
    apply_status(&context.client, &**pair, pair.status.as_ref(), &status).await.map(drop)
}
