//! Where the database is: a `postgres://` URL, as libpq has it, and how TLS is spoken there.
//!
//! `postgres://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/DATABASE[?PARAMETER=VALUE&…]`
//!
//! Of libpq's parameters for TLS there are `sslmode` (`disable` or `verify-full`), `sslrootcert`, `sslcert` and
//! `sslkey`. Without `sslmode` it is `disable` for a unix socket and the loopback addresses, else `verify-full`. Of
//! several hosts the one that can be written to is taken.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::OpenError;

/// A database server, or several of which one is the primary.
pub(crate) struct Place {
    pub(crate) config: Config,
    /// `None` when TLS is not spoken.
    pub(crate) tls: Option<MakeRustlsConnect>,
    /// Hosts, ports and database: what may be shown.
    pub(crate) shown: String,
}

/// What the URL says of TLS.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

/// What each session is set to. A pooler that drops this is found out by [`crate::link`].
const SESSION: &str = "-c synchronous_commit=on -c lock_timeout=5000 \
    -c idle_in_transaction_session_timeout=5000 -c statement_timeout=30000 \
    -c default_transaction_isolation=read\\ committed -c client_min_messages=warning";

impl Place {
    /// Reads the URL. `name` is what the server shows of the connection.
    pub(crate) fn parse(url: &str, name: &str, durable: bool) -> Result<Self, OpenError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            let why = "it has another form than postgres://USER@HOST/DATABASE";
            return Err(OpenError::Url(why.into()));
        }
        let (plain, tls) = split(url)?;
        let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| {
            OpenError::Url(format!(
                "{}: see docs/cluster.md for its form",
                crate::error::text(&error)
            ))
        })?;
        if config.get_hosts().is_empty() {
            return Err(OpenError::Url("it names no host: postgres://USER@HOST/DATABASE".into()));
        }
        if config.get_options().is_some() {
            return Err(OpenError::Url("`options` is Highwater's own: leave it out".into()));
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        let session =
            if durable { SESSION.to_owned() } else { SESSION.replace("commit=on", "commit=off") };
        config
            .application_name(name)
            .options(session)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(Duration::from_secs(3))
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(2)
            .tcp_user_timeout(Duration::from_secs(10));
        let with_tls = match tls.mode.as_deref() {
            Some("disable") => false,
            Some("verify-full") => true,
            None => {
                let addresses = config.get_hostaddrs();
                !config.get_hosts().iter().all(is_near)
                    || !addresses.iter().all(IpAddr::is_loopback)
            }
            Some(other) => {
                return Err(OpenError::Url(format!(
                    "sslmode={other} would trust whoever answers: say verify-full, or disable"
                )));
            }
        };
        config.ssl_mode(if with_tls { SslMode::Require } else { SslMode::Disable });
        let shown = shown(&config);
        let tls = with_tls.then(|| tls.connector()).transpose()?;
        Ok(Self { config, tls, shown })
    }
}

/// The URL without what is said of TLS, and that.
fn split(url: &str) -> Result<(String, TlsParameters), OpenError> {
    let mut tls = TlsParameters::default();
    let Some((head, query)) = url.split_once('?') else { return Ok((url.to_owned(), tls)) };
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "sslmode" => &mut tls.mode,
            "sslrootcert" => &mut tls.root,
            "sslcert" => &mut tls.certificate,
            "sslkey" => &mut tls.key,
            "target_session_attrs" if value == "read-write" => continue,
            "target_session_attrs" => {
                let why = "a node writes: target_session_attrs can only be read-write";
                return Err(OpenError::Url(why.into()));
            }
            _ => {
                rest.push(pair);
                continue;
            }
        };
        *slot = Some(decoded(value)?);
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{head}{mark}{}", rest.join("&")), tls))
}

/// Percent-encoding taken away.
fn decoded(value: &str) -> Result<String, OpenError> {
    let bad = || OpenError::Url(format!("{value}: a percent sign stands before two hex digits"));
    let mut octets = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (hex, more) = more.split_at_checked(2).ok_or_else(bad)?;
        let hex = std::str::from_utf8(hex).map_err(|_| bad())?;
        octets.push(u8::from_str_radix(hex, 16).map_err(|_| bad())?);
        rest = more;
    }
    String::from_utf8(octets).map_err(|_| bad())
}

/// Whether nobody stands between.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let host = |(at, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(path) => format!("{}:{}", path.display(), port(at)),
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

impl TlsParameters {
    fn connector(&self) -> Result<MakeRustlsConnect, OpenError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.root {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unreadable(path, &error))?;
            }
        } else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why =
                    "this machine has no certificates to trust: name some with sslrootcert=FILE";
                return Err(OpenError::Tls(why.into()));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| OpenError::Tls(error.to_string()))?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let secret =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| unreadable(certificate, &error))?
            }
            _ => return Err(OpenError::Url("sslcert and sslkey belong together".into())),
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))?;
    if all.is_empty() {
        return Err(OpenError::Tls(format!("{path} holds no certificate in PEM")));
    }
    Ok(all)
}

fn unreadable(path: &str, why: &dyn std::fmt::Display) -> OpenError {
    OpenError::Tls(format!("{path} cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, String> {
        Place::parse(url, "test", true).map_err(|error| error.to_string())
    }

    fn tls_at(url: &str) -> bool {
        place(url).unwrap().tls.is_some()
    }

    #[test]
    fn tls_is_the_rule_where_somebody_may_stand_between() {
        let far = place("postgres://u@db.example.org/mail?sslmode=disable").unwrap();
        assert!(far.tls.is_none());
        assert!(place("postgres://u@127.0.0.1:1234/mail").unwrap().tls.is_none());
        assert!(
            place("postgres://u@db/mail?sslmode=prefer").is_err_and(|why| why.contains("prefer"))
        );
        let elsewhere = "postgres://u@localhost/mail?hostaddr=192.0.2.1";
        assert!(
            place(elsewhere).is_err_and(|why| why.contains("certificates")) || tls_at(elsewhere)
        );
        let missing = place("postgres://u@db/mail?sslrootcert=%2Fno%2Fsuch");
        assert!(missing.is_err_and(|why| why.contains("/no/such")));
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let url =
            "postgres://u:secret@one:1,two:2/mail?sslmode=disable&target_session_attrs=read-write";
        let place = place(url).unwrap();
        assert_eq!(place.shown, "one:1,two:2/mail");
        assert_eq!(place.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn bad_urls_are_explained() {
        for (url, word) in [
            ("postgres:///mail", "host"),
            ("host=h dbname=mail", "postgres://"),
            ("postgres://u@h/mail?options=-c", "options"),
            ("postgres://u@h/mail?target_session_attrs=any", "read-write"),
            ("postgres://u@h/mail?sslcert=a", "sslkey"),
            ("postgres://u@h/mail?sslmode=%zz", "hex"),
            ("postgres://u@h:port/mail", "port"),
        ] {
            let why = place(url).err().unwrap_or_default();
            assert!(why.contains(word), "{url}: {why}");
        }
    }
}
