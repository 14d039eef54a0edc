//! The client of this workspace and the server of this workspace.

use client::imap::command::{CommandBody, FetchSection, Secret, SectionText};
use client::imap::number::Uid;
use client::imap::response::Response;
use client::sasl::{Context, Exchange, Mechanism};
use client::{Connection, Credentials, Error, Options, Place, Tls, whole_message};
use std::path::Path;
use std::time::Duration;

use crate::support::Server;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn place(server: &Server, listener: &str) -> Place {
    let scheme = if listener == "imaps" { "imaps" } else { "imap" };
    format!("{scheme}://{}/", server.address(listener)).parse().expect("a place")
}

fn options(tls: Option<Tls>) -> Options {
    Options::new(tls)
}

fn unverified() -> Option<Tls> {
    Some(Tls::unverified().expect("TLS"))
}

fn credentials(password: &str) -> Credentials {
    Credentials::password("test", password)
}

#[test]
fn the_client_logs_in_by_the_strongest_mechanism_of_each_listener() {
    let server = Server::ephemeral(&[]);
    block_on(async {
        for (listener, tls, plus) in
            [("imap", None, false), ("imap", unverified(), true), ("imaps", unverified(), true)]
        {
            let place = place(&server, listener);
            let listed =
                Connection::open(&place, &Credentials::None, &options(tls.clone())).await.unwrap();
            assert_eq!(listed.has("AUTH=SCRAM-SHA-256-PLUS"), plus, "{listener}");
            assert_eq!(listed.channel_binding().is_some(), plus);
            let mut connection =
                Connection::open(&place, &credentials("test"), &options(tls.clone()))
                    .await
                    .unwrap();
            assert!(connection.has("QRESYNC"));
            connection.select("INBOX", false).await.unwrap();
            assert!(connection.identify().await.unwrap().exact_store);
            let refused = Connection::open(&place, &credentials("wrong"), &options(tls)).await;
            assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        }
    });
}

#[test]
fn each_mechanism_logs_in_and_a_binding_to_another_connection_does_not() {
    let server = Server::ephemeral(&[]);
    let wrong = || Binding::Is(vec![7; 32]);
    // Who has a binding and does not use it accuses the server of hiding -PLUS: none is given there.
    for (listener, mechanism, binding, passes) in [
        ("imaps", Mechanism::Plain, Binding::None, true),
        ("imaps", Mechanism::ScramSha256, Binding::None, true),
        ("imaps", Mechanism::ScramSha256, wrong(), false),
        ("imaps", Mechanism::ScramSha256Plus, wrong(), false),
        ("imaps", Mechanism::ScramSha256Plus, Binding::Own, true),
        ("imap", Mechanism::Plain, Binding::None, true),
        ("imap", Mechanism::ScramSha256Plus, Binding::Own, true),
        ("imap", Mechanism::ScramSha256Plus, wrong(), false),
    ] {
        let done = block_on(log_in(&server, listener, mechanism, binding));
        assert_eq!(done.is_ok(), passes, "{listener} {mechanism:?}: {done:?}");
    }
}

/// The channel binding that is given to a mechanism.
enum Binding {
    None,
    /// The connection's.
    Own,
    Is(Vec<u8>),
}

async fn log_in(
    server: &Server,
    listener: &str,
    mechanism: Mechanism,
    binding: Binding,
) -> Result<(), Error> {
    let (place, options) = (place(server, listener), options(unverified()));
    let mut connection = Connection::open(&place, &Credentials::None, &options).await?;
    assert!(connection.is_secure(), "imap goes on by STARTTLS");
    let own = connection.channel_binding().map(<[u8]>::to_vec);
    let binding = match binding {
        Binding::None => None,
        Binding::Own => own,
        Binding::Is(binding) => Some(binding),
    };
    let mut context = Context::new(&place.host, place.port, "fyko+d2lbbFgONRv9qkxdawL");
    context.binding = binding.as_deref();
    let exchange = Exchange::new(mechanism, &credentials("test"), &context)?;
    connection.authenticate(exchange).await
}

