//! `highwater queue` against the server: workers that share, die, hang and come too late; scripts with tokens.

mod bench;
mod line;

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Server, highwater, run_ok, text};
use bench::{Bench, Worker, count};

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
    bench.put("0\n75\n65\n9\nkill\n");
    let handler = "set -- $(tail -n 1 | tr -d '\\r'); [ $1 != kill ] || kill -SEGV $$; exit $1";
    let events = bench.worker(&["--until-empty"], handler).rest();
    let of = |name| count(&events, name);
    assert_eq!((of("acked"), of("failed"), of("buried")), (1, 3, 4), "{events:?}");
    let crashed =
        events.iter().any(|e| e["event"] == "failed" && e["why"].to_string().contains("signal 11"));
    assert!(crashed, "{events:?}");
    assert_eq!(bench.ok("dead", &[]).lines().count(), 4);
    assert_eq!(bench.jobs()["dead"], 4);
    bench.ok("retry", &["--all"]);
    assert_eq!((&bench.jobs()["dead"], &bench.jobs()["ready"]), (&0.into(), &4.into()));
    bench.ok("drain", &[]);
    bench.refused("claim", &[], 7);
    bench.ok("drain", &["--off"]);
    assert_eq!(bench.ok("purge", &["--state", "ready"]), "4 jobs deleted\n");
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
    let much = "head -c 600000000 /dev/zero; head -c 400000000 /dev/zero >&2";
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

#[test]
fn a_new_uidvalidity_under_running_handlers_voids_their_claims_and_the_jobs_run_again() {
    let data = tempfile::tempdir().unwrap();
    let bench = Bench::on(serve_with_bob(data.path()), "bob", "Shared/Jobs");
    let of = |words: &str| {
        let words: Vec<&str> =
            words.split(' ').chain(["--data", data.path().to_str().unwrap()]).collect();
        run_ok(&words, "")
    };
    for mailbox in ["Jobs", "Jobs/Dead"] {
        of(&format!("mailbox create --shared {mailbox}"));
        of(&format!("mailbox acl set --shared {mailbox} bob lrswite"));
    }
    bench.ok("init", &["--lease", "900ms"]);
    bench.put("one\ntwo\n");
    let mut worker = bench.worker(&["-n", "2", "--timeout", "60s"], PATIENT);
    let old = worker.until("claimed")["uidvalidity"].clone();
    worker.until("claimed");
    of("mailbox configure --shared Jobs --seen private");
    let lost = [worker.until("lost"), worker.until("lost")];
    assert!(lost.iter().all(|event| event["uidvalidity"] == old), "{lost:?}");
    std::fs::write(bench.scratch.path().join("go"), "").unwrap();
    let acked = [worker.until("acked"), worker.until("acked")];
    assert!(acked.iter().all(|event| event["uidvalidity"] != old), "{acked:?}");
    assert_ne!(acked[0]["uid"], acked[1]["uid"]);
    worker.signal("-TERM");
    worker.rest();
    assert!(bench.jobs().as_object().unwrap().values().all(|n| n == 0));
}

/// Runs a queue command of this user and password.
fn queue_of(url: &str, password: &str, verb: &str, more: &[&str]) -> Output {
    let mut command = highwater(&[&["queue", verb, url], more].concat());
    command.env("HIGHWATER_PASSWORD", password).stdin(Stdio::null());
    command.output().expect("the binary runs")
}

#[test]
fn a_queue_can_be_watched_and_counted_by_programs() {
    let bench = Bench::new(&[]);
    bench.put("one\ntwo\n");
    bench.claim(&[]);
    let lines = bench.ok("top", &["--count", "2", "--interval", "100ms"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.starts_with("ready 1  delayed 0  running 1 "), "{lines}");
    // Whoever watched has seen enough.
    let mut command = bench.command("top", &["--interval", "100ms"]);
    let mut watching = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    drop(watching.stdout.take());
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let told = bench.ok("stats", &["--prometheus"]);
    let samples = told.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = samples.map(|line| line.rsplit_once(' ').unwrap()).collect();
    assert!(samples.iter().all(|(_, value)| value.parse::<f64>().is_ok()), "{told}");
    assert!(samples.contains(&("highwater_queue_jobs{state=\"running\"}", "1")), "{told}");
    assert!(samples.contains(&("highwater_queue_workers", "1")), "{told}");
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
    for (verb, more) in [("claim", &[][..]), ("work", &["--", "true"])] {
        let output = queue_of(&url, "two", verb, more);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("only read"), "{}", text(&output.stderr));
    }
    // Who may mark but not register is told what is missing.
    of("mailbox acl set --shared Jobs bob lrsw");
    let output = queue_of(&url, "two", "work", &["--", "true"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("needs the rights"), "{}", text(&output.stderr));
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
    let worth = "it has no mod-sequences";
    assert!(run("init", &[]).contains(worth));
    assert!(run("stats", &[]).contains(worth));
    let output = queue_of(&url, "two", "work", &["--until-empty", "--", "true"]);
    assert!(text(&output.stderr).contains(worth), "{}", text(&output.stderr));
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
