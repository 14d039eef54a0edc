//! IMAP: greeting, login by every mechanism, STARTTLS, limits.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};

use crate::support::{Client, Server, tls};

#[test]
fn a_client_logs_in_and_out() {
    let server = Server::ephemeral(&[]);
    let mut client = server.connect("imap");
    assert!(client.line().starts_with("* OK [CAPABILITY IMAP4rev1 STARTTLS"));
    let refused = client.command("LOGIN test wrong");
    assert!(refused[0].contains("NO [AUTHENTICATIONFAILED]"), "{refused:?}");
    let refused = client.command("LOGIN nobody wrong");
    assert!(refused[0].contains("NO [AUTHENTICATIONFAILED]"), "{refused:?}");
    client.ok("LOGIN test test");
    client.ok("SELECT INBOX");
    assert!(client.ok("LOGOUT")[0].starts_with("* BYE"));
    assert_eq!(client.line(), "");
}

#[test]
fn plain_is_checked_with_and_without_initial_response() {
    let server = Server::ephemeral(&["--account", "ada:secret"]);
    let mut client = server.connect_tls();
    client.line();
    let answer = BASE64_STANDARD.encode("\0ada\0secret");
    client.ok(&format!("AUTHENTICATE PLAIN {answer}"));
    let mut client = server.connect_tls();
    client.line();
    client.send("x AUTHENTICATE PLAIN\r\n");
    assert_eq!(client.line(), "+");
    client.send(format!("{answer}\r\n"));
    assert!(client.line().starts_with("x OK"));
    let mut client = server.connect_tls();
    client.line();
    let other = BASE64_STANDARD.encode("root\0ada\0secret");
    let refused = client.command(&format!("AUTHENTICATE PLAIN {other}"));
    assert!(refused[0].contains("NO [AUTHORIZATIONFAILED]"), "{refused:?}");
}

#[test]
fn what_was_sent_in_clear_text_behind_starttls_is_never_heard() {
    let server = Server::ephemeral(&[]);
    let mut client = server.connect("imap");
    client.line();
    client.send("a STARTTLS\r\nb LOGIN test test\r\nc NOOP\r\n");
    assert!(client.line().starts_with("a OK"));
    let mut client = Client::new(tls(client.into_inner()));
    client.send("d CAPABILITY\r\n");
    let capabilities = client.line();
    assert!(capabilities.starts_with("* CAPABILITY IMAP4rev1 AUTH="), "{capabilities}");
    assert!(!capabilities.contains("STARTTLS"));
    assert!(client.line().starts_with("d OK"));
    let refused = client.command("SELECT INBOX");
    assert!(!refused[0].contains(" OK"), "the injected LOGIN was heard: {refused:?}");
    client.ok("LOGIN test test");
}

