//! `highwater replay` against a server of ours: what it tells, what it leaves behind, how it ends.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Server, highwater, text};

/// `replay` with these arguments, and last a listener of the server.
fn replay(server: &Server, listener: &str, arguments: &[&str]) -> Command {
    let scheme = if listener == "imaps" { "imaps" } else { "imap" };
    let url = format!("{scheme}://test@{}", server.address(listener));
    let mut command = highwater(&["replay", "--insecure"]);
    command.args(arguments).arg(url).env("HIGHWATER_PASSWORD", "test");
    command
}

/// The mailboxes that there are.
fn mailboxes(server: &Server) -> String {
    server.log_in().ok("LIST \"\" *").join("\n")
}

fn file(folder: &tempfile::TempDir, dialogues: &str) -> String {
    let path = folder.path().join("dialogues.txt");
    std::fs::write(&path, dialogues).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One dialogue that holds, one that does not, one that cannot be played.
const THREE: &str = "\
== holds\n# RFC 7162 §3.1.3 [S-63].\nfive INBOX\nC1: a SELECT INBOX (CONDSTORE)\nS1: ...\nS1: a OK\n\
== does not\n# RFC 3501 §6.4.\nmailbox Box 2\nC1: a SELECT Box\nS1: * 3 EXISTS\nS1: ...\nS1: a OK\n\
== cannot be\nneeds X-NOBODY\nC1: a NOOP\nS1: a OK\n";

#[test]
fn our_own_dialogues_hold_with_tls_from_the_first_octet_and_by_starttls() {
    let server = Server::ephemeral(&[]);
    for listener in ["imap", "imaps"] {
        let only = ["--builtin", "--only", "§3.2.5"];
        let output = replay(&server, listener, &only).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        assert!(out.contains("§3.2.5.2") && out.contains(" 0 failed, "), "{out}");
    }
}

#[test]
fn what_does_not_hold_is_told_in_words_in_json_and_in_junit_and_nothing_stays() {
    let server = Server::ephemeral(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (file, junit) = (file(&folder, THREE), folder.path().join("junit.xml"));
    let before = mailboxes(&server);
    let output = replay(&server, "imaps", &[&file]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.ends_with("1 passed, 1 failed, 1 skipped\n"), "{out}");
    assert!(out.contains("dialogues.txt:11: does not"), "{out}");
    assert!(out.contains("came  * 2 EXISTS"), "{out}");
    assert!(out.contains("skipped 1: the server does not offer X-NOBODY"), "{out}");

    let arguments = ["--json", "--junit", junit.to_str().unwrap(), &file];
    let output = replay(&server, "imaps", &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["dialogues"][1]["failure"]["line"], 11);
    assert_eq!((&told["passed"], &told["skipped"]), (&1.into(), &1.into()));
    let xml = std::fs::read_to_string(junit).unwrap();
    let xml = roxmltree::Document::parse(&xml).unwrap();
    let failures = xml.descendants().filter(|node| node.has_tag_name("failure"));
    assert_eq!(failures.count(), 1);

    assert_eq!(mailboxes(&server), before);
}

#[test]
fn what_cannot_be_played_is_told_with_its_place() {
    let server = Server::ephemeral(&[]);
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(&folder, "five INBOX\nC1: a NOOP\nnonsense\n");
    let ends = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    assert!(ends(&mut replay(&server, "imap", &[&wrong])).contains("dialogues.txt:3: "));
    assert!(
        ends(&mut replay(&server, "imap", &["--only", "nothing has this", "--builtin"]))
            .contains("nothing to play")
    );
    let mut stranger = replay(&server, "imap", &["--builtin"]);
    assert!(ends(stranger.env("HIGHWATER_PASSWORD", "wrong")).contains("LOGIN"));
    let mut silent = replay(&server, "imap", &["--builtin"]);
    assert!(ends(silent.env_remove("HIGHWATER_PASSWORD")).contains("--password-file"));
    let mut verified = highwater(&["replay", "--builtin"]);
    verified.arg(format!("imaps://test@{}", server.address("imaps")));
    assert!(ends(verified.env("HIGHWATER_PASSWORD", "test")).contains("certificate"));
}

#[test]
fn scratch_mailboxes_are_taken_away_when_it_is_interrupted() {
    let server = Server::ephemeral(&[]);
    let folder = tempfile::tempdir().unwrap();
    let waits =
        file(&folder, "mailbox Box 1\nC1: a SELECT Box\nS1: ...\nS1: a OK\nS1: * 9 EXISTS\n");
    let before = mailboxes(&server);
    let mut command = replay(&server, "imap", &["--patience", "600", &waits]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has begun when its mailbox is there.
    let begun = (0..1_000_000).any(|_| mailboxes(&server).contains("highwater-replay-"));
    assert!(begun);
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("interrupted"));
    assert_eq!(mailboxes(&server), before);
}
