//! Beginnings and ends: signals, a directory in use, a wrong configuration, metrics.

use std::path::Path;

use crate::support::{Client, Server, run, tcp, text};

#[test]
fn sigterm_says_bye_and_exits_0() {
    let server = Server::ephemeral(&[]);
    let mut waiting = server.log_in();
    let mut idle = server.log_in();
    idle.ok("SELECT INBOX");
    idle.send("i IDLE\r\n");
    idle.until("+");
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    server.terminate();
    assert!(waiting.line().starts_with("* BYE"));
    assert!(idle.line().starts_with("* BYE"));
    assert!(lmtp.line().starts_with("421"));
    drop((waiting, idle, lmtp));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_data_directory_in_use_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let _server = Server::on(data.path(), &[]);
    let output =
        run(&["serve", "--data", data.path().to_str().unwrap(), "--imap", "127.0.0.1:0"], "");
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("in use by process"), "{}", text(&output.stderr));
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = Server::ephemeral(&[]);
    let output = run(&["serve", "--ephemeral", "--imap", server.address("imap")], "");
    assert_eq!(output.status.code(), Some(6));
    assert!(text(&output.stderr).contains(server.address("imap")));
}

#[test]
fn a_wrong_configuration_names_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("highwater.toml");
    std::fs::write(&file, "[limits]\nline = \"64 KiB\"\nlime = 1\n").unwrap();
    let output = run(&["serve", "--config", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(3));
    let error = text(&output.stderr);
    assert!(error.contains("highwater.toml:3: unknown field `lime`"), "{error}");
    assert_eq!(run(&["serve", "--imap", "localhost"], "").status.code(), Some(2));
}

#[test]
fn a_database_that_cannot_be_used_is_an_error_without_its_password() {
    let data = tempfile::tempdir().unwrap();
    for (url, code, says) in [
        ("postgres://u:secret@db.example/mail?sslmode=prefer", 3, "say verify-full, or disable"),
        ("postgres://u:secret@127.0.0.1:1/mail", 4, "cannot be reached at 127.0.0.1:1/mail"),
    ] {
        let data = data.path().to_str().unwrap();
        let output = run(&["serve", "--store", url, "--data", data], "");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
    let output = run(&["serve", "--data", "x", "--single-database"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--store postgres://"));
}

#[test]
fn the_demo_account_is_made_once_and_its_password_works() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("mail");
    let arguments =
        ["serve", "--data", path.to_str().unwrap(), "--ready-json", "--imap", "127.0.0.1:0"];
    let (out, error) = serve_once(&arguments);
    assert!(out.starts_with("{\"ready\":{\"imap\":[\"127.0.0.1:"), "{out}");
    assert!(error.contains("The account `demo` was made"), "{error}");
    let (_, error) = serve_once(&arguments);
    assert!(!error.contains("demo"), "{error}");
}

/// Serves until the ready line has come, then ends the server; what it printed.
fn serve_once(arguments: &[&str]) -> (String, String) {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;
    let free = ["--imaps", "127.0.0.1:0", "--lmtp", "127.0.0.1:0"];
    let mut child = crate::support::highwater(&[arguments, &free].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut out).unwrap();
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(child.wait().unwrap().success());
    (out, error)
}

#[test]
fn metrics_and_health_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("highwater.toml");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let server = Server::ephemeral(&["--config", file.to_str().unwrap()]);
    let mut imap = server.log_in();
    imap.ok("NOOP");
    let get = |path: &str| {
        let mut client = Client::new(tcp(server.address("http")));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        std::iter::from_fn(|| Some(client.line())).take(500).collect::<Vec<_>>().join("\n")
    };
    assert!(get("/live").starts_with("HTTP/1.1 200"));
    assert!(get("/ready").starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics");
    for name in [
        "highwater_connections{protocol=\"Imap\"} 1",
        "highwater_commands_total{name=\"NOOP\",result=\"ok\"} 1",
        "highwater_batch_sync_seconds_count",
    ] {
        assert!(metrics.contains(name), "{name} is missing in {metrics}");
    }
}

#[test]
fn an_ephemeral_server_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let entries = |path: &Path| std::fs::read_dir(path).unwrap().count();
    let mut command = crate::support::highwater(&["serve", "--ephemeral"]);
    let mut child = command
        .env("TMPDIR", temporary.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(entries(temporary.path()), 1);
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(entries(temporary.path()), 0);
}