#[test]
fn login_works_by_tls_and_what_the_server_lacks_is_said() {
    let server = Server::ephemeral(&[]);
    block_on(async {
        let place = place(&server, "imaps");
        let opened = Connection::open(&place, &Credentials::None, &options(unverified())).await;
        let mut connection = opened.unwrap();
        let (user, password) = (b"test".to_vec(), Secret(b"test".to_vec()));
        connection.run(CommandBody::Login { user, password }).await.unwrap();
        connection.run(CommandBody::Capability).await.unwrap();
        assert!(connection.has("IDLE") && connection.has("LITERAL+"));
        assert!(matches!(connection.compress().await, Err(Error::Lacks("COMPRESS=DEFLATE"))));
        assert!(matches!(connection.notify(&[]).await, Err(Error::Lacks("NOTIFY"))));
        let token = Credentials::token("test", "abc");
        let opened = Connection::open(&place, &token, &options(unverified())).await;
        assert!(matches!(opened, Err(Error::Lacks("OAUTHBEARER or XOAUTH2"))), "{opened:?}");
    });
}

#[test]
fn only_the_certificate_that_was_named_is_trusted() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (one.path().join("data"), other.path().join("data"));
    let (here, there) = (Server::on(&one, &[]), Server::on(&other, &[]));
    let certificate = |data: &Path| Tls::only(&data.join("certificate.pem")).unwrap();
    block_on(async {
        for listener in ["imap", "imaps"] {
            let options = options(Some(certificate(&one)));
            let opened =
                Connection::open(&place(&here, listener), &Credentials::None, &options).await;
            assert!(opened.unwrap().is_secure());
            let (there, password) = (place(&there, listener), credentials("x"));
            let error = Connection::open(&there, &password, &options).await.unwrap_err();
            assert!(matches!(error, Error::Tls(_)), "{error:?}");
            let text = error.to_string();
            for part in ["127.0.0.1", "certificate", "can be named instead"] {
                assert!(text.contains(part), "{text}");
            }
        }
    });
}

#[test]
fn messages_are_streamed_both_ways_and_idle_hears_of_them() {
    let server = Server::ephemeral(&[]);
    let options = options(unverified());
    block_on(async {
        let (place, password) = (place(&server, "imaps"), credentials("test"));
        let open = || Connection::open(&place, &password, &options);
        let (mut one, mut other) = (open().await.unwrap(), open().await.unwrap());
        other.select("INBOX", false).await.unwrap();
        let mut message = b"Subject: large\r\n\r\n".to_vec();
        while message.len() < 5_000_000 {
            message.extend_from_slice(b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n");
        }
        let size = message.len() as u64;
        let appending = async {
            let mut from = message.as_slice();
            one.append_from("INBOX", &[], None, size, &mut from).await.unwrap().append_uid()
        };
        let idling = other.idle(Duration::from_secs(60));
        let (uid, told) = tokio::join!(appending, idling);
        let exists = |response: &Response| matches!(response, Response::Exists(_));
        assert!(told.unwrap().untagged.iter().any(exists));
        let uid = uid.and_then(|(_, uids)| uids.first()).and_then(Uid::new).unwrap();
        let mut back = Vec::new();
        let octets = other.fetch_body_to(uid, whole_message(), &mut back).await.unwrap();
        assert!(octets == Some(size) && back == message);
        let mut header = FetchSection { text: SectionText::Header, ..whole_message() };
        back.clear();
        other.fetch_body_to(uid, header.clone(), &mut back).await.unwrap();
        assert_eq!(back, b"Subject: large\r\n\r\n");
        header.partial = Some((9, 5));
        back.clear();
        assert_eq!(other.fetch_body_to(uid, header, &mut back).await.unwrap(), Some(5));
        assert_eq!(back, b"large");
        let nobody = Uid::new(uid.value() + 1).unwrap();
        let gone = other.fetch_body_to(nobody, whole_message(), &mut back).await;
        assert_eq!(gone.unwrap(), None);
    });
}
