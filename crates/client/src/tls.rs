//! TLS for a client: whom to trust, and the handshake.
//!
//! # Invariants
//! - TLS 1.2 at least, the host's name is verified unless [`Tls::unverified`] says otherwise.
//!
//! # Standards
//! RFC 8314, RFC 9325 §3.1.1, RFC 9266 (`tls-exporter`).

use crate::error::Error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Blocking = std::net::TcpStream;
type BlockingTls = StreamOwned<ClientConnection, Blocking>;

/// Whom to trust.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Why there is no TLS.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl std::error::Error for TlsError {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Trusts the certificate authorities that the system trusts.
    ///
    /// # Errors
    /// When the system has none.
    pub fn system() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = "the system has no certificate authorities (on Debian: ca-certificates)";
            return Err(TlsError(why.into()));
        }
        Self::of(roots)
    }

    /// Trusts the certificates in this PEM file alone: an authority's, or the server's own.
    ///
    /// # Errors
    /// When the file cannot be read or holds none.
    pub fn only(file: &Path) -> Result<Self, TlsError> {
        let failed = |error: &dyn fmt::Display| TlsError(format!("{}: {error}", file.display()));
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        if roots.is_empty() {
            return Err(failed(&"it holds no certificate in PEM"));
        }
        Self::of(roots)
    }

    /// Encrypts and trusts anybody: whoever stands in between reads all.
    ///
    /// # Errors
    /// When TLS itself cannot be set up.
    pub fn unverified() -> Result<Self, TlsError> {
        let anybody = Anybody(provider());
        let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(anybody));
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }

    fn of(roots: RootCertStore) -> Result<Self, TlsError> {
        let builder = builder()?.with_root_certificates(roots);
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }

    /// The connection as one that blocks, before its handshake.
    pub(crate) fn over(&self, host: &str, stream: Blocking) -> Result<BlockingTls, TlsError> {
        let connection = ClientConnection::new(Arc::clone(&self.0), server_name(host)?)
            .map_err(|error| TlsError(error.to_string()))?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// The handshake.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = server_name(host)?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name, stream).await.map_err(|error| {
            if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                let hint = "a certificate of one's own can be named instead";
                Error::Tls(TlsError(format!("{host}: {error}; {hint}")))
            } else {
                Error::Io(error)
            }
        })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError(format!("{host} is no name that a certificate can have")))
}

/// The connection's `tls-exporter` channel binding (RFC 9266 §2), which only TLS 1.3 gives to every connection.
pub(crate) fn channel_binding(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let (_, connection) = stream.get_ref();
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder() -> Result<Builder, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider());
    builder.with_safe_default_protocol_versions().map_err(|error| TlsError(error.to_string()))
}

/// Checks that the server has the key of the certificate that it shows, and nothing more.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
