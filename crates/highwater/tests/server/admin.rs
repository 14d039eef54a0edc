//! Accounts, import and export: through a running server, and without one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::{Server, run, run_ok, text};

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An mbox with so many messages.
fn mbox(directory: &Path, count: usize) -> PathBuf {
    let mut text = String::new();
    for n in 0..count {
        let _ = write!(
            text,
            "From a@b Thu Jan  1 00:00:{:02} 1970\nSubject: {n}\nStatus: RO\nX-Keywords: $Work\n\n{}\n\n",
            n % 60,
            "x".repeat(n % 500)
        );
    }
    let file = directory.join(format!("{count}.mbox"));
    std::fs::write(&file, text).unwrap();
    file
}

/// Goes through the life of an account with this data directory.
fn life_of_an_account(data: &Path) {
    let data = path(data);
    run_ok(&["user", "add", "ada", "bob", "--password-stdin", "--data", data], "one\ntwo\n");
    let again = run(&["user", "add", "ada", "--password-stdin", "--data", data], "x\n");
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("user passwd ada"), "{}", text(&again.stderr));
    run_ok(&["user", "passwd", "bob", "--password-stdin", "--data", data], "three\n");
    run_ok(&["user", "disable", "ada", "--data", data], "");
    let list = run_ok(&["user", "list", "--json", "--data", data], "");
    assert!(
        list.contains(r#"{"disabled":true,"loopback_only":false,"name":"ada","without":[]}"#),
        "{list}"
    );
    run_ok(&["user", "enable", "ada", "--data", data], "");
    run_ok(&["user", "add", "eve", "--generate-password", "--data", data], "");
    run_ok(&["user", "delete", "eve", "--data", data], "");
    let list = run_ok(&["user", "list", "--data", data], "");
    assert_eq!(list, "ada\nbob\n");
    let nobody = run(&["user", "delete", "eve", "--data", data], "");
    assert!(text(&nobody.stderr).contains("user list"));
}

#[test]
fn accounts_are_managed_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    life_of_an_account(data.path());
    let server = Server::on(data.path(), &[]);
    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN bob three");
}

#[test]
fn accounts_are_managed_through_a_running_server() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::on(data.path(), &[]);
    life_of_an_account(data.path());
    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN bob three");
    let mut imap = server.connect("imap");
    imap.line();
    let mut inside = server.connect("imap");
    inside.line();
    inside.ok("LOGIN ada one");
    run_ok(&["user", "disable", "ada", "--data", path(data.path())], "");
    assert!(inside.line().starts_with("* BYE"), "who is logged in is sent away");
    let refused = imap.command("LOGIN ada one");
    assert!(refused[0].contains("NO [AUTHORIZATIONFAILED]"), "{refused:?}");
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    lmtp.send("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ada>\r\n");
    lmtp.until("550 5.2.1");
}

#[test]
fn a_remembered_login_ends_with_a_new_password() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::on(data.path(), &[]);
    let at = path(data.path());
    run_ok(&["user", "add", "ada", "--password-stdin", "--data", at], "one\n");
    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN ada one");
    run_ok(&["user", "passwd", "ada", "--password-stdin", "--data", at], "two\n");
    let mut imap = server.connect("imap");
    imap.line();
    let refused = imap.command("LOGIN ada one");
    assert!(refused[0].contains("NO [AUTHENTICATIONFAILED]"), "{refused:?}");
    imap.ok("LOGIN ada two");
}

