//! A DefsCluster: look up, build, apply, decide, tell.

mod decide;
mod keys;
mod look;
mod rank;
mod tell;

use std::sync::Arc;

use defs_crds::reason::Reason;
use defs_crds::{DefsCluster, DefsNode};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::agents::Credentials;
use crate::apply::{PutBack, apply, apply_foreign, apply_or_remove};
use crate::build::{Names, POD_MONITOR, defs_node, pod_monitor, shared_objects};
use crate::context::{Context, LOOK_AGAIN, SOON};
use crate::error::Error;

pub(crate) use decide::is_paused;
pub(crate) use look::{Looked, agent_key, is_ready, labels, look, node_id, pod};
pub(crate) use rank::steady;
pub(crate) use tell::percent;

/// Brings a cluster one step nearer to what is wanted of it.
pub(crate) async fn reconcile(
    cluster: Arc<DefsCluster>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it; volumes stay or go as they were made to.
        return Ok(Action::await_change());
    }
    let names = Names::of(&cluster)?;
    warn_of_crds(&context, &cluster, &names).await;
    let credentials = match keys::credentials(&context, &cluster, &names).await {
        Ok(credentials) => credentials,
        Err(error) => {
            tell::refused(&context, &cluster, &error).await?;
            return Err(error);
        }
    };
    // What can't be made keeps nobody from healing what is there.
    let made = if cluster.spec.paused.all {
        Ok(())
    } else {
        make(&context, &cluster, &names, &credentials).await
    };
    let looked = look(&context, &cluster, &names)?;
    let decided = decide::decide(&context, &cluster, &names, &looked).await?;
    let is_all_heard = looked.members.iter().all(|it| it.node.is_none() || it.is_heard);
    if context.agents.has_just_begun() && !is_all_heard {
        // What stands there is the word of the operator before, and true until it is known better.
        made?;
        return Ok(Action::requeue(SOON));
    }
    rank::rank(&context, &names, &looked, &decided);
    tell::tell(&context, (&cluster, &names), &looked, &decided, made.as_ref().err()).await?;
    made?;
    context.failures.over("DefsCluster", &*cluster);
    let is_quiet = looked.is_settled && decided.is_quiet();
    Ok(Action::requeue(if is_quiet { LOOK_AGAIN } else { SOON }))
}

/// Tells once that the operator and its CRDs are of two versions.
async fn warn_of_crds(context: &Context, cluster: &DefsCluster, names: &Names) {
    let differ = !context.other_crds.is_empty();
    if differ && context.warned.is_first(&names.namespace, &names.cluster) {
        let news = (Reason::CrdsDiffer, format!("{}.", context.other_crds.join(", ")));
        context.tell(&cluster.object_ref(&()), vec![news]).await;
    }
}

/// Makes what all nodes share, and the objects of the nodes themselves.
async fn make(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    credentials: &Credentials,
) -> Result<(), Error> {
    let (client, world) = (&context.client, &context.world);
    let shared = shared_objects(cluster, &credentials.network.genesis.to_text())?;
    let mut put_back = PutBack::default();
    for config_map in &shared.config_maps {
        put_back.note(config_map, apply(client, &world.config_maps, config_map).await?);
    }
    for service in &shared.services {
        put_back.note(service, apply(client, &world.services, service).await?);
    }
    let at = ObjectRef::new(&names.nodes()).within(&names.namespace);
    let budget = apply_or_remove(client, &world.budgets, shared.budget.as_ref(), &at).await?;
    put_back.note_some(shared.budget.as_ref(), budget);
    let at = ObjectRef::new(&names.nodes()).within(&names.namespace);
    let policy = apply_or_remove(client, &world.policies, shared.policy.as_ref(), &at).await?;
    put_back.note_some(shared.policy.as_ref(), policy);
    put_back.tell(context, &cluster.object_ref(&())).await;
    if cluster.spec.observability.prometheus.pod_monitor {
        let monitor = pod_monitor(cluster, names)?;
        apply_foreign(client, &POD_MONITOR.resource(), &monitor).await?;
    }
    for index in 0..cluster.spec.replicas {
        let name = names.node(index);
        let known = ObjectRef::<DefsNode>::new(&name).within(&names.namespace);
        if world.nodes.get(&known).is_none() {
            create(context, &defs_node(cluster, index)?).await?;
        }
    }
    Ok(())
}

/// Creates an object that people and other controllers change afterwards.
pub(crate) async fn create<K>(context: &Context, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let namespace = object.namespace().ok_or(Error::Nameless)?;
    let name = object.name_any();
    let params = kube::api::PostParams {
        field_manager: Some(defs_crds::names::FIELD_MANAGER.to_owned()),
        ..kube::api::PostParams::default()
    };
    let api = kube::Api::<K>::namespaced(context.client.clone(), &namespace);
    match api.create(&params, object).await {
        Ok(_) => {
            tracing::info!(kind = %K::kind(&()), %namespace, name, "created");
            Ok(())
        }
        // The store lags behind: it is there.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(Error::api(format!("create {} {name}", K::kind(&())))(error)),
    }
}