/// The client's half of SCRAM; answers the last line, after the server's proof was checked.
fn scram<S: std::io::Read + std::io::Write>(
    client: &mut Client<S>,
    mechanism: &str,
    header: &str,
    binding: &[u8],
    password: &str,
) -> String {
    let bare = "n=test,r=abcdef";
    let first = BASE64_STANDARD.encode(format!("{header}{bare}"));
    client.send(format!("s AUTHENTICATE {mechanism} {first}\r\n"));
    let line = client.line();
    let Some(challenge) = line.strip_prefix("+ ") else { return line };
    let challenge = String::from_utf8(BASE64_STANDARD.decode(challenge).unwrap()).unwrap();
    let mut parts = challenge.split(',');
    let nonce = parts.next().unwrap();
    let salt = BASE64_STANDARD.decode(&parts.next().unwrap()[2..]).unwrap();
    let iterations: u32 = parts.next().unwrap()[2..].parse().unwrap();
    assert_eq!(iterations, 65_536, "as many as libsasl2 takes");
    let mut salted = [0; 32];
    let rounds = iterations.try_into().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let client_key = mac(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let bound = BASE64_STANDARD.encode([header.as_bytes(), binding].concat());
    let without_proof = format!("c={bound},{nonce}");
    let message = format!("{bare},{challenge},{without_proof}");
    let signature = mac(stored_key.as_ref(), &message);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    let last = format!("{without_proof},p={}", BASE64_STANDARD.encode(proof));
    client.send(format!("{}\r\n", BASE64_STANDARD.encode(last)));
    let line = client.line();
    let Some(verifier) = line.strip_prefix("+ ") else { return line };
    let expected = BASE64_STANDARD.encode(mac(&mac(&salted, "Server Key"), &message));
    assert_eq!(BASE64_STANDARD.decode(verifier).unwrap(), format!("v={expected}").into_bytes());
    client.send("\r\n");
    client.line()
}

#[test]
fn scram_proves_both_sides() {
    let server = Server::ephemeral(&[]);
    let mut client = server.connect_tls();
    client.line();
    let refused = scram(&mut client, "SCRAM-SHA-256", "n,,", b"", "wrong");
    assert!(refused.starts_with("s NO [AUTHENTICATIONFAILED]"), "{refused}");
    let done = scram(&mut client, "SCRAM-SHA-256", "n,,", b"", "test");
    assert!(done.starts_with("s OK"), "{done}");
    client.ok("SELECT INBOX");
}

#[test]
fn scram_plus_is_bound_to_the_connection() {
    let server = Server::ephemeral(&[]);
    let connect = || {
        let mut client = server.connect_tls();
        assert!(client.line().contains("AUTH=SCRAM-SHA-256-PLUS"));
        let binding = client.inner().conn.export_keying_material(
            vec![0; 32],
            b"EXPORTER-Channel-Binding",
            None,
        );
        (client, binding.unwrap())
    };
    let (mechanism, header) = ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,");
    let (mut client, binding) = connect();
    let (mut other, _) = connect();
    let elsewhere = scram(&mut other, mechanism, header, &binding, "test");
    assert!(elsewhere.starts_with("s NO [AUTHENTICATIONFAILED]"), "{elsewhere}");
    let done = scram(&mut client, mechanism, header, &binding, "test");
    assert!(done.starts_with("s OK"), "{done}");
    let downgraded = scram(&mut other, "SCRAM-SHA-256", "y,,", b"", "test");
    assert!(downgraded.starts_with("s NO"), "{downgraded}");
}

#[test]
fn limits_are_answered_with_bye() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("highwater.toml");
    let text =
        "[limits]\nconnections = 3\nconnections_per_account = 1\ntime_before_login = \"1 s\"\n";
    std::fs::write(&file, text).unwrap();
    let server = Server::ephemeral(&["--config", file.to_str().unwrap()]);
    let mut first = server.log_in();
    let mut second = server.connect("imap");
    second.line();
    second.send("a LOGIN test test\r\n");
    let bye = second.until("* BYE");
    assert!(bye[bye.len() - 1].contains("[LIMIT]"), "{bye:?}");
    drop(second);
    let mut silent = server.connect("imap");
    silent.line();
    assert!(silent.line().starts_with("* BYE"), "a client that does not log in is sent away");
    let mut inside = Vec::new();
    let refused = loop {
        let mut client = server.connect("imap");
        let greeting = client.line();
        if greeting.starts_with("* BYE") {
            break greeting;
        }
        inside.push(client);
    };
    assert!(refused.contains("[LIMIT]"), "{refused}");
    first.ok("NOOP");
}

#[test]
fn without_switches_a_capability_off() {
    let server = Server::ephemeral(&["--without", "IDLE"]);
    let mut client = server.log_in();
    assert!(!client.ok("CAPABILITY")[0].contains("IDLE"));
}

#[test]
fn a_client_that_never_reads_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("highwater.toml");
    std::fs::write(&file, "[limits]\ntime_to_write = \"1 s\"\n").unwrap();
    let server = Server::ephemeral(&["--config", file.to_str().unwrap()]);
    let mut client = server.log_in();
    let message = "x".repeat(8 << 20);
    client.send(format!("a APPEND INBOX {{{}+}}\r\n{message}\r\n", message.len()));
    client.until("a OK");
    client.ok("SELECT INBOX");
    client.send("b FETCH 1 BODY.PEEK[]\r\n".repeat(8));
    // Nothing is read until the server has hung up: then a write fails.
    let stream = client.into_inner();
    let hung_up = |stream: &std::net::TcpStream| {
        std::io::Write::write_all(&mut &*stream, b"c NOOP\r\n").is_err()
    };
    while !hung_up(&stream) {
        std::thread::yield_now();
    }
    server.log_in().ok("NOOP");
}
