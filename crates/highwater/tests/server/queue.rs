//! `highwater queue` against the server: workers that share, die, hang and come too late; scripts with tokens.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Server, highwater, run_ok, text};

/// A server with the queue `Jobs` of user `test`.
struct Bench {
    server: Server,
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new(rules: &[&str]) -> Self {
        let bench = Self { server: Server::ephemeral(&[]), scratch: tempfile::tempdir().unwrap() };
        bench.ok("init", rules);
        bench
    }

    fn url(&self) -> String {
        format!("imap://test@{}/Jobs", self.server.address("imap"))
    }

    /// `highwater queue VERB URL …`
    fn command(&self, verb: &str, more: &[&str]) -> Command {
        let mut command = highwater(&[&["queue", verb, &self.url()], more].concat());
        command.env("HIGHWATER_PASSWORD", "test").env("SCRATCH", self.scratch.path());
        command
    }

    fn output(&self, verb: &str, more: &[&str]) -> Output {
        self.command(verb, more).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Runs it to its end, which must be a good one; its standard output.
    fn ok(&self, verb: &str, more: &[&str]) -> String {
        let output = self.output(verb, more);
        assert!(output.status.success(), "{verb} {more:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs it to its end, which must be this; why.
    fn refused(&self, verb: &str, more: &[&str], code: i32) -> String {
        let output = self.output(verb, more);
        assert_eq!(output.status.code(), Some(code), "{verb} {more:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    /// Puts one job for each line.
    fn put(&self, lines: &str) {
        let file = self.scratch.path().join("jobs");
        std::fs::write(&file, lines).unwrap();
        self.ok("put", &["--lines", file.to_str().unwrap()]);
    }

    /// Claims a job; its token.
    fn claim(&self, more: &[&str]) -> String {
        let told: Value =
            serde_json::from_str(&self.ok("claim", &[more, &["--json"]].concat())).unwrap();
        told["token"].as_str().unwrap().to_owned()
    }

    /// A worker whose handler is this shell script.
    fn worker(&self, options: &[&str], handler: &str) -> Worker {
        let more = [options, &["--json", "--", "sh", "-c", handler]].concat();
        let mut command = self.command("work", &more);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        Worker { child, out }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default()
    }

    fn jobs(&self) -> Value {
        serde_json::from_str::<Value>(&self.ok("stats", &["--json"])).unwrap()["jobs"].clone()
    }
}

/// A running worker; killed when dropped.
struct Worker {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    /// The next event.
    fn event(&mut self) -> Option<Value> {
        let mut line = String::new();
        let count = self.out.read_line(&mut line).unwrap();
        (count > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next event of this name.
    fn until(&mut self, name: &str) -> Value {
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
    fn rest(mut self) -> Vec<Value> {
        let events = std::iter::from_fn(|| self.event()).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        events
    }

    fn signal(&self, name: &str) {
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

fn count(events: &[Value], name: &str) -> usize {
    events.iter().filter(|event| event["event"] == name).count()
}

/// Ends when the worker does, or when told to.
const PATIENT: &str = "while kill -0 $PPID && [ ! -e $SCRATCH/go ]; do sleep 0.02; done";

#[test]
fn workers_share_the_jobs_and_each_is_done_once() {
    let bench = Bench::new(&[]);
    bench.put(&(0..60).map(|n| format!("job {n}\n")).collect::<String>());
    let handler = "tail -n 1 >>$SCRATCH/ledger";
    let workers: Vec<Worker> =
        (0..3).map(|_| bench.worker(&["-n", "2", "--until-empty"], handler)).collect();
    let events: Vec<Value> = workers.into_iter().flat_map(Worker::rest).collect();
    assert_eq!(count(&events, "acked"), 60, "{events:?}");
    let mut lines: Vec<String> =
        bench.file("ledger").lines().map(|l| l.trim().to_owned()).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 60);
    assert!(bench.jobs().as_object().unwrap().values().all(|n| n == 0));
}

#[test]
fn what_a_dead_worker_held_is_taken_over_after_its_lease() {
    let bench = Bench::new(&["--lease", "400ms"]);
    bench.put("one\n");
    let mut first = bench.worker(&["--timeout", "60s"], PATIENT);
    let claimed = first.until("claimed");
    first.signal("-KILL");
    let events =
        bench.worker(&["--until-empty"], "echo $QUEUE_ATTEMPT $QUEUE_MODSEQ >$SCRATCH/ran").rest();
    let taken = events.iter().find(|event| event["event"] == "claimed").unwrap();
    assert_eq!((&taken["taken_over"], &taken["attempt"]), (&true.into(), &2.into()));
    assert!(taken["modseq"].as_u64() > claimed["modseq"].as_u64(), "tokens rise");
    assert_eq!(bench.file("ran"), format!("2 {}\n", taken["modseq"]));
    assert_eq!(count(&events, "acked"), 1);
}

#[test]
fn a_worker_that_was_frozen_for_longer_than_its_lease_acknowledges_nothing() {
    let bench = Bench::new(&["--lease", "400ms"]);
    bench.put("one\n");
    let mut first = bench.worker(&["--timeout", "60s"], PATIENT);
    first.until("claimed");
    first.signal("-STOP");
    let mut second = bench.worker(&["--timeout", "60s"], PATIENT);
    assert_eq!(second.until("claimed")["taken_over"], true);
    std::fs::write(bench.scratch.path().join("go"), "").unwrap();
    assert_eq!(second.until("acked")["attempt"], 2);
    first.signal("-CONT");
    first.until("lost");
    first.signal("-TERM");
    assert_eq!(count(&first.rest(), "acked"), 0);
}

#[test]
fn a_token_is_good_until_somebody_else_has_one() {
    let bench = Bench::new(&["--lease", "300ms"]);
    bench.put("one\ntwo\n");
    let token = bench.claim(&[]);
    let newer = bench.ok("extend", &[&token]);
    bench.ok("ack", &[newer.trim()]);
    bench.refused("ack", &[newer.trim()], 8);
    // A person's flag voids nothing.
    let token = bench.claim(&[]);
    let uid = token.split(':').nth(1).unwrap();
    let mut person = bench.server.log_in();
    person.ok("SELECT Jobs");
    person.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
    let token = bench.ok("extend", &[&token]);
    let flags = person.ok(&format!("UID FETCH {uid} (FLAGS)")).join(" ");
    assert!(flags.contains("\\Flagged"), "{flags}");
    // Whoever waits for a lease takes over; the first one's token is void then.
    let second = bench.claim(&["--wait", "30s"]);
    assert_eq!(second.split(':').nth(1), Some(uid));
    for verb in ["ack", "nack", "extend"] {
        bench.refused(verb, &[token.trim()], 8);
    }
    bench.ok("nack", &[&second]);
    assert_eq!(bench.jobs()["resting"], 1);
    bench.refused("claim", &[], 7);
}

#[test]
fn exit_codes_of_handlers_decide() {
    let bench = Bench::new(&["--max-attempts", "2", "--backoff", "1ms..1ms"]);
    bench.put("0\n75\n65\n9\n");
    let handler = "exit $(tail -n 1 | tr -d '\\r')";
    let events = bench.worker(&["--until-empty"], handler).rest();
    let of = |name| count(&events, name);
    assert_eq!((of("acked"), of("failed"), of("buried")), (1, 2, 3), "{events:?}");
    assert_eq!(bench.ok("dead", &[]).lines().count(), 3);
    assert_eq!(bench.jobs()["dead"], 3);
    bench.ok("retry", &["--all"]);
    assert_eq!((&bench.jobs()["dead"], &bench.jobs()["ready"]), (&0.into(), &3.into()));
    bench.ok("drain", &[]);
    bench.refused("claim", &[], 7);
    bench.ok("drain", &["--off"]);
    assert_eq!(bench.ok("purge", &["--state", "ready"]), "3 jobs deleted\n");
}

#[test]
fn a_handler_that_hangs_is_ended_and_one_that_writes_much_takes_no_memory() {
    let bench = Bench::new(&["--lease", "500ms", "--max-attempts", "1"]);
    bench.put("hang\n");
    let events =
        bench.worker(&["--until-empty"], "trap '' TERM; while :; do sleep 0.02; done").rest();
    let buried = events.iter().find(|event| event["event"] == "buried").unwrap();
    assert!(buried["why"].as_str().unwrap().contains("took too long"), "{buried}");
    bench.put("much\n");
    let much = "head -c 200000000 /dev/zero; head -c 100000000 /dev/zero >&2";
    let mut worker = bench.worker(&["--timeout", "60s"], much);
    worker.until("acked");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 100_000, "{peak}");
}

#[test]
fn a_worker_that_is_asked_to_end_finishes_what_runs_and_when_pressed_gives_it_back() {
    let bench = Bench::new(&[]);
    bench.put("one\ntwo\n");
    let mut worker = bench.worker(&["--timeout", "60s"], PATIENT);
    worker.until("claimed");
    worker.signal("-TERM");
    std::fs::write(bench.scratch.path().join("go"), "").unwrap();
    assert_eq!(count(&worker.rest(), "acked"), 1);
    assert_eq!(bench.jobs()["ready"], 1);
    std::fs::remove_file(bench.scratch.path().join("go")).unwrap();
    let mut worker = bench.worker(&["--timeout", "60s"], PATIENT);
    worker.until("claimed");
    worker.signal("-TERM");
    worker.signal("-INT");
    worker.until("released");
    assert_eq!(count(&worker.rest(), "stopped"), 1);
    assert_eq!(bench.jobs()["ready"], 1, "and no attempt is counted");
    assert!(!bench.ok("ls", &[]).contains("failed"));
}

#[test]
fn jobs_with_one_key_are_one_job_and_the_urgent_go_first() {
    let bench = Bench::new(&[]);
    let put = |more: &[&str]| bench.ok("put", &[more, &["/dev/null"]].concat());
    put(&["--key", "k", "--subject", "first"]);
    assert_eq!(put(&["--key", "k"]), "put 0 jobs\n");
    put(&["--key", "k2", "--subject", "other"]);
    put(&["--priority", "2", "--subject", "urgent"]);
    put(&["--delay", "1h", "--subject", "later"]);
    // Another program does not ask before it puts.
    let copy = bench.scratch.path().join("copy");
    std::fs::write(&copy, "X-Queue-Key: k\r\nSubject: copy\r\n\r\n").unwrap();
    bench.ok("put", &["--raw", copy.to_str().unwrap()]);
    let mut worker = bench.worker(
        &["-n", "8"],
        "cat | grep Subject >>$SCRATCH/ledger; while kill -0 $PPID; do sleep 0.02; done",
    );
    let duplicate = worker.until("acked");
    assert!(duplicate["why"].as_str().unwrap().contains("same key"), "{duplicate}");
    let jobs = bench.jobs();
    assert_eq!((&jobs["running"], &jobs["delayed"]), (&3.into(), &1.into()), "{jobs}");
    assert!(!bench.file("ledger").contains("copy"));
}

#[test]
fn a_mailbox_that_is_made_anew_voids_tokens_and_is_survived() {
    let bench = Bench::new(&["--lease", "600ms"]);
    bench.put("one\n");
    let token = bench.claim(&[]);
    let mut worker = bench.worker(&[], "true");
    worker.until("registered");
    let mut person = bench.server.log_in();
    person.ok("DELETE Jobs");
    person.ok("CREATE Jobs");
    let why = bench.refused("ack", &[&token], 8);
    assert!(why.contains("made anew"), "{why}");
    bench.put("two\n");
    let acked = worker.until("acked");
    assert_ne!(acked["uidvalidity"].to_string(), token.split(':').next().unwrap());
}

/// Runs a queue command of this user and password.
fn queue_of(url: &str, password: &str, verb: &str, more: &[&str]) -> Output {
    let mut command = highwater(&[&["queue", verb, url], more].concat());
    command.env("HIGHWATER_PASSWORD", password).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

fn serve_with_bob(data: &Path) -> Server {
    let data_words = ["--data", data.to_str().unwrap()];
    run_ok(&[&["user", "add", "bob", "--password-stdin"][..], &data_words].concat(), "two\n");
    Server::on(data, &[])
}

#[test]
fn who_may_only_read_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let server = serve_with_bob(data.path());
    let of = |words: &str| {
        let words: Vec<&str> =
            words.split(' ').chain(["--data", data.path().to_str().unwrap()]).collect();
        run_ok(&words, "")
    };
    of("mailbox create --shared Jobs");
    of("mailbox acl set --shared Jobs bob lr");
    let url = format!("imap://bob@{}/Shared/Jobs", server.address("imap"));
    let output = queue_of(&url, "two", "claim", &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("only read"), "{}", text(&output.stderr));
    of("mailbox acl set --shared Jobs bob lrswite");
    let output = queue_of(&url, "two", "claim", &[]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
}

#[test]
fn a_server_without_mod_sequences_will_do_and_it_is_said_what_that_is_worth() {
    let data = tempfile::tempdir().unwrap();
    let server = serve_with_bob(data.path());
    let words = ["user", "configure", "bob", "--without", "CONDSTORE,QRESYNC,ENABLE,ID"];
    run_ok(&[&words[..], &["--data", data.path().to_str().unwrap()]].concat(), "");
    let url = format!("imap://bob@{}/Jobs", server.address("imap"));
    let run = |verb: &str, more: &[&str]| {
        let output = queue_of(&url, "two", verb, more);
        assert!(output.status.success(), "{verb}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(run("init", &[]).contains("no mod-sequences"));
    run("put", &["/dev/null"]);
    run("put", &["/dev/null"]);
    let told = run("work", &["--until-empty", "--json", "--", "true"]);
    assert_eq!(told.matches("\"event\":\"acked\"").count(), 2, "{told}");
    run("put", &["/dev/null"]);
    let token = run("claim", &[]);
    run("ack", &[token.lines().next().unwrap()]);
}

#[test]
fn no_password_and_no_trust_are_said_and_not_asked_for() {
    let url = "imaps://test@127.0.0.1:9/Jobs";
    let mut command = highwater(&["queue", "stats", url]);
    let output = command.env_remove("HIGHWATER_PASSWORD").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("HIGHWATER_PASSWORD"), "{}", text(&output.stderr));
    let bench = Bench::new(&[]);
    let url = format!("imaps://test@{}/Jobs", bench.server.address("imaps"));
    assert_eq!(queue_of(&url, "test", "stats", &["--insecure"]).status.code(), Some(0));
    let ours = bench.scratch.path().join("none.pem");
    std::fs::write(&ours, "").unwrap();
    let output = queue_of(&url, "test", "stats", &["--ca", ours.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}
