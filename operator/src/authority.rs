//! What makes a cluster's nodes know the operator and each other: the authority of its
//! certificates, and the key that admits nodes to its network.

use std::time::{Duration, SystemTime};

use defs_core::network::Genesis;
use defs_core::port::Randomness;
use defs_identity::SecretKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::error::Error;

/// How long an authority lasts.
const AUTHORITY_LASTS: Duration = Duration::from_hours(10 * 365 * 24);

/// How long a node's certificate lasts. It is made anew when a third of that is left, so an
/// operator may be away for a month.
const NODE_LASTS: Duration = Duration::from_hours(90 * 24);

/// How long a certificate of the operator lasts, which is made for one connection.
const CALLER_LASTS: Duration = Duration::from_hours(24);

/// Clocks may be so far apart.
const SKEW: Duration = Duration::from_mins(10);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

/// Certificates that others make.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// Of the authority that the nodes' certificates are of, as PEM.
    pub(crate) authority: String,
    /// The operator's own, as PEM.
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

/// How the operator and a cluster's nodes know each other.
pub(crate) enum Tls {
    /// By an authority of the operator's own.
    Own(Authority),
    /// By what others make.
    Given(Given),
}

impl Tls {
    /// Of the authority that nodes' certificates are of, as PEM.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Own(authority) => authority.certificate(),
            Self::Given(given) => &given.authority,
        }
    }

    /// What the operator shows to nodes.
    pub(crate) fn caller(&self, now: SystemTime) -> Result<Issued, Error> {
        match self {
            Self::Own(authority) => authority.caller(now),
            Self::Given(Given { certificate, key, .. }) => {
                Ok(Issued { certificate: certificate.clone(), key: key.clone() })
            }
        }
    }

    /// Whether it is what others make now, or they make nothing.
    pub(crate) fn is_still(&self, given: Option<&Given>) -> bool {
        match self {
            Self::Own(_) => given.is_none(),
            Self::Given(known) => given == Some(known),
        }
    }
}

/// The authority of one cluster's certificates.
pub(crate) struct Authority {
    name: String,
    certificate: String,
    key: KeyPair,
}

impl Authority {
    /// A new one for the cluster called `name`.
    pub(crate) fn new(name: &str, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let certificate = authority_params(name, now).self_signed(&key)?.pem();
        Ok(Self { name: name.to_owned(), certificate, key })
    }

    /// The one that was kept.
    pub(crate) fn kept(name: &str, certificate: String, key: &str) -> Result<Self, Error> {
        Ok(Self { name: name.to_owned(), certificate, key: KeyPair::from_pem(key)? })
    }

    /// By which its certificates are checked, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, as PEM.
    pub(crate) fn key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// For a node that is called by these names, and when it is to be made anew.
    pub(crate) fn node(
        &self,
        names: Vec<String>,
        now: SystemTime,
    ) -> Result<(Issued, SystemTime), Error> {
        let issued = self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, (now, NODE_LASTS))?;
        Ok((issued, now + NODE_LASTS / 3 * 2))
    }

    /// For a caller of nodes: the operator.
    pub(crate) fn caller(&self, now: SystemTime) -> Result<Issued, Error> {
        let names = vec!["defs-operator".to_owned()];
        self.issue(names, ExtendedKeyUsagePurpose::ClientAuth, (now, CALLER_LASTS))
    }

    fn issue(
        &self,
        names: Vec<String>,
        purpose: ExtendedKeyUsagePurpose,
        (now, lasts): (SystemTime, Duration),
    ) -> Result<Issued, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        params.not_before = OffsetDateTime::from(now - SKEW);
        params.not_after = OffsetDateTime::from(now + lasts);
        // Only name and key of the issuer go into what it signs, and these are always the same.
        let issuer = authority_params(&self.name, now).self_signed(&self.key)?;
        let certificate = params.signed_by(&key, &issuer, &self.key)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn authority_params(name: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("defs {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::from(now - SKEW);
    params.not_after = OffsetDateTime::from(now + AUTHORITY_LASTS);
    params
}

/// A network, and the key that admits nodes to it and by which the operator speaks.
pub(crate) struct NetworkKeys {
    pub(crate) genesis: Genesis,
    pub(crate) invite: SecretKey,
}

impl NetworkKeys {
    /// A new network.
    pub(crate) fn new(random: &impl Randomness) -> Self {
        let invite = SecretKey::from_seed(&Zeroizing::new(random.array()));
        let genesis = Genesis { random: random.array(), invite_key: invite.public().to_bytes() };
        Self { genesis, invite }
    }

    /// The one that was kept, if the two belong together.
    pub(crate) fn kept(genesis: &str, invite: &[u8; 32]) -> Option<Self> {
        let genesis = Genesis::from_text(genesis).ok()?;
        let invite = SecretKey::from_bytes(invite).ok()?;
        (invite.public().to_bytes() == genesis.invite_key).then_some(Self { genesis, invite })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use defs_launch::OsRandom;
    use rustls::RootCertStore;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    #[test]
    fn what_an_authority_issued_is_its_own_also_after_it_was_read_back() {
        let now = crate::condition::system_time();
        let made = Authority::new("c", now).unwrap();
        let kept = Authority::kept("c", made.certificate().to_owned(), &made.key()).unwrap();
        let (node, renew) = kept.node(vec!["n.example".to_owned()], now).unwrap();
        assert!(renew > now + Duration::from_hours(59 * 24));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.certificate().as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            std::sync::Arc::new(roots),
            provider,
        )
        .build()
        .unwrap();
        let is_good = |issued: &Issued, name: &'static str| {
            use rustls::client::danger::ServerCertVerifier;
            let certificate =
                CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
            let name = ServerName::try_from(name).unwrap();
            verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(is_good(&node, "n.example"));
        assert!(!is_good(&node, "m.example"));
        assert!(!is_good(&kept.caller(now).unwrap(), "defs-operator"), "a caller is no node");
        let other = Authority::new("c", now).unwrap();
        assert!(!is_good(&other.node(vec!["n.example".to_owned()], now).unwrap().0, "n.example"));
    }

    #[test]
    fn a_network_reads_back_with_its_own_invite_only() {
        let keys = NetworkKeys::new(&OsRandom);
        let text = keys.genesis.to_text();
        let kept = NetworkKeys::kept(&text, &keys.invite.to_bytes()).unwrap();
        assert_eq!(kept.genesis, keys.genesis);
        let other = NetworkKeys::new(&OsRandom);
        assert!(NetworkKeys::kept(&text, &other.invite.to_bytes()).is_none());
    }
}
