//! What a program sees of the library wherever it looks: no secrets in Debug, errors that say what and where.

use crate::script::{options, play};
use client::imap::command::{Command, CommandBody, Secret, Tag};
use client::sasl::{Context, Exchange, Mechanism};
use client::{Connection, Conversation, Credentials, Error, Place, Tls};
use std::error::Error as _;
use std::fmt::Debug;

const SECRET: &str = "tanstaaf";

fn silent(shown: &dyn Debug) {
    let text = format!("{shown:?}");
    // As it is, in base64 wherever it stands in it, and as octets.
    for secret in [SECRET, "dGFuc3RhYW", "0YW5zdGFhZ", "RhbnN0YWFm", "116, 97, 110"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let password = Credentials::password("tim", SECRET);
    let token = Credentials::token("tim", SECRET);
    for credentials in [&password, &token] {
        silent(credentials);
        assert!(format!("{credentials:?}").contains("tim"));
    }
    silent(&Secret(SECRET.into()));
    silent(&format!("imaps://tim:{SECRET}@mail.example/").parse::<Place>().expect("a place"));
    let context = Context::new("mail.example", 993, "abc");
    for (mechanism, credentials) in [
        (Mechanism::Plain, &password),
        (Mechanism::ScramSha256, &password),
        (Mechanism::OAuthBearer, &token),
        (Mechanism::XOAuth2, &token),
    ] {
        let exchange = Exchange::new(mechanism, credentials, &context).expect("an exchange");
        silent(&exchange);
        silent(&exchange.initial());
    }
    let login = CommandBody::Login { user: b"tim".to_vec(), password: Secret(SECRET.into()) };
    silent(&Command { tag: Tag("a".into()), body: login.clone() });
    let mut conversation = Conversation::default();
    conversation.receive(b"* OK hello\r\n").expect("a greeting");
    let _ = conversation.submit(login);
    silent(&conversation);
    silent(&options());
    silent(&Tls::unverified().expect("TLS"));
}

#[tokio::test]
async fn a_connection_that_has_logged_in_shows_no_secret_and_records_none() {
    let server = play(&format!(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 LOGIN tim {SECRET}
         S: h1 OK done
         C: h2 CAPABILITY
         S: * CAPABILITY IMAP4rev1
         S: h2 OK done"
    ));
    let credentials = Credentials::password("tim", SECRET);
    let opened = Connection::open(server.place(), &credentials, &options()).await;
    let connection = opened.expect("a connection");
    silent(&connection);
    assert!(connection.recorded().is_empty());
    server.end();
}

#[tokio::test]
async fn an_error_says_where_and_what_its_source_does_not_say_again() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let place: Place = format!("imap://{address}/").parse().expect("a place");
    let error = Connection::open(&place, &Credentials::None, &options()).await.expect_err("nobody");
    assert!(matches!(error, Error::Io(_)) && error.is_fatal());
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
    let source = error.source().map(ToString::to_string);
    assert!(source.is_none_or(|source| !text.contains(&source)), "{text}");
    let refused = play(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 EXAMINE Nowhere
         S: h1 NO [NONEXISTENT] no such mailbox",
    );
    let opened = Connection::open(refused.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let synced = client::mirror::Mirror::new("Nowhere").sync(&mut connection).await;
    let error = synced.expect_err("no mailbox");
    assert_eq!(error.to_string(), "the server answered NO: no such mailbox");
    assert!(error.code().is_some() && !error.is_fatal());
    refused.end();
}

#[test]
fn everything_can_go_to_another_thread_and_errors_are_errors() {
    fn sent<T: Send + Sync + Debug>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    sent::<Conversation>();
    sent::<client::mirror::Mirror>();
    sent::<client::StoreOutcome>();
    sent::<Credentials>();
    fn moved<T: Send + Debug>() {}
    moved::<Connection>();
    moved::<client::queue::Queue>();
    moved::<client::StoreRequest<'_>>();
    error::<Error>();
    error::<client::PlaceError>();
    error::<client::TlsError>();
    error::<client::sasl::SaslError>();
    error::<client::queue::QueueError>();
}
