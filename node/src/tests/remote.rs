//! A node that others admit and administer: by certificate only.

use std::fs;
use std::path::Path;
use std::time::Duration;

use defs_core::format::Format;
use defs_core::ids::NodeId;
use defs_core::network::{Admission, Genesis};
use defs_core::settings::Settings;
use defs_core::statement::Statement;
use defs_core::wish::{SignedWish, Want, Wish};
use defs_identity::SecretKey;
use defs_wire::admin::admin_client::AdminClient;
use defs_wire::admin::enrolment_client::EnrolmentClient;
use defs_wire::admin::{
    AdmitRequest, IdentifyRequest, Report, StatusRequest, TakeWishRequest, WatchRequest,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::run::serve;

/// The name in a node's certificate.
const NAME: &str = "node.example";

struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn caller(&self) -> (String, String) {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// What a node needs to be one of this authority's.
    fn write(&self, folder: &Path) {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("ca.crt"), self.certificate.pem()).unwrap();
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
    }
}

/// A network whose invite is not at its node.
struct Remote {
    folder: tempfile::TempDir,
    invite: SecretKey,
    genesis: Genesis,
    authority: Authority,
    port: u16,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Remote {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let invite = SecretKey::from_seed(&[3; 32]);
        let genesis = Genesis { random: [4; 32], invite_key: invite.public().to_bytes() };
        fs::write(folder.path().join("network"), genesis.to_text()).unwrap();
        let authority = Authority::new();
        authority.write(&folder.path().join("tls"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let remote = Self { folder, invite, genesis, authority, port, tasks, stop };
        remote.serve();
        remote
    }

    fn settings(&self) -> Settings {
        let mut settings = super::settings(&self.folder.path().join("data"));
        let at = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        for (name, value) in [
            ("bootstrap", "off"),
            ("networkFile", &at("network")),
            ("tlsDir", &at("tls")),
            ("adminPort", &self.port.to_string()),
            ("pairing", "assigned"),
        ] {
            settings.set(name, value).unwrap();
        }
        settings
    }

    fn serve(&self) {
        let served = Box::pin(serve(self.settings(), None, self.stop.clone()));
        self.tasks.spawn(async move { served.await.unwrap() });
    }

    async fn end(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        (self.tasks, self.stop) = (TaskTracker::new(), CancellationToken::new());
    }

    fn tls(&self) -> ClientTlsConfig {
        let authority = Certificate::from_pem(self.authority.certificate.pem());
        ClientTlsConfig::new().ca_certificate(authority).domain_name(NAME)
    }

    /// A connection of one that shows `certificate`.
    async fn connect(&self, certificate: Option<(String, String)>) -> Result<Channel, Status> {
        let tls = match certificate {
            Some((certificate, key)) => self.tls().identity(Identity::from_pem(certificate, key)),
            None => self.tls(),
        };
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", self.port)).unwrap();
        let connected = endpoint.tls_config(tls).unwrap().connect().await;
        connected.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn caller(&self) -> Channel {
        let connected = async {
            loop {
                match self.connect(Some(self.authority.caller())).await {
                    Ok(channel) => return channel,
                    Err(_starting) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), connected).await.unwrap()
    }

    /// Who answers there, when it is a node that serves.
    async fn serving(&self) -> (AdminClient<Channel>, String) {
        let answered = async {
            loop {
                let mut admin = AdminClient::new(self.caller().await);
                if let Ok(status) = admin.status(StatusRequest {}).await {
                    return (admin, status.into_inner().node_id);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap()
    }

    async fn admit(&self) -> String {
        let mut enrolment = EnrolmentClient::new(self.caller().await);
        let asks = enrolment.identify(IdentifyRequest {}).await.unwrap().into_inner();
        assert_eq!(asks.network_id, self.genesis.network().full());
        let node: NodeId = asks.node_id.parse().unwrap();
        let statement = Admission { node }.statement(&self.genesis.network());
        let forged = SecretKey::from_seed(&[9; 32]).sign(&statement).0.to_vec();
        for (signature, code) in
            [(forged, Code::PermissionDenied), (vec![1; 63], Code::InvalidArgument)]
        {
            let request = AdmitRequest { signature, ..AdmitRequest::default() };
            let refused = enrolment.admit(request).await.unwrap_err();
            assert_eq!(refused.code(), code, "{refused}");
        }
        let signature = self.invite.sign(&statement).0.to_vec();
        let spaced = AdmitRequest {
            signature: signature.clone(),
            zone: "a b".into(),
            ..AdmitRequest::default()
        };
        let refused = enrolment.admit(spaced).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let (zone, region) = ("b".to_owned(), "eu".to_owned());
        enrolment.admit(AdmitRequest { signature, zone, region }).await.unwrap();
        asks.node_id
    }

    /// Whether one with this certificate is served.
    async fn is_served(&self, certificate: Option<(String, String)>) -> bool {
        match self.connect(certificate).await {
            Ok(channel) => AdminClient::new(channel).status(StatusRequest {}).await.is_ok(),
            Err(_refused) => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_to_be_admitted_and_is_for_good() {
    let mut remote = Remote::start();
    let node = remote.admit().await;
    let (_, serving) = remote.serving().await;
    assert_eq!(serving, node);
    remote.end().await;
    remote.serve();
    assert_eq!(remote.serving().await.1, node, "it keeps key and admission");
    remote.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_to_be_admitted_stops_when_it_is_asked_to() {
    let mut remote = Remote::start();
    remote.caller().await;
    tokio::time::timeout(Duration::from_secs(30), remote.end()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_is_taken_when_the_invite_key_signed_it() {
    let mut remote = Remote::start();
    let node: NodeId = remote.admit().await.parse().unwrap();
    let (mut admin, _) = remote.serving().await;
    let wish = Wish { node, want: Want::Drain, sequence: 1 };
    let signed_by = |key: &SecretKey| {
        let signature = key.sign(&wish.statement(&remote.genesis.network())).0;
        TakeWishRequest { wish: SignedWish { wish, signature }.encode() }
    };
    let forged = signed_by(&SecretKey::from_seed(&[9; 32]));
    for (request, code) in [
        (forged, Code::PermissionDenied),
        (TakeWishRequest { wish: vec![7; 99] }, Code::InvalidArgument),
    ] {
        let refused = admin.take_wish(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    admin.take_wish(signed_by(&remote.invite)).await.unwrap();
    remote.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_node_hears_at_once_how_it_is() {
    let mut remote = Remote::start();
    let node = remote.admit().await;
    let (mut admin, _) = remote.serving().await;
    let mut reports = admin.watch(WatchRequest {}).await.unwrap().into_inner();
    let report = reports.message().await.unwrap().unwrap();
    let status = report.status.unwrap();
    assert_eq!((status.node_id, status.capacity_bytes), (node, 100 << 20));
    assert_eq!((report.pair, report.partner_health), (None, String::new()));
    let card = report.card.unwrap();
    assert_eq!((card.zone.as_str(), card.region.as_str()), ("b", "eu"), "as it was told");
    assert!(report.readings.is_some(), "at first, and then seldom");
    let as_before = async {
        loop {
            let report = reports.message().await.unwrap().unwrap();
            assert_eq!(report.readings, None);
            if report == Report::default() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), as_before).await.unwrap();
    // With the node ends what is told of it.
    remote.end().await;
    let last = async { while let Ok(Some(_)) = reports.message().await {} };
    tokio::time::timeout(Duration::from_secs(30), last).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_callers_of_the_authority_are_served_and_new_certificates_count_at_once() {
    let mut remote = Remote::start();
    remote.admit().await;
    remote.serving().await;
    let of_a_node = remote.authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    for stranger in [None, Some(Authority::new().caller()), Some(of_a_node)] {
        assert!(!remote.is_served(stranger).await);
    }
    let before = remote.authority.caller();
    assert!(remote.is_served(Some(before.clone())).await);
    remote.authority = Authority::new();
    remote.authority.write(&remote.folder.path().join("tls"));
    assert!(!remote.is_served(Some(before)).await);
    assert!(remote.is_served(Some(remote.authority.caller())).await);
    remote.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_port_without_its_certificates_is_refused_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = super::settings(folder.path());
    settings.set("adminPort", "1").unwrap();
    let alone = settings.check().unwrap_err().to_string();
    assert!(alone.contains("adminPort 1 and no tlsDir"), "{alone}");
    settings.set("tlsDir", folder.path().join("tls").to_str().unwrap()).unwrap();
    let told = super::refused(settings).await;
    assert!(told.contains("tls/ca.crt"), "{told}");
}