#[test]
fn a_capability_can_be_switched_off_for_one_account() {
    let data = tempfile::tempdir().unwrap();
    let at = path(data.path());
    run_ok(&["user", "add", "ada", "bob", "--password-stdin", "--data", at], "one\ntwo\n");
    let server = Server::on(data.path(), &[]);
    let log_in = |login: &str| {
        let mut imap = server.connect("imap");
        imap.line();
        imap.ok(login);
        imap
    };
    let offers = |login: &str, name: &str| {
        let capabilities = log_in(login).ok("CAPABILITY").join(" ");
        capabilities.split_whitespace().any(|word| word == name)
    };
    let configure =
        |without: &str| run(&["user", "configure", "ada", "--without", without, "--data", at], "");
    let mut ada = log_in("LOGIN ada one");
    assert!(configure("qresync,Idle").status.success());
    assert!(ada.line().starts_with("* BYE"), "it is logged in anew with what is offered now");
    assert!(!offers("LOGIN ada one", "QRESYNC") && offers("LOGIN ada one", "CONDSTORE"));
    assert!(offers("LOGIN bob two", "QRESYNC"), "others are not concerned");
    let mut ada = log_in("LOGIN ada one");
    assert_eq!(ada.ok("ENABLE QRESYNC")[0], "* ENABLED");
    assert!(ada.command("SELECT INBOX (QRESYNC (1 1))")[0].contains(" BAD"));
    assert!(ada.command("IDLE")[0].contains(" BAD"));
    assert_eq!(log_in("LOGIN bob two").ok("ENABLE QRESYNC")[0], "* ENABLED QRESYNC");
    let list = run_ok(&["user", "list", "--json", "--data", at], "");
    assert!(list.contains(r#""without":["QRESYNC","IDLE"]"#), "{list}");
    let list = run_ok(&["user", "list", "--data", at], "");
    assert_eq!(list, "ada  (without QRESYNC, IDLE)\nbob\n");
    let unknown = configure("QRSYNC");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("CONDSTORE, QRESYNC"), "{}", text(&unknown.stderr));
    assert!(configure("none").status.success());
    assert!(offers("LOGIN ada one", "QRESYNC"));
}

#[test]
fn names_that_access_control_lists_use_are_not_given_to_accounts() {
    let data = tempfile::tempdir().unwrap();
    for (name, why) in [("anyone", "everyone"), ("$team", "groups"), ("#ada", "#")] {
        let add = ["user", "add", name, "--generate-password", "--data", path(data.path())];
        let refused = run(&add, "");
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_missing_data_directory_is_not_made_by_mistake() {
    let data = tempfile::tempdir().unwrap();
    let missing = data.path().join("typo");
    let output = run(&["user", "list", "--data", path(&missing)], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no data directory"));
    assert!(!missing.exists());
}

#[test]
fn the_command_line_goes_before_the_environment() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = (data.path().join("one"), data.path().join("two"));
    run_ok(&["user", "add", "ada", "--generate-password", "--data", path(&one)], "");
    run_ok(&["user", "add", "bob", "--generate-password", "--store", path(&two)], "");
    let list = |more: &[&str]| {
        let mut command = crate::support::highwater(&[&["user", "list"], more].concat());
        let output = command.env("HIGHWATER_STORE", &one).output().unwrap();
        text(&output.stdout)
    };
    assert_eq!(list(&[]), "ada\n");
    assert_eq!(list(&["--data", path(&two)]), "bob\n");
    assert_eq!(list(&["--store", path(&two)]), "bob\n");
}

#[test]
fn mbox_and_maildir_come_in_once_and_go_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let maildir = directory.path().join("Maildir");
    for (name, content) in [
        ("cur/1.a:2,FSa", "Subject: in\n\nroot\n"),
        (".Sent/cur/2.b:2,", "Subject: sent\n\nx\n"),
        (".Lists.Rust/new/3.c", "Subject: rust\n\ny\n"),
        (".Lists.Rust/cur/4.d:2,", ""),
    ] {
        let file = maildir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
    std::fs::write(maildir.join("dovecot-keywords"), "0 $Label\n").unwrap();
    let mbox = mbox(directory.path(), 300);
    let at = path(&data);
    run_ok(&["user", "add", "ada", "--password-stdin", "--data", at], "one\n");
    let offline = run(&["import", "--user", "ada", "--data", at, path(&maildir)], "");
    assert_eq!(offline.status.code(), Some(5), "the empty file is reported");
    assert!(text(&offline.stderr).contains("4.d"), "{}", text(&offline.stderr));
    assert!(text(&offline.stdout).starts_with("3 messages taken"), "{}", text(&offline.stdout));

    let server = Server::on(&data, &[]);
    let import = ["import", "--user", "ada", "--mailbox", "Old", "--data", at, path(&mbox)];
    assert!(run_ok(&import, "").starts_with("300 messages taken, 0 were there"));
    assert!(run_ok(&import, "").starts_with("0 messages taken, 300 were there"));
    let again = run(&["import", "--user", "ada", "--data", at, path(&maildir)], "");
    assert!(text(&again.stdout).starts_with("0 messages taken, 3 were there"));

    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN ada one");
    for (mailbox, count) in [("INBOX", 1), ("Sent", 1), ("Lists/Rust", 1), ("Old", 300)] {
        assert_eq!(imap.count(mailbox), count, "{mailbox}");
    }
    imap.ok("SELECT INBOX");
    let flags = imap.ok("FETCH 1 FLAGS").join("");
    for flag in ["\\Flagged", "\\Seen", "$Label"] {
        assert!(flags.contains(flag), "{flags}");
    }
    imap.ok("SELECT Old");
    let date = imap.ok("FETCH 2 (INTERNALDATE FLAGS)").join("");
    assert!(date.contains(" 1-Jan-1970 00:00:01 +0000") && date.contains("$Work"), "{date}");

    let out = directory.path().join("out");
    let export = ["export", "--user", "ada", "--format", "maildir", "--data", at, path(&out)];
    assert!(run_ok(&export, "").starts_with("303 messages written"));
    let exported = std::fs::read_dir(out.join(".Old/cur")).unwrap().count();
    assert_eq!(exported, 300);
    let root = std::fs::read_dir(out.join("cur")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(root.path()).unwrap(), "Subject: in\n\nroot\n");
}

#[test]
fn an_import_that_was_killed_and_repeated_takes_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let at = path(&data);
    let mbox = mbox(directory.path(), 3000);
    run_ok(&["user", "add", "test", "--password-stdin", "--data", at], "test\n");
    let import = ["import", "--user", "test", "--data", at, path(&mbox)];
    for _ in 0..2 {
        let server = Server::on(&data, &[]);
        let mut imap = server.log_in();
        imap.ok("SELECT INBOX");
        imap.send("i IDLE\r\n");
        imap.until("+");
        let mut running = crate::support::highwater(&import);
        let running =
            running.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut running = running.spawn().unwrap();
        // The first messages have arrived: now the server dies.
        imap.until("* ");
        server.kill();
        running.wait().unwrap();
    }
    let server = Server::on(&data, &[]);
    let done = run_ok(&import, "");
    assert!(done.contains(" 0 could not be taken"), "{done}");
    assert_eq!(server.log_in().count("INBOX"), 3000, "{done}");
}

#[test]
fn an_ephemeral_server_loads_mail() {
    let directory = tempfile::tempdir().unwrap();
    let mbox = mbox(directory.path(), 10);
    let server = Server::ephemeral(&["--load", path(&mbox)]);
    assert_eq!(server.log_in().count("INBOX"), 10);
}

#[test]
fn a_mailbox_can_be_told_to_count_every_change_as_a_conflict() {
    // [S-76], and how to switch it off.
    let data = tempfile::tempdir().unwrap();
    let at = path(data.path());
    run_ok(&["user", "add", "ada", "--password-stdin", "--data", at], "one\n");
    let server = Server::on(data.path(), &[]);
    let mut imap = server.connect("imap");
    imap.line();
    imap.ok("LOGIN ada one");
    imap.ok("APPEND INBOX {6+}\r\na: b\r\n");
    imap.ok("SELECT INBOX (CONDSTORE)");
    let answers = imap.ok("STORE 1 +FLAGS.SILENT (\\Seen)").join("\n");
    assert!(answers.contains("MODSEQ (3)"), "{answers}");
    let answer = imap.ok("STORE 1 (UNCHANGEDSINCE 2) +FLAGS.SILENT ($a)").join("\n");
    assert!(!answer.contains("MODIFIED"), "another flag changed: {answer}");
    let configure =
        ["mailbox", "configure", "--user", "ada", "--conflicts", "message", "--data", at];
    run_ok(&[&configure[..], &["INBOX"]].concat(), "");
    let answer = imap.ok("STORE 1 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Flagged)").join("\n");
    assert!(answer.contains("MODIFIED 1"), "anything counts now: {answer}");
    let nowhere = run(&[&configure[..], &["Nowhere"]].concat(), "");
    assert!(text(&nowhere.stderr).contains("LIST"), "{}", text(&nowhere.stderr));
}
