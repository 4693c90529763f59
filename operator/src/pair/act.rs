//! The only place that changes something about a pair: words to the network, and the members of
//! its own object. Each can be said again without harm.

use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::wish::{Forming, Place, Want};
use defs_crds::node::status::Role;
use defs_crds::pair::status::{DefsPairStatus, MigrationPhase};
use defs_crds::{DefsCluster, DefsPair};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::{Observed, migration};
use crate::build::Names;
use crate::cluster::{agent_key, node_id};
use crate::context::Context;
use crate::error::Error;

pub(super) async fn act(
    context: &Context,
    (cluster, names): (&DefsCluster, &Names),
    pair: &DefsPair,
    status: &DefsPairStatus,
    observed: &Observed,
) -> Result<(), Error> {
    let Some(id) = status.pair_id.as_ref().and_then(|id| id.parse::<PairId>().ok()) else {
        return Ok(());
    };
    if status.epoch.is_none() && observed.epoch.is_none() {
        return form(context, names, pair, id).await;
    }
    let Some(migration) = &status.migration else {
        return keep_members(context, names, pair, observed).await;
    };
    let change = (status.pair_id.as_deref(), migration);
    if migration::given_up(context, (cluster, names), change, observed).is_some() {
        // The word that was said is taken back before the change is written off.
        let leaves = id_of(context, names, &migration.from);
        return match leaves {
            Some(leaves) => tell_network(context, names, leaves, Want::Stay).await,
            None => Ok(()),
        };
    }
    let begun: Option<u64> = migration.checkpoint.as_ref().and_then(|epoch| epoch.parse().ok());
    let (Some(begun), Some(epoch)) = (begun, observed.epoch.or(status.epoch)) else {
        return Ok(());
    };
    // Who has its own place again is a member as the node that it is now.
    let has_come = observed.has(&migration.to);
    if has_come {
        return keep_members(context, names, pair, observed).await;
    }
    let is_stranger = !observed.has(&migration.from) && observed.stranger.is_some();
    let leaves =
        if is_stranger { observed.stranger } else { id_of(context, names, &migration.from) };
    let (Some(leaves), Some(to)) = (leaves, id_of(context, names, &migration.to)) else {
        return Ok(());
    };
    // The members may have renewed their witnesses since: what was decided holds for the epoch
    // that is.
    let place = Place { pair: id, epoch: Epoch(epoch.max(begun)), to };
    let want = match migration.phase {
        MigrationPhase::Copying => Want::Yield(place),
        _ => Want::Replace(place),
    };
    tell_network(context, names, leaves, want).await
}

async fn form(context: &Context, names: &Names, pair: &DefsPair, id: PairId) -> Result<(), Error> {
    let [one, other] = &pair.spec.members[..] else { return Ok(()) };
    let is_turned =
        one.preferred_role == Some(Role::Mirror) || other.preferred_role == Some(Role::Primary);
    let (primary, mirror) = if is_turned { (other, one) } else { (one, other) };
    let ids = [primary, mirror].map(|it| id_of(context, names, &it.node_ref.name));
    let [Some(primary), Some(mirror)] = ids else { return Ok(()) };
    tell_network(context, names, primary, Want::Form(Forming { pair: id, mirror })).await
}

fn id_of(context: &Context, names: &Names, node: &str) -> Option<NodeId> {
    let known = context.agents.known(&agent_key(names, node));
    let object = context.world.nodes.get(&ObjectRef::new(node).within(&names.namespace))?;
    node_id(&object, &known)
}

/// Says it unless it was said just now.
pub(crate) async fn tell_network(
    context: &Context,
    names: &Names,
    node: NodeId,
    want: Want,
) -> Result<(), Error> {
    let Some(credentials) = context.credentials.get(&names.namespace, &names.cluster) else {
        return Ok(());
    };
    if !context.said.is_due(node, want) {
        return Ok(());
    }
    let at = (names.namespace.as_str(), names.cluster.as_str());
    if context.agents.say(at, &credentials, node, want).await == 0 {
        context.said.forget(node);
    }
    Ok(())
}

/// The object names the members that the pair has.
async fn keep_members(
    context: &Context,
    names: &Names,
    pair: &DefsPair,
    observed: &Observed,
) -> Result<(), Error> {
    let [Some(primary), Some(mirror)] = &observed.members else { return Ok(()) };
    let has: Vec<_> = pair.spec.members.iter().map(|it| &it.node_ref.name).collect();
    if has.contains(&primary) && has.contains(&mirror) {
        return Ok(());
    }
    let kept = pair.spec.members.iter().filter(|it| [primary, mirror].contains(&&it.node_ref.name));
    let mut members: Vec<_> = kept.cloned().collect();
    let comes = [primary, mirror].into_iter().filter(|it| !has.contains(it));
    members.extend(comes.map(|it| defs_crds::pair::Member {
        node_ref: defs_crds::Reference::to(it),
        preferred_role: None,
    }));
    let name = pair.name_any();
    let patch = serde_json::json!({
        "metadata": {"resourceVersion": pair.resource_version()},
        "spec": {"members": members},
    });
    let pairs = Api::<DefsPair>::namespaced(context.client.clone(), &names.namespace);
    let patched = pairs.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(Error::api(format!("write the members of pair {name}")))
}
