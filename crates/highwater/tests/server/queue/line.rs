//! Workers on bad lines: cut early, cut late, and a server that is away.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::bench::{Bench, Worker, count};
use super::{PATIENT, queue_of};
use crate::support::text;

/// Hands connections on, and cuts the first ones.
struct Line {
    port: u16,
    over: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// The n-th connection is cut after the n-th number of octets from the server, the ones after those never.
    fn new(port: u16, to: &str, cuts: &[usize]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (to, cuts) = (to.to_owned(), cuts.to_vec());
        let (ended, all) = (Arc::clone(&over), Arc::clone(&open));
        let accept = move || {
            for number in 0.. {
                let (near, _) = listener.accept().unwrap();
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let far = TcpStream::connect(&to).unwrap();
                all.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let budget = cuts.get(number).copied().unwrap_or(usize::MAX);
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || pass(near_too, far_too, usize::MAX));
                std::thread::spawn(move || pass(far, near, budget));
            }
        };
        Self { port, over, open, thread: Some(std::thread::spawn(accept)) }
    }

    fn url(&self) -> String {
        format!("imap://test@127.0.0.1:{}/Jobs", self.port)
    }

    /// Cuts all, and nobody listens any more.
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        thread.join().unwrap();
        for stream in self.open.lock().unwrap().drain(..) {
            // The other side may have ended it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands octets on until the budget is spent, then ends both.
fn pass(mut from: TcpStream, mut to: TcpStream, budget: usize) {
    let mut left = budget;
    let mut buffer = [0; 4096];
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(count @ 1..) = from.read(&mut buffer[..room]) else { break };
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count;
    }
    for one in [from, to] {
        // It may have ended already.
        let _ = one.shutdown(Shutdown::Both);
    }
}

/// Waits until the worker has said that it cannot reach the server.
fn away(worker: &mut Worker) -> String {
    worker.until("disconnected")["why"].as_str().unwrap().to_owned()
}

#[test]
fn a_worker_begins_although_its_first_lines_are_cut() {
    let bench = Bench::new(&[]);
    bench.put(&(0..300).map(|n| format!("job {n}\n")).collect::<String>());
    // Before the greeting, in it, in SELECT, in the first reading of the queue, and after that.
    let cuts = [0, 20, 900, 15_000, 40_000];
    let line = Line::new(0, bench.server.address("imap"), &cuts);
    let worker = bench.worker_at(&line.url(), &["-n", "8", "--until-empty"], "cat >/dev/null");
    let events = worker.rest();
    assert!(count(&events, "disconnected") > 0, "{events:?}");
    assert_eq!((count(&events, "registered"), count(&events, "acked")), (1, 300));
}

#[test]
fn a_worker_waits_for_a_server_that_is_away_before_and_after() {
    let bench = Bench::new(&[]);
    let to = bench.server.address("imap").to_owned();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("imap://test@127.0.0.1:{port}/Jobs");
    let mut worker = bench.worker_at(&url, &["--timeout", "60s"], PATIENT);
    assert!(away(&mut worker).contains("refused"));
    let mut line = Line::new(port, &to, &[]);
    worker.until("registered");
    bench.put("one\n");
    worker.until("claimed");
    line.end();
    away(&mut worker);
    assert!(away(&mut worker).contains("refused"));
    // What the handler's end asks for is kept until the server is back.
    std::fs::write(bench.scratch.path().join("go"), "").unwrap();
    worker.until("finished");
    let _line = Line::new(port, &to, &[]);
    worker.until("resumed");
    worker.until("acked");
    worker.signal("-TERM");
    worker.rest();
}

#[test]
fn a_worker_that_waits_for_a_server_ends_when_asked_to() {
    let bench = Bench::new(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("imap://test@127.0.0.1:{port}/Jobs");
    let mut worker = bench.worker_at(&url, &[], "true");
    away(&mut worker);
    worker.signal("-TERM");
    assert_eq!(count(&worker.rest(), "stopped"), 1);
}

#[test]
fn what_does_not_pass_by_itself_ends_a_worker_at_once() {
    let bench = Bench::new(&[]);
    let ends = |url: &str, password: &str| {
        let output = queue_of(url, password, "work", &["--", "true"]);
        let why = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{why}");
        why
    };
    let why = ends(&bench.url(), "wrong");
    assert!(why.contains("does not let this user in"), "{why}");
    let why = ends(&bench.url().replace("/Jobs", "/Nowhere"), "test");
    assert!(why.contains("Nowhere cannot be opened") && why.contains("queue init"), "{why}");
    let url = format!("imaps://test@{}/Jobs", bench.server.address("imaps"));
    let why = ends(&url, "test");
    assert!(why.contains("TLS"), "{why}");
}
