//! The client of this workspace and the server of this workspace.

use client::sasl::{Context, Exchange, Mechanism};
use client::{Connection, Credentials, Error, Options, Place, Tls};
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
    Options { tls, insecure: false, patience: Duration::from_secs(60) }
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
    // Who has a binding and does not use it accuses the server of hiding -PLUS: none is given there.
    for (mechanism, binding, passes) in [
        (Mechanism::Plain, None, true),
        (Mechanism::ScramSha256, None, true),
        (Mechanism::ScramSha256, Some(vec![7; 32]), false),
        (Mechanism::ScramSha256Plus, Some(vec![7; 32]), false),
    ] {
        let done = block_on(log_in(&server, mechanism, binding));
        assert_eq!(done.is_ok(), passes, "{mechanism:?}: {done:?}");
    }
}

async fn log_in(
    server: &Server,
    mechanism: Mechanism,
    binding: Option<Vec<u8>>,
) -> Result<(), Error> {
    let (place, options) = (place(server, "imaps"), options(unverified()));
    let mut connection = Connection::open(&place, &Credentials::None, &options).await?;
    let (host, port, nonce) = (place.host.as_str(), place.port, "fyko+d2lbbFgONRv9qkxdawL");
    let mut context = Context::new(host, port, nonce);
    context.binding = binding.as_deref();
    let exchange = Exchange::new(mechanism, &credentials("test"), &context)?;
    connection.authenticate(exchange).await
}
