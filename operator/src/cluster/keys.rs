//! A cluster's secrets: made once, and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use defs_core::ids::{hex, unhex};
use defs_crds::DefsCluster;
use defs_crds::cluster::{IssuerRef, TlsMode};
use defs_crds::names::label;
use defs_launch::OsRandom;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::api::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use zeroize::Zeroizing;

use crate::agents::Credentials;
use crate::apply::apply_foreign;
use crate::authority::{Authority, Given, NetworkKeys, Tls};
use crate::build::{Names, certificates, labels, owned_by};
use crate::condition::system_time;
use crate::context::Context;
use crate::error::Error;

/// By what the operator is known to the nodes of a cluster; made if this is its first time.
pub(crate) async fn credentials(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
) -> Result<Arc<Credentials>, Error> {
    let known = context.credentials.get(&names.namespace, &names.cluster);
    let given = given(context, cluster, names).await?;
    if let Some(known) = known {
        restore(context, cluster, names, &known).await?;
        if known.tls.is_still(given.as_ref()) {
            return Ok(known);
        }
    }
    let secrets = Api::<Secret>::namespaced(context.client.clone(), &names.namespace);
    let authority_secret = get(&secrets, &names.authority()).await?;
    let network = network(context, cluster, names, (&secrets, authority_secret.as_ref())).await?;
    let tls = match given {
        Some(given) => Tls::Given(given),
        None => {
            let authority =
                authority(context, cluster, names, (&secrets, authority_secret, &network)).await?;
            Tls::Own(authority)
        }
    };
    let credentials = Arc::new(Credentials { tls, network });
    context.credentials.keep(&names.namespace, &names.cluster, &credentials);
    Ok(credentials)
}

/// The network's keys. They are asked for at the server and not in the store: a store that lags
/// behind must not let a second network be founded under the first one's nodes.
async fn network(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    (secrets, authority): (&Api<Secret>, Option<&Secret>),
) -> Result<NetworkKeys, Error> {
    if let Some(secret) = get(secrets, &names.invite()).await? {
        return read_network(&secret, &names.invite());
    }
    // The authority's secret has them too, so that nobody loses a network with one object.
    let kept = authority.and_then(|secret| read_network(secret, &names.authority()).ok());
    let network = match kept {
        Some(kept) => kept,
        None if was_founded(context, names).await? => {
            return Err(Error::NetworkLost(names.invite()));
        }
        None => NetworkKeys::new(&OsRandom),
    };
    super::create(context, &network_secret(cluster, names, &network)?).await?;
    // Whoever was first counts.
    let made = get(secrets, &names.invite()).await?;
    read_network(&made.ok_or_else(|| Error::Missing(names.invite()))?, &names.invite())
}

/// Whether there is a network already: its public file says so, and nodes that are known.
async fn was_founded(context: &Context, names: &Names) -> Result<bool, Error> {
    let maps = Api::<ConfigMap>::namespaced(context.client.clone(), &names.namespace);
    let name = names.network();
    let file = maps.get_opt(&name).await.map_err(Error::api(format!("read config map {name}")))?;
    let is_known = |node: &Arc<defs_crds::DefsNode>| {
        node.metadata.namespace.as_ref() == Some(&names.namespace)
            && node.spec.cluster_ref.name == names.cluster
            && node.status.as_ref().is_some_and(|status| status.peer_id.is_some())
    };
    let is_volume = |claim: &Arc<PersistentVolumeClaim>| {
        claim.metadata.namespace.as_ref() == Some(&names.namespace)
            && claim.labels().get(label::CLUSTER) == Some(&names.cluster)
    };
    Ok(file.is_some()
        || context.world.nodes.state().iter().any(is_known)
        || context.world.claims.state().iter().any(is_volume))
}

async fn authority(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    (secrets, kept, network): (&Api<Secret>, Option<Secret>, &NetworkKeys),
) -> Result<Authority, Error> {
    if let Some(kept) = kept {
        return read_authority(&kept, names);
    }
    let authority = Authority::new(&names.cluster, system_time())?;
    super::create(context, &authority_secret(cluster, names, &authority, network)?).await?;
    let made = get(secrets, &names.authority()).await?;
    read_authority(&made.ok_or_else(|| Error::Missing(names.authority()))?, names)
}

