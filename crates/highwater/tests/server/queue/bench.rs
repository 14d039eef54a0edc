//! A server with a queue, and workers on it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Server, highwater, text};

/// A server with the queue `Jobs` of user `test`.
pub(super) struct Bench {
    pub(super) server: Server,
    pub(super) scratch: tempfile::TempDir,
    user: &'static str,
    password: &'static str,
    mailbox: &'static str,
}

impl Bench {
    pub(super) fn new(rules: &[&str]) -> Self {
        let bench = Self::on(Server::ephemeral(&[]), "test", "Jobs");
        bench.ok("init", rules);
        bench
    }

    /// A queue that is not there yet, of a user whose password that server's tests know.
    pub(super) fn on(server: Server, user: &'static str, mailbox: &'static str) -> Self {
        let password = if user == "bob" { "two" } else { "test" };
        Self { server, scratch: tempfile::tempdir().unwrap(), user, password, mailbox }
    }

    pub(super) fn url(&self) -> String {
        format!("imap://{}@{}/{}", self.user, self.server.address("imap"), self.mailbox)
    }

    /// `highwater queue VERB URL …`
    pub(super) fn command(&self, verb: &str, more: &[&str]) -> Command {
        self.command_at(&self.url(), verb, more)
    }

    fn command_at(&self, url: &str, verb: &str, more: &[&str]) -> Command {
        let mut command = highwater(&[&["queue", verb, url], more].concat());
        command.env("HIGHWATER_PASSWORD", self.password).env("SCRATCH", self.scratch.path());
        command
    }

    pub(super) fn output(&self, verb: &str, more: &[&str]) -> Output {
        self.command(verb, more).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Runs it to its end, which must be a good one; its standard output.
    pub(super) fn ok(&self, verb: &str, more: &[&str]) -> String {
        let output = self.output(verb, more);
        assert!(output.status.success(), "{verb} {more:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs it to its end, which must be this; why.
    pub(super) fn refused(&self, verb: &str, more: &[&str], code: i32) -> String {
        let output = self.output(verb, more);
        assert_eq!(output.status.code(), Some(code), "{verb} {more:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    /// Puts one job for each line.
    pub(super) fn put(&self, lines: &str) {
        let file = self.scratch.path().join("jobs");
        std::fs::write(&file, lines).unwrap();
        self.ok("put", &["--lines", file.to_str().unwrap()]);
    }

    /// Claims a job; its token.
    pub(super) fn claim(&self, more: &[&str]) -> String {
        let told: Value =
            serde_json::from_str(&self.ok("claim", &[more, &["--json"]].concat())).unwrap();
        told["token"].as_str().unwrap().to_owned()
    }

    /// A worker whose handler is this shell script.
    pub(super) fn worker(&self, options: &[&str], handler: &str) -> Worker {
        self.worker_at(&self.url(), options, handler)
    }

    /// Likewise, of a server elsewhere.
    pub(super) fn worker_at(&self, url: &str, options: &[&str], handler: &str) -> Worker {
        let more = [options, &["--json", "--", "sh", "-c", handler]].concat();
        let mut command = self.command_at(url, "work", &more);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        Worker { child, out }
    }

    pub(super) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default()
    }

    pub(super) fn jobs(&self) -> Value {
        serde_json::from_str::<Value>(&self.ok("stats", &["--json"])).unwrap()["jobs"].clone()
    }
}

/// A running worker; killed when dropped.
pub(super) struct Worker {
    pub(super) child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    /// The next event.
    pub(super) fn event(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = self.out.read_line(&mut line).unwrap();
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next event of this name.
    pub(super) fn until(&mut self, name: &str) -> Value {
        let mut others = Vec::new();
        while let Some(event) = self.event() {
            if event["event"] == name {
                return event;
            }
            others.push(event);
        }
        panic!("{name} did not come: {others:?}");
    }

    /// All events up to its end, which must be a good one.
    pub(super) fn rest(mut self) -> Vec<Value> {
        let events = std::iter::from_fn(|| self.event()).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        events
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}
