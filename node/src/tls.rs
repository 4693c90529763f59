//! Mutual TLS for the admin port: callers show a certificate of the cluster's authority that was
//! made for callers. The files are read for every connection, so that new certificates count
//! from when they are there.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handshakes at one time: whoever has no certificate can't do more than wait.
const HANDSHAKES: usize = 16;

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Before another connection is taken, when the system has no room for one.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The folder that holds `tls.crt`, `tls.key` and `ca.crt`.
#[derive(Debug, Clone)]
pub(crate) struct Tls(PathBuf);

impl Tls {
    /// The certificates in `folder`, which must be good now.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let tls = Self(folder.to_owned());
        tls.config()?;
        Ok(tls)
    }

    fn config(&self) -> Result<Arc<rustls::ServerConfig>> {
        let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>> {
            let path = self.0.join(name);
            let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
            read.with_context(|| format!("failed to read certificates from {}", path.display()))
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates("ca.crt")? {
            roots.add(authority).context("ca.crt holds no authority's certificate")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .context("callers can't be checked by ca.crt")?;
        let path = self.0.join("tls.key");
        let key = PrivateKeyDer::from_pem_file(&path)
            .with_context(|| format!("failed to read a key from {}", path.display()))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not to be had")?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates("tls.crt")?, key)
            .context("tls.crt and tls.key don't go together")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// Whoever comes to `listener` and shows a certificate, until `stop`.
    pub(crate) fn callers(
        self,
        listener: TcpListener,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
        let (opened, callers) = mpsc::channel(1);
        let shaking = tasks.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            let places = Arc::new(Semaphore::new(HANDSHAKES));
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let (stream, from) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be taken at the admin port");
                        tokio::time::sleep(AGAIN_AFTER).await;
                        continue;
                    }
                };
                let (tls, opened) = (self.clone(), opened.clone());
                shaking.spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, tls.shake(stream)).await;
                    drop(place);
                    match shaken {
                        // Nobody serves any more: the connection ends here.
                        Ok(Ok(stream)) => drop(opened.send(Ok(stream)).await),
                        Ok(Err(error)) => refused(from, &error),
                        Err(_elapsed) => refused(from, &anyhow::anyhow!("it took too long")),
                    }
                });
            }
        }));
        ReceiverStream::new(callers)
    }

    async fn shake(self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let config = tokio::task::spawn_blocking(move || self.config()).await??;
        Ok(TlsAcceptor::from(config).accept(stream).await?)
    }
}

fn refused(from: SocketAddr, error: &anyhow::Error) {
    tracing::info!(%from, error = format!("{error:#}"), "a caller of the admin port is refused");
}

/// Takes the admin port.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen at {address} for the admin API (--admin-port)"))
}
