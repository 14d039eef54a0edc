//! LMTP: an answer for each recipient, octets as they were, and nothing from a broken connection.

use crate::support::Server;

#[test]
fn each_recipient_is_answered_for() {
    let server = Server::ephemeral(&["--account", "ada:x", "--account", "bob:x"]);
    let mut lmtp = server.connect("lmtp");
    assert!(lmtp.line().starts_with("220 "));
    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN ada x");
    imap.ok("CREATE Lists/Rust");
    // All in one pipeline (RFC 2033 §5).
    lmtp.send(
        "LHLO mx.example.org\r\nMAIL FROM:<eve@example.org> BODY=8BITMIME SMTPUTF8\r\n\
         RCPT TO:<ada@example.org>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<bob>\r\n\
         RCPT TO:<ada+Lists/Rust@example.org>\r\nRCPT TO:<ada+Nowhere@example.org>\r\nDATA\r\n",
    );
    let hello = lmtp.until("250 ");
    for extension in ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "SIZE"] {
        assert!(hello.iter().any(|line| line[4..].starts_with(extension)), "{hello:?}");
    }
    let codes: Vec<_> = (0..7).map(|_| lmtp.line()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "550", "250", "250", "250", "354"]);
    lmtp.send("Subject: x\r\n\r\n..dot\r\nb\n.\nare\r\n.\r\nQUIT\r\n");
    for _ in 0..4 {
        assert!(lmtp.line().starts_with("250 2.1.5"));
    }
    assert!(lmtp.line().starts_with("221"));
    assert_eq!(imap.count("INBOX"), 2);
    assert_eq!(imap.count("Lists/Rust"), 1);
    imap.ok("SELECT INBOX");
    let fetched = imap.ok("FETCH 1 BODY[]").join("\r\n");
    assert!(fetched.contains("Return-Path: <eve@example.org>\r\nReceived: from mx.example.org ("));
    assert!(fetched.contains("with UTF8LMTP;"));
    assert!(fetched.contains("Subject: x\r\n\r\n.dot\r\nb\r\n.\r\nare\r\n"), "{fetched}");
}

#[test]
fn a_connection_that_breaks_leaves_nothing() {
    let server = Server::ephemeral(&[]);
    let mut imap = server.log_in();
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    lmtp.send("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<test>\r\nDATA\r\nSubject: half\r\n\r\n");
    lmtp.until("354");
    drop(lmtp);
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    lmtp.send("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<test>\r\nDATA\r\nSubject: whole\r\n\r\n.\r\n");
    lmtp.until("250 2.1.5 Delivered");
    assert_eq!(imap.count("INBOX"), 1);
}

#[test]
fn commands_out_of_order_and_oversize_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("highwater.toml");
    std::fs::write(&file, "[limits]\nmessage = 1000\nrecipients = 1\n").unwrap();
    let server = Server::ephemeral(&["--config", file.to_str().unwrap()]);
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    let mut ask = |line: &str| {
        lmtp.send(format!("{line}\r\n"));
        lmtp.line()
    };
    assert!(ask("MAIL FROM:<a@b>").starts_with("503"));
    assert!(ask("EHLO x").starts_with("500"));
    lmtp.send("LHLO x\r\n");
    lmtp.until("250 ");
    let mut ask = |line: &str| {
        lmtp.send(format!("{line}\r\n"));
        lmtp.line()
    };
    assert!(ask("DATA").starts_with("503"));
    assert!(ask("MAIL FROM:<a@b> SIZE=1001").starts_with("552 5.3.4"));
    assert!(ask("MAIL FROM:<a@b>").starts_with("250"));
    assert!(ask("DATA").starts_with("503"));
    assert!(ask("RCPT TO:<test>").starts_with("250"));
    assert!(ask("RCPT TO:<test>").starts_with("452 4.5.3"));
    assert!(ask("DATA").starts_with("354"));
    assert!(ask(&format!("{}\r\n.", "x".repeat(2000))).starts_with("552 5.3.4"));
    assert!(ask("NOOP").starts_with("250"));
    assert!(ask(&"x".repeat(5000)).starts_with("500"));
}
