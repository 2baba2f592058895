//! Certificates of an agent and of its clients, and HAProxy's side of TLS.

#![allow(dead_code)] // Each test file uses a part of it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use spop_agent::tls::TlsConfig;
use spop_core::ClientConfig;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::authority::Authority;
use crate::common::{Event, Peer, patiently};

/// Certificates of a server and of its clients, in a folder.
pub(crate) struct Files {
    dir: TempDir,
    pub(crate) servers: Authority,
    pub(crate) clients: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Files { dir: tempfile::tempdir().unwrap(), servers: Authority::new(), clients: Authority::new() };
        let (cert, key) = files.servers.certificate("127.0.0.1");
        files.write("cert.pem", &cert);
        files.write("key.pem", &key);
        std::fs::set_permissions(files.path("key.pem"), Permissions::from_mode(0o600)).unwrap();
        files.write("clients.pem", &files.clients.pem());
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Clients need no certificate.
    pub(crate) fn config(&self) -> TlsConfig {
        let mut config = TlsConfig::new(self.path("cert.pem"));
        config.key = Some(self.path("key.pem"));
        config
    }

    /// They need one.
    pub(crate) fn mutual(&self) -> TlsConfig {
        let mut config = self.config();
        config.client_ca = Some(self.path("clients.pem"));
        config
    }

    /// The same as options of a program.
    pub(crate) fn options(&self) -> [String; 3] {
        [("cert", "cert.pem"), ("key", "key.pem"), ("client-ca", "clients.pem")]
            .map(|(option, name)| format!("--tls-{option}={}", self.path(name).display()))
    }

    pub(crate) fn client(&self) -> Client {
        Client { roots: self.servers.pem(), own: None, versions: rustls::ALL_VERSIONS }
    }

    pub(crate) fn known_client(&self) -> Client {
        self.client().with(self.clients.certificate("haproxy"))
    }
}

pub(crate) static TLS12: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS12];

/// HAProxy's side of TLS.
pub(crate) struct Client {
    pub(crate) roots: String,
    pub(crate) own: Option<(String, String)>,
    pub(crate) versions: &'static [&'static rustls::SupportedProtocolVersion],
}

impl Client {
    pub(crate) fn with(self, own: (String, String)) -> Self {
        Client { own: Some(own), ..self }
    }

    pub(crate) async fn connect(&self, addr: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.roots.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(self.versions).unwrap().with_root_certificates(roots);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        let stream = TcpStream::connect(addr).await?;
        let name = "127.0.0.1".try_into().unwrap();
        patiently("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    pub(crate) async fn hello(&self, addr: &str) -> Peer<TlsStream<TcpStream>> {
        let mut peer = Peer::over(self.connect(addr).await.unwrap(), ClientConfig::DEFAULT);
        peer.send_own().await;
        assert_eq!(peer.event().await, Event::Hello);
        peer
    }

    /// The agent takes not a byte of SPOP from it. With TLS 1.3 the client does not know at the end of its handshake.
    pub(crate) async fn is_refused(&self, addr: &str) {
        let Ok(mut stream) = self.connect(addr).await else { return };
        let mut hello = [0; 1];
        let end = patiently("the end", stream.read(&mut hello)).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
