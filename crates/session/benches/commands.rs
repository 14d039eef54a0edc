//! What a command costs inside the server: one session, the engine in memory, no socket.
//!
//! `cargo bench -p highwater-session --bench commands` tells times, `bench/instructions` counts. Each benchmark has its
//! answer asserted once.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a benchmark ends at the first thing that is wrong, and uses a part of the tests' runner"
)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

#[path = "speaker/speak.rs"]
mod speaker;

use speaker::Speaker;

/// Messages in the mailbox.
const MESSAGES: u32 = 10_000;
/// Of so many messages one has a word in its subject and another in its text.
const RARE: u32 = 100;

/// What `bench/instructions` counts: this function and all that it calls.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut speaker = Speaker::new();
    fill(&mut speaker);
    speaker.say("a SELECT INBOX (CONDSTORE)\r\n");
    fetch(&mut criterion, &mut speaker);
    search(&mut criterion, &mut speaker);
    store(&mut criterion, &mut speaker);
    criterion.final_summary();
}

/// Texts as people write them, plain and in HTML.
fn message(number: u32) -> String {
    let (subject, word) =
        if number.is_multiple_of(RARE) { ("harbour", "lantern") } else { ("tide", "gravel") };
    let text = format!("number {number} and the {word}, as we said\r\n").repeat(5);
    format!(
        "From: Ann Example <ann{}@example.org>\r\nTo: Bob <bob@example.org>, team@example.org\r\nSubject: Re: {subject} {number}\r\n\
         Date: Fri, 17 Jul 2026 02:44:25 -0700\r\nMessage-ID: <{number}@example.org>\r\nIn-Reply-To: <0@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
         --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>{text}</p>\r\n--b--\r\n",
        number % 50
    )
}

fn fill(speaker: &mut Speaker) {
    for batch in 0..MESSAGES / 500 {
        let numbers = batch * 500..(batch + 1) * 500;
        let command = numbers.fold("a APPEND INBOX".to_owned(), |mut command, number| {
            let (text, flags) =
                (message(number), if number.is_multiple_of(2) { "(\\Seen)" } else { "($Work)" });
            write!(command, " {flags} {{{}+}}\r\n{text}", text.len()).unwrap();
            command
        });
        speaker.say(&(command + "\r\n"));
    }
}

fn fetch(criterion: &mut Criterion, speaker: &mut Speaker) {
    let mut group = criterion.benchmark_group("fetch");
    let items = [
        "FLAGS",
        "UID FLAGS MODSEQ",
        "ENVELOPE BODYSTRUCTURE",
        "RFC822.SIZE INTERNALDATE",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]",
        "BODY.PEEK[]",
    ];
    for items in items {
        group.throughput(Throughput::Elements(MESSAGES.into()));
        group.bench_function(BenchmarkId::new(items, MESSAGES), |bencher| {
            let command = format!("a FETCH 1:* ({items})\r\n");
            assert_eq!(speaker.count(&command, " FETCH ("), MESSAGES as usize);
            bencher.iter(|| counted(|| speaker.receive(black_box(&command))));
        });
    }
}

fn search(criterion: &mut Criterion, speaker: &mut Speaker) {
    let mut group = criterion.benchmark_group("search in 10,000");
    let rare = MESSAGES / RARE;
    let searches = [
        ("UNSEEN", "UNSEEN", MESSAGES / 2),
        ("MODSEQ, all", "MODSEQ 1", MESSAGES),
        ("SINCE, all", "SINCE 1-Jan-2020", MESSAGES),
        ("SUBJECT, 100", "SUBJECT harbour", rare),
        ("BODY, 100", "BODY lantern", rare),
        ("TEXT, 100", "TEXT lantern", rare),
    ];
    for (name, key, right) in searches {
        group.bench_function(name, |bencher| {
            // Twice, since the first search makes what the others use.
            let command = format!("a UID SEARCH {key}\r\n");
            for _ in 0..2 {
                let answer = speaker.say(&command);
                let found = answer.lines().find_map(|line| line.strip_prefix("* SEARCH ")).unwrap();
                let numbers = found.split(" (").next().unwrap().split(' ').count();
                assert_eq!(numbers, right as usize, "{answer}");
            }
            bencher.iter(|| counted(|| speaker.receive(black_box(&command))));
        });
    }
}

fn store(criterion: &mut Criterion, speaker: &mut Speaker) {
    let mut group = criterion.benchmark_group("store");
    for (name, set, count) in
        [("conditional, one message", "7", 1), ("all messages", "1:*", MESSAGES)]
    {
        group.bench_function(BenchmarkId::new(name, count), |bencher| {
            let command = |sign| {
                format!("a UID STORE {set} (UNCHANGEDSINCE 9223372036854775807) {sign}FLAGS.SILENT (\\Flagged)\r\n")
            };
            let mut turns = ['+', '-'].map(command).into_iter().cycle();
            assert_eq!(speaker.count(&turns.next().unwrap(), "MODSEQ ("), count as usize);
            bencher.iter_batched(
                || turns.next().unwrap(),
                |command| counted(|| speaker.receive(&command)),
                criterion::BatchSize::PerIteration,
            );
        });
    }
}
