//! What a node is made of, brought to what it should be: certificate, service, volume, pod.

use std::collections::BTreeMap;

use defs_crds::cluster::Announce;
use defs_crds::names::{annotation, label};
use defs_crds::reason::Reason;
use defs_crds::{DefsCluster, DefsNode};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};

use crate::apply::{PutBack, apply, apply_or_remove, delete, delete_within};
use crate::authority::Tls;
use crate::build::{Names, claim, image, node_service, pod, revision, tls_secret};
use crate::cluster::create;
use crate::condition::system_time;
use crate::context::Context;
use crate::error::Error;

/// Makes what is missing, and lets go what makes room for something else.
pub(super) async fn make(
    context: &Context,
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
    tls: &Tls,
) -> Result<(), Error> {
    share(context, cluster, node, names, tls).await?;
    let there = crate::cluster::pod(context, node);
    let at = ObjectRef::new(&Names::claim(&node.name_any())).within(&names.namespace);
    let volume = context.world.claims.get(&at);
    if is_given_up(context, node, volume.as_deref()) {
        return start_anew(context, node, there.as_deref(), volume.as_deref()).await;
    }
    let wanted = claim(cluster, node, names)?;
    match &volume {
        None => create(context, &wanted).await?,
        // Its pod goes first, then it, then both come anew.
        Some(volume) if volume.metadata.deletion_timestamp.is_some() => return Ok(()),
        Some(volume) => keep_volume(context, node, volume, &wanted).await?,
    }
    let announces = cluster.spec.network.announce != Announce::Pod;
    if announces && node.status.as_ref().is_none_or(|it| it.announced.is_none()) {
        // It would tell others an address that they can't reach.
        return Ok(());
    }
    let revision = revision(cluster, node, names, &context.repository)?;
    let image = image(cluster, &context.repository);
    let wanted = pod(cluster, node, (&image, &revision), names)?;
    match there {
        None => create(context, &wanted).await,
        Some(there) if has_ended(&there) => delete(&context.client, &*there).await,
        Some(there) => relabel(context, &there, &wanted).await,
    }
}

/// What does not depend on the pod: its certificate and its service.
async fn share(
    context: &Context,
    cluster: &DefsCluster,
    node: &DefsNode,
    names: &Names,
    tls: &Tls,
) -> Result<(), Error> {
    let (client, world) = (&context.client, &context.world);
    let name = node.name_any();
    let mut put_back = PutBack::default();
    if let Tls::Own(authority) = tls {
        let kept = ObjectRef::<Secret>::new(&Names::certificate(&name)).within(&names.namespace);
        let kept = world.secrets.get(&kept);
        let secret = tls_secret(node, names, authority, kept.as_deref(), system_time())?;
        put_back.note(&secret, apply(client, &world.secrets, &secret).await?);
    }
    let service = node_service(cluster, node, names)?;
    let at = ObjectRef::<Service>::new(&Names::node_service(&name)).within(&names.namespace);
    let applied = apply_or_remove(client, &world.services, service.as_ref(), &at).await?;
    put_back.note_some(service.as_ref(), applied);
    put_back.tell(context, &node.object_ref(&())).await;
    Ok(())
}

/// Whether a person has given up what the node holds, no pair counts on it any more, and its
/// volume is still the old one.
fn is_given_up(context: &Context, node: &DefsNode, volume: Option<&PersistentVolumeClaim>) -> bool {
    let lost = node.spec.replace.acknowledge_lost.as_ref();
    let is_old =
        |volume: &PersistentVolumeClaim| volume.annotations().get(annotation::IN_PLACE_OF) != lost;
    node.is_acknowledged_lost()
        && super::membership(context, node).is_none()
        && volume.is_some_and(is_old)
}

/// The node begins anew, with an empty volume and another id. By the person's word nobody waits
/// for a machine that can't say that the old pod has ended.
async fn start_anew(
    context: &Context,
    node: &DefsNode,
    pod: Option<&Pod>,
    volume: Option<&PersistentVolumeClaim>,
) -> Result<(), Error> {
    if let Some(pod) = pod {
        delete_within(&context.client, pod, Some(0)).await?;
    }
    if let Some(volume) = volume.filter(|it| it.metadata.deletion_timestamp.is_none()) {
        delete(&context.client, volume).await?;
        let note = format!("{} begins anew, with an empty volume.", node.name_any());
        context.tell(&node.object_ref(&()), vec![(Reason::NodeGivenUp, note)]).await;
    }
    Ok(())
}

/// A volume grows with what is asked, and goes with the cluster or not.
async fn keep_volume(
    context: &Context,
    node: &DefsNode,
    volume: &PersistentVolumeClaim,
    wanted: &PersistentVolumeClaim,
) -> Result<(), Error> {
    let size = |claim: &PersistentVolumeClaim| -> Option<Quantity> {
        claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
    };
    let owners = |claim: &PersistentVolumeClaim| claim.metadata.owner_references.clone();
    let is_owned_rightly = owners(volume).unwrap_or_default() == owners(wanted).unwrap_or_default();
    if !is_owned_rightly {
        let owners = owners(wanted).unwrap_or_default();
        patch(context, volume, serde_json::json!({"metadata": {"ownerReferences": owners}}))
            .await?;
    }
    let (has, should) = (size(volume), size(wanted));
    if has == should || has.as_ref().zip(should.as_ref()).is_some_and(|(a, b)| same(a, b)) {
        return Ok(());
    }
    let requests = BTreeMap::from([("storage", should)]);
    let grown =
        patch(context, volume, serde_json::json!({"spec": {"resources": {"requests": requests}}}));
    if let Err(error) = grown.await {
        let news = (Reason::VolumeNotResizable, format!("{}.", error.whole()));
        context.tell(&node.object_ref(&()), vec![news]).await;
    }
    Ok(())
}

/// Whether two quantities are one, however they are written.
fn same(one: &Quantity, other: &Quantity) -> bool {
    let bytes = |it: &Quantity| it.0.parse::<defs_core::size::Size>().ok();
    bytes(one).is_some() && bytes(one) == bytes(other)
}

async fn patch(
    context: &Context,
    volume: &PersistentVolumeClaim,
    patch: serde_json::Value,
) -> Result<(), Error> {
    let namespace = volume.namespace().ok_or(Error::Nameless)?;
    let name = volume.name_any();
    let claims = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &namespace);
    let patched = claims.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(Error::api(format!("change volume claim {name}")))
}

/// A pod that has ended for good, as after an eviction, makes room for the next.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && matches!(phase, Some("Failed" | "Succeeded"))
}

/// A pod's pair is found by its label, also by the scheduler.
async fn relabel(context: &Context, there: &Pod, wanted: &Pod) -> Result<(), Error> {
    let (has, should) = (there.labels().get(label::PAIR), wanted.labels().get(label::PAIR));
    if has == should {
        return Ok(());
    }
    let name = there.name_any();
    let namespace = there.namespace().ok_or(Error::Nameless)?;
    let patch = serde_json::json!({"metadata": {"labels": {label::PAIR: should}}});
    let pods = Api::<Pod>::namespaced(context.client.clone(), &namespace);
    let patched = pods.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    patched.map(drop).map_err(Error::api(format!("label pod {name}")))
}
