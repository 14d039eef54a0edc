//! Logging in: each mechanism as it stands on the wire, and what goes wrong.

use crate::script::{options, play};
use client::sasl::SaslError;
use client::{Connection, Credentials, Error, Options, Place, Tls};

fn password() -> Credentials {
    Credentials::password("tim", "tanstaaf")
}

fn token() -> Credentials {
    Credentials::token("tim", "abc")
}

async fn open(dialogue: &str, credentials: Credentials) -> Result<Connection, Error> {
    let server = play(dialogue);
    let opened = Connection::open(server.place(), &credentials, &options()).await;
    server.end();
    opened
}

#[tokio::test]
async fn plain_goes_with_the_command_or_to_the_first_challenge() {
    let connection = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello
         C: h1 AUTHENTICATE PLAIN AHRpbQB0YW5zdGFhZg==
         S: h1 OK [CAPABILITY IMAP4rev1 IDLE] done",
        password(),
    );
    assert!(connection.await.unwrap().has("IDLE"));
    let connection = open(
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello
         C: h1 AUTHENTICATE PLAIN
         S: +
         C: AHRpbQB0YW5zdGFhZg==
         S: h1 OK done
         C: h2 CAPABILITY
         S: * CAPABILITY IMAP4rev1 QRESYNC
         S: h2 OK done",
        password(),
    );
    assert!(connection.await.unwrap().has("QRESYNC"));
}

#[tokio::test]
async fn login_is_the_last_resort_and_not_said_when_it_is_disabled() {
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 LOGIN tim tanstaaf
         S: h1 NO [AUTHENTICATIONFAILED] no",
        password(),
    );
    assert!(matches!(opened.await, Err(Error::Refused(_))));
    let opened = open("S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello", password()).await;
    assert!(matches!(opened, Err(Error::Lacks(_))), "{opened:?}");
}

#[tokio::test]
async fn no_weaker_way_is_tried_and_no_ok_is_believed_without_proof() {
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN] hello
         C: h1 AUTHENTICATE SCRAM-SHA-256 biwsbj10aW0scj*
         S: h1 NO no",
        password(),
    );
    assert!(matches!(opened.await, Err(Error::Refused(_))));
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hello
         C: h1 AUTHENTICATE SCRAM-SHA-256 biwsbj10aW0scj*
         S: h1 OK come in",
        password(),
    );
    assert!(matches!(opened.await, Err(Error::Sasl(SaslError::ServerUnproven))));
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hello
         C: h1 AUTHENTICATE SCRAM-SHA-256 biwsbj10aW0scj*
         S: + cj1vdGhlcixzPVcyMlosaT00MDk2
         C: *
         S: h1 BAD cancelled",
        password(),
    );
    assert!(matches!(opened.await, Err(Error::Sasl(SaslError::Malformed(_)))));
}

#[tokio::test]
async fn a_refused_token_is_answered_and_told() {
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER AUTH=XOAUTH2] hello
         C: h1 AUTHENTICATE OAUTHBEARER bixhPXRpbSwBaG9zdD0xMjcuMC4wLjEBcG9ydD*
         S: + eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=
         C: AQ==
         S: h1 NO [AUTHENTICATIONFAILED] no",
        token(),
    );
    let Err(Error::TokenRefused { complaint, answer }) = opened.await else { panic!() };
    assert_eq!(
        (complaint.as_str(), answer.text.as_str()),
        ("{\"status\":\"invalid_token\"}", "no")
    );
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hello
         C: h1 AUTHENTICATE XOAUTH2 dXNlcj10aW0BYXV0aD1CZWFyZXIgYWJjAQE=
         S: + e30=
         C:
         S: h1 NO no",
        token(),
    );
    assert!(matches!(opened.await, Err(Error::TokenRefused { .. })));
    let opened = open(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hello
         C: h1 AUTHENTICATE XOAUTH2 dXNlcj10aW0BYXV0aD1CZWFyZXIgYWJjAQE=
         S: h1 OK [CAPABILITY IMAP4rev1] done",
        token(),
    );
    assert!(opened.await.is_ok());
}

#[tokio::test]
async fn nothing_secret_leaves_this_machine_in_clear() {
    // The name leads to this machine, and could lead to another: only addresses are known to be here.
    let server = play("S: * PREAUTH [CAPABILITY IMAP4rev1] hello");
    let place = Place { host: "0.0.0.0".into(), ..server.place().clone() };
    let opened = Connection::open(&place, &password(), &options()).await;
    assert!(matches!(opened, Err(Error::Lacks(_))), "{opened:?}");
    server.end();
}

#[tokio::test]
async fn a_server_that_says_goodbye_at_once_is_heard_and_starttls_without_tls_is_not_said() {
    let opened = open("S: * BYE [UNAVAILABLE] later", Credentials::None).await;
    assert!(matches!(&opened, Err(Error::Bye(text)) if text == "later"), "{opened:?}");
    let opened = open("S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello", Credentials::None).await;
    assert!(opened.is_ok());
}

#[tokio::test]
async fn what_is_said_in_clear_behind_starttls_ends_the_connection() {
    let server = play(
        "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello
         C: h1 STARTTLS
         S: h1 OK now
         S: * CAPABILITY IMAP4rev1 AUTH=PLAIN",
    );
    let options = Options::new(Some(Tls::unverified().expect("TLS")));
    let opened = Connection::open(server.place(), &password(), &options).await;
    assert!(matches!(opened, Err(Error::Protocol(_) | Error::Tls(_))), "{opened:?}");
    server.end();
}
