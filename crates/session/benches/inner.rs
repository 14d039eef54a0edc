//! What a command costs inside the server: one session, the engine in memory, no socket.
//!
//! `cargo bench -p highwater-session --bench inner [-- MESSAGES]` prints, for each command, the median of
//! several interleaved rounds in microseconds and, where it answers for every message, in nanoseconds a message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark prints, fails by panicking, and uses a part of the tests' runner"
)]

#[path = "../tests/runner/play.rs"]
mod runner;

use runner::here::Server;
use session::Session;
use std::time::Instant;

const ROUNDS: usize = 7;

fn say(server: &Server, session: &mut Session, command: &str) -> usize {
    let mut out = Vec::new();
    server.drive(session.receive(command.as_bytes(), &mut out)).unwrap();
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains(" OK "), "{command}: {text}");
    out.len()
}

fn main() {
    let count: u32 = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(10_000);
    let server = Server::new(Vec::new());
    let mut session = server.session();
    say(&server, &mut session, "a LOGIN alex secret\r\n");
    let message = "From: a@example.org\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nbody\r\n";
    let one = format!(" {{{}+}}\r\n{message}", message.len());
    for _ in 0..count / 500 {
        say(&server, &mut session, &format!("a APPEND INBOX{}\r\n", one.repeat(500)));
    }
    let commands = [
        ("SELECT", "a SELECT INBOX\r\n", false),
        ("NOOP", "a NOOP\r\n", false),
        ("FETCH FLAGS", "a UID FETCH 1:* (FLAGS)\r\n", true),
        ("FETCH UID FLAGS MODSEQ", "a FETCH 1:* (UID FLAGS MODSEQ)\r\n", true),
        (
            "FETCH ENVELOPE …",
            "a FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)\r\n",
            true,
        ),
        ("FETCH one body", "a FETCH 7 (BODY.PEEK[])\r\n", false),
        (
            "STORE one",
            "a STORE 7 +FLAGS.SILENT (\\Flagged)\r\nb STORE 7 -FLAGS.SILENT (\\Flagged)\r\n",
            false,
        ),
        (
            "STORE all",
            "a STORE 1:* +FLAGS.SILENT (\\Seen)\r\nb STORE 1:* -FLAGS.SILENT (\\Seen)\r\n",
            true,
        ),
        ("SEARCH UNSEEN", "a UID SEARCH UNSEEN\r\n", true),
        ("SEARCH SINCE", "a UID SEARCH SINCE 1-Jan-2024\r\n", true),
        ("SEARCH SUBJECT", "a UID SEARCH SUBJECT hello\r\n", true),
    ];
    let mut times = vec![Vec::new(); commands.len()];
    for _ in 0..ROUNDS {
        for (at, (_, command, _)) in commands.iter().enumerate() {
            let start = Instant::now();
            std::hint::black_box(say(&server, &mut session, command));
            times[at].push(start.elapsed());
        }
    }
    println!("{count} messages");
    for ((name, _, each), times) in commands.iter().zip(&mut times) {
        times.sort_unstable();
        let median = times[ROUNDS / 2];
        let per = if *each {
            format!("{:>8.0} ns a message", median.as_nanos() as f64 / f64::from(count))
        } else {
            String::new()
        };
        println!("{name:<24} {:>10.1} µs {per}", median.as_nanos() as f64 / 1000.0);
    }
}
