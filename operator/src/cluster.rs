//! A DefsCluster: look up, build, apply, decide, tell.

mod decide;
mod keys;
mod look;
mod tell;

use std::sync::Arc;

use defs_crds::{DefsCluster, DefsNode};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use crate::agents::Credentials;
use crate::apply::{apply, apply_or_remove};
use crate::build::{Names, defs_node, shared_objects};
use crate::context::{Context, LOOK_AGAIN, SOON};
use crate::error::Error;

pub(crate) use decide::is_paused;
pub(crate) use look::{Looked, agent_key, is_ready, labels, look, node_id, pod};
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
    let credentials = keys::credentials(&context, &cluster, &names).await?;
    if !cluster.spec.paused.all {
        make(&context, &cluster, &names, &credentials).await?;
    }
    let looked = look(&context, &cluster, &names)?;
    let judgement = decide::decide(&context, &cluster, &names, &looked).await?;
    tell::tell(&context, &cluster, &names, &looked, &judgement).await?;
    context.failures.over("DefsCluster", &*cluster);
    Ok(Action::requeue(if looked.is_settled { LOOK_AGAIN } else { SOON }))
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
    for config_map in &shared.config_maps {
        apply(client, &world.config_maps, config_map).await?;
    }
    for service in &shared.services {
        apply(client, &world.services, service).await?;
    }
    let at = ObjectRef::new(&names.nodes()).within(&names.namespace);
    apply_or_remove(client, &world.budgets, shared.budget.as_ref(), &at).await?;
    let at = ObjectRef::new(&names.nodes()).within(&names.namespace);
    apply_or_remove(client, &world.policies, shared.policy.as_ref(), &at).await?;
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
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
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