/// The certificates that others make, where they do.
async fn given(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
) -> Result<Option<Given>, Error> {
    let tls = &cluster.spec.security.tls;
    let (nodes, caller) = match (tls.mode, &tls.issuer_ref, &tls.secret_name) {
        (TlsMode::CertManager, Some(issuer), _) => {
            ask_for_certificates(context, cluster, names, issuer).await?;
            let caller = (names.caller_certificate(), ["tls.crt", "tls.key"]);
            (names.shared_certificate(), caller)
        }
        (TlsMode::Provided, _, Some(secret)) => {
            (secret.clone(), (secret.clone(), ["client.crt", "client.key"]))
        }
        _ => return Ok(None),
    };
    let secrets = Api::<Secret>::namespaced(context.client.clone(), &names.namespace);
    let read = async |name: &str| {
        let secret = get(&secrets, name).await?;
        secret.ok_or_else(|| Error::NoCertificate(name.to_owned()))
    };
    let authority = text(&read(&nodes).await?, "ca.crt");
    let (caller, [certificate, key]) = caller;
    let secret = read(&caller).await?;
    let parts = (authority, text(&secret, certificate), text(&secret, key));
    let (Some(authority), Some(certificate), Some(key)) = parts else {
        let what = "ca.crt, and the certificate and key by which the operator is known";
        return Err(Error::Unreadable(format!("secret {caller}"), what));
    };
    let (authority, certificate) = (authority.to_string(), certificate.to_string());
    Ok(Some(Given { authority, certificate, key }))
}

async fn ask_for_certificates(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    issuer: &IssuerRef,
) -> Result<(), Error> {
    for certificate in certificates(cluster, issuer, names)? {
        apply_foreign(&context.client, &crate::build::CERTIFICATE.resource(), &certificate).await?;
    }
    Ok(())
}

/// Puts back what somebody deleted.
async fn restore(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
    known: &Credentials,
) -> Result<(), Error> {
    let is_there = |name: String| {
        context.world.secrets.get(&ObjectRef::new(&name).within(&names.namespace)).is_some()
    };
    if !is_there(names.invite()) {
        super::create(context, &network_secret(cluster, names, &known.network)?).await?;
    }
    if let Tls::Own(authority) = &known.tls
        && !is_there(names.authority())
    {
        let secret = authority_secret(cluster, names, authority, &known.network)?;
        super::create(context, &secret).await?;
    }
    Ok(())
}

async fn get(secrets: &Api<Secret>, name: &str) -> Result<Option<Secret>, Error> {
    secrets.get_opt(name).await.map_err(Error::api(format!("read secret {name}")))
}

fn text(secret: &Secret, key: &str) -> Option<Zeroizing<String>> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone()).ok().map(Zeroizing::new)
}

type Entries = BTreeMap<String, ByteString>;

fn entries<const N: usize>(entries: [(&str, &str); N]) -> Entries {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    entries.map(|(name, text)| (name.to_owned(), bytes(text))).into_iter().collect()
}

fn network_entries(network: &NetworkKeys) -> Entries {
    let invite = Zeroizing::new(hex(&*network.invite.to_bytes()));
    entries([("network", &network.genesis.to_text()), ("invite", &invite)])
}

/// It outlives the cluster object where its volumes do: without it nobody could ever speak to
/// the nodes on them.
fn network_secret(
    cluster: &DefsCluster,
    names: &Names,
    network: &NetworkKeys,
) -> Result<Secret, Error> {
    let owned = owned_by(cluster, names.invite(), &names.cluster)?;
    let owner_references = owned.owner_references.filter(|_| !cluster.spec.keeps_volumes());
    let labels = Some(labels(&names.cluster));
    let metadata = ObjectMeta {
        name: owned.name,
        namespace: owned.namespace,
        labels,
        owner_references,
        ..ObjectMeta::default()
    };
    Ok(Secret { metadata, data: Some(network_entries(network)), ..Secret::default() })
}

fn read_network(secret: &Secret, name: &str) -> Result<NetworkKeys, Error> {
    let unreadable = || Error::Unreadable(format!("secret {name}"), "a network and its invite");
    let (network, invite) = (text(secret, "network"), text(secret, "invite"));
    let invite = invite.and_then(|text| unhex::<32>(text.trim()).map(Zeroizing::new));
    network
        .zip(invite)
        .and_then(|(network, invite)| NetworkKeys::kept(&network, &invite))
        .ok_or_else(unreadable)
}

fn authority_secret(
    cluster: &DefsCluster,
    names: &Names,
    authority: &Authority,
    network: &NetworkKeys,
) -> Result<Secret, Error> {
    let metadata = owned_by(cluster, names.authority(), &names.cluster)?;
    let mut data = entries([("ca.crt", authority.certificate()), ("ca.key", &authority.key())]);
    data.extend(network_entries(network));
    Ok(Secret { metadata, data: Some(data), ..Secret::default() })
}

fn read_authority(secret: &Secret, names: &Names) -> Result<Authority, Error> {
    let (certificate, key) = (text(secret, "ca.crt"), text(secret, "ca.key"));
    let (certificate, key) = certificate.zip(key).ok_or_else(|| {
        Error::Unreadable(format!("secret {}", names.authority()), "an authority and its key")
    })?;
    Authority::kept(&names.cluster, certificate.to_string(), &key)
}
