//! What it costs to take a message apart: its structure at arrival, and its text when it is searched.
//!
//! The messages are the real ones that the tests of mail clients use (`tests/kit/corpus.py`), which are fetched once;
//! where they cannot be had, only the message that is made here is measured.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark ends at the first thing that is wrong"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use criterion::{BenchmarkId, Criterion, Throughput};
use imap::message::{Structure, analyse, searchable_text};

/// Real messages that are measured: the shorter ones, so that a few long ones are not all of it.
const REAL: usize = 100;

/// What `bench/instructions` counts: this function and all that it calls.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    made(&mut criterion);
    real(&mut criterion);
    criterion.final_summary();
}

/// A message of two texts and an attachment of 30 KiB in base64.
fn with_attachment() -> Vec<u8> {
    let base64 = format!("{}\r\n", "QUJD".repeat(19)).repeat(400);
    format!(
        "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>, team@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?= plan\r\n\
         Date: Fri, 17 Jul 2026 02:44:25 -0700\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\
         Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nthe plan is attached\r\n--inner\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<p>the plan is attached</p>\r\n--inner--\r\n--outer\r\n\
         Content-Type: application/pdf; name=plan.pdf\r\nContent-Disposition: attachment; filename=plan.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--outer--\r\n"
    )
    .into_bytes()
}

fn made(criterion: &mut Criterion) {
    let message = with_attachment();
    let mut group = criterion.benchmark_group("message of 31 KiB with an attachment");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("structure", |bencher| {
        let structure = analyse(&message);
        assert!(structure.bodystructure().starts_with(b"(((\"text\" \"plain\""), "{structure:?}");
        bencher.iter(|| counted(|| analyse(black_box(&message))));
    });
    group.bench_function("structure from its stored form", |bencher| {
        let stored = analyse(&message).as_bytes().to_vec();
        assert_eq!(Structure::from_bytes(&stored), Ok(analyse(&message)));
        bencher.iter(|| counted(|| Structure::from_bytes(black_box(&stored))));
    });
    group.bench_function("searchable text", |bencher| {
        assert!(searchable_text(&message, true).contains("the plan is attached"));
        bencher.iter(|| counted(|| searchable_text(black_box(&message), true)));
    });
}

fn real(criterion: &mut Criterion) {
    let Some(messages) = corpus() else {
        return eprintln!("the real messages cannot be had: they are left out");
    };
    let mut group = criterion.benchmark_group("real messages");
    group.throughput(Throughput::Elements(REAL as u64));
    group.bench_function(BenchmarkId::new("structure", REAL), |bencher| {
        let whole = |message: &Vec<u8>| {
            let structure = analyse(message);
            structure.header().start == 0 && structure.envelope().starts_with(b"(")
        };
        assert!(messages.iter().all(whole), "every one has an envelope");
        bencher.iter(|| {
            counted(|| messages.iter().map(|m| analyse(m).as_bytes().len()).sum::<usize>())
        });
    });
    group.bench_function(BenchmarkId::new("searchable text", REAL), |bencher| {
        let without = messages.iter().filter(|message| searchable_text(message, true).is_empty());
        assert_eq!(without.count(), 0, "every one has a subject or a text");
        bencher.iter(|| {
            counted(|| messages.iter().map(|m| searchable_text(m, true).len()).sum::<usize>())
        });
    });
}

/// The shortest real messages, in a fixed order.
fn corpus() -> Option<Vec<Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let program = "from kit import corpus\ncorpus.load()\nprint(corpus.folder())";
    let mut python = Command::new("python3");
    let said =
        python.args(["-B", "-c", program]).env("PYTHONPATH", root.join("tests")).output().ok()?;
    let folder = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    let files = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    let mails = files.filter(|path| path.extension().is_some_and(|ending| ending == "eml"));
    let mut messages: Vec<Vec<u8>> = mails.map(|path| std::fs::read(path).unwrap()).collect();
    messages.sort_by_key(|message| (message.len(), message.clone()));
    messages.truncate(REAL);
    (messages.len() == REAL).then_some(messages)
}
