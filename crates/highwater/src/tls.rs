//! TLS: the certificate, given or made at the first start, and what a handshake yields.
//!
//! # Invariants
//! - ring is the only provider; `main` installs it.
//! - TLS 1.2 at least (RFC 9325 §3.1.1), and no early data: a replayed command would act twice.
//!
//! # Standards
//! RFC 8314 (implicit TLS), RFC 9266 (`tls-exporter` channel binding).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// The certificate made for a data directory.
const CERTIFICATE_FILE: &str = "certificate.pem";
/// Its key.
const KEY_FILE: &str = "key.pem";

/// A TLS acceptor with the configured certificate, or with the data directory's own, made now if need be.
pub(crate) fn acceptor(tls: &config::Tls, data: &Path) -> Result<TlsAcceptor> {
    let (certificate, key) = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => {
            let own = (data.join(CERTIFICATE_FILE), data.join(KEY_FILE));
            if !own.0.exists() || !own.1.exists() {
                make_certificate(&own.0, &own.1)?;
            }
            own
        }
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error("certificate", &certificate, &error))?;
    if chain.is_empty() {
        bail!("{} holds no certificate in PEM; check tls.certificate", certificate.display());
    }
    let key_der =
        PrivateKeyDer::from_pem_file(&key).map_err(|error| pem_error("key", &key, &error))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .with_context(|| {
            format!("{} and {} do not belong together", certificate.display(), key.display())
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem_error(what: &str, file: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("the {what} {} cannot be read: {error}; check [tls]", file.display())
}

fn make_certificate(certificate: &Path, key: &Path) -> Result<()> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)
        .context("the self-signed certificate cannot be made")?;
    write_new(key, made.signing_key.serialize_pem().as_bytes(), 0o600)?;
    write_new(certificate, made.cert.pem().as_bytes(), 0o644)
}

/// Writes the file whole or not at all.
fn write_new(file: &Path, octets: &[u8], mode: u32) -> Result<()> {
    let unfinished = file.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&unfinished)?;
        out.write_all(octets)?;
        out.sync_all()?;
        std::fs::rename(&unfinished, file)
    };
    write().with_context(|| format!("{} cannot be written", file.display()))
}

/// The `tls-exporter` channel binding of a connection (RFC 9266 §2), when it has one.
///
/// Only TLS 1.3 gives it to every connection; in TLS 1.2 it is safe only with the extended master secret
/// (RFC 9266 §4.2), which rustls does not tell here.
pub(crate) fn channel_binding(connection: &rustls::ServerConnection) -> Option<Vec<u8>> {
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_made_once_and_kept() {
        crate::install_crypto();
        let data = tempfile::tempdir().unwrap();
        acceptor(&config::Tls::default(), data.path()).unwrap();
        let first = std::fs::read(data.path().join(CERTIFICATE_FILE)).unwrap();
        acceptor(&config::Tls::default(), data.path()).unwrap();
        assert_eq!(std::fs::read(data.path().join(CERTIFICATE_FILE)).unwrap(), first);
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let tls = config::Tls { certificate: Some("/nowhere.pem".into()), key: Some("/k".into()) };
        let error = acceptor(&tls, Path::new("/")).err().unwrap().to_string();
        assert!(error.contains("/nowhere.pem"), "{error}");
    }
}
