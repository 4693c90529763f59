//! A cluster's secrets: made once, and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use defs_core::ids::{hex, unhex};
use defs_crds::DefsCluster;
use defs_launch::OsRandom;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use zeroize::Zeroizing;

use crate::agents::Credentials;
use crate::authority::{Authority, NetworkKeys};
use crate::build::{Names, labels};
use crate::condition::system_time;
use crate::context::Context;
use crate::error::Error;

/// By what the operator is known to the nodes of a cluster; made if this is its first time.
pub(crate) async fn credentials(
    context: &Context,
    cluster: &DefsCluster,
    names: &Names,
) -> Result<Arc<Credentials>, Error> {
    if let Some(known) = context.credentials.get(&names.namespace, &names.cluster) {
        restore(context, cluster, names, &known).await?;
        return Ok(known);
    }
    // Asked for at the server and not in the store: a store that lags behind must not let a
    // second network be founded under the first one's nodes.
    let secrets = Api::<Secret>::namespaced(context.client.clone(), &names.namespace);
    let network = match get(&secrets, &names.invite()).await? {
        Some(secret) => read_network(&secret, names)?,
        None => {
            let network = NetworkKeys::new(&OsRandom);
            super::create(context, &network_secret(names, &network)).await?;
            // Whoever was first counts.
            let made = get(&secrets, &names.invite()).await?;
            read_network(&made.ok_or_else(|| Error::Missing(names.invite()))?, names)?
        }
    };
    let authority = match get(&secrets, &names.authority()).await? {
        Some(secret) => read_authority(&secret, names)?,
        None => {
            let authority = Authority::new(&names.cluster, system_time())?;
            super::create(context, &authority_secret(cluster, names, &authority)?).await?;
            let made = get(&secrets, &names.authority()).await?;
            read_authority(&made.ok_or_else(|| Error::Missing(names.authority()))?, names)?
        }
    };
    let credentials = Arc::new(Credentials { authority, network });
    context.credentials.keep(&names.namespace, &names.cluster, &credentials);
    Ok(credentials)
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
        super::create(context, &network_secret(names, &known.network)).await?;
    }
    if !is_there(names.authority()) {
        super::create(context, &authority_secret(cluster, names, &known.authority)?).await?;
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

fn data<const N: usize>(entries: [(&str, &str); N]) -> Option<BTreeMap<String, ByteString>> {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Some(entries.map(|(name, text)| (name.to_owned(), bytes(text))).into_iter().collect())
}

/// It outlives the cluster object: without it nobody could ever speak to the nodes whose
/// volumes are kept.
fn network_secret(names: &Names, network: &NetworkKeys) -> Secret {
    let metadata = ObjectMeta {
        name: Some(names.invite()),
        namespace: Some(names.namespace.clone()),
        labels: Some(labels(&names.cluster)),
        ..ObjectMeta::default()
    };
    let invite = Zeroizing::new(hex(&*network.invite.to_bytes()));
    let data = data([("network", &network.genesis.to_text()), ("invite", &invite)]);
    Secret { metadata, data, ..Secret::default() }
}

fn read_network(secret: &Secret, names: &Names) -> Result<NetworkKeys, Error> {
    let unreadable =
        || Error::Unreadable(format!("secret {}", names.invite()), "a network and its invite");
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
) -> Result<Secret, Error> {
    let metadata = crate::build::owned_by(cluster, names.authority(), &names.cluster)?;
    let data = data([("ca.crt", authority.certificate()), ("ca.key", &authority.key())]);
    Ok(Secret { metadata, data, ..Secret::default() })
}

fn read_authority(secret: &Secret, names: &Names) -> Result<Authority, Error> {
    let (certificate, key) = (text(secret, "ca.crt"), text(secret, "ca.key"));
    let (certificate, key) = certificate.zip(key).ok_or_else(|| {
        Error::Unreadable(format!("secret {}", names.authority()), "an authority and its key")
    })?;
    Authority::kept(&names.cluster, certificate.to_string(), &key)
}
