//! Runs every dialogue in `tests/transcripts` in process over the memory engine.
//!
//! With `PEER=host:port` (and `USER`, `PASS`) the same files are run against another server over plain TCP, as
//! `highwater replay --builtin` does; with `PEER=/path/of/highwater` each dialogue has a server of its own,
//! started from that binary. `ONLY=text` runs the files whose name holds the text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail loudly"
)]

#[path = "runner/play.rs"]
mod runner;

use client::dialogue::dialogues;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .filter(|path| path.to_string_lossy().contains(&only))
        .collect();
    files.sort();
    files
}

#[test]
fn every_transcript_holds() {
    let peer = std::env::var("PEER").ok();
    let mut failures = Vec::new();
    let mut played = 0;
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for dialogue in dialogues(&name, &text).unwrap() {
            played += 1;
            if let Err(failure) = runner::run(&dialogue, peer.as_deref()) {
                failures.push(failure);
            }
        }
    }
    assert!(played > 0, "there are no transcripts");
    assert!(
        failures.is_empty(),
        "{} of {played} dialogues failed:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn a_dialogue_that_does_not_hold_fails() {
    let wrong = [
        "C1: a NOOP\nS1: a NO",
        "mailbox INBOX 2\nC1: a SELECT INBOX\nS1: a OK",
        "mailbox INBOX 2\nC1: a SELECT INBOX\nS1: * 3 EXISTS\nS1: ...\nS1: a OK",
        "mailbox INBOX 2\nC1: a SELECT INBOX\nS1: !* 2 EXISTS\nS1: ...\nS1: a OK",
        "mailbox INBOX 1\nC1: a SELECT INBOX\nS1: ...\nS1: a OK\nC1: b FETCH 1 (FLAGS)\nS1: * 1 FETCH (FLAGS (\\Seen))\nS1: b OK",
        "mailbox INBOX 1\nC1: a SELECT INBOX (CONDSTORE)\nS1: * OK [HIGHESTMODSEQ $h]\nS1: ...\nS1: a OK\nassert $h > $h",
        "mailbox INBOX 1\nC1: a SELECT INBOX\nS1: ...\nS1: a OK\nC1: b STORE 1 (UNCHANGEDSINCE 0) FLAGS (x)\nS1: ...\nS1: b OK",
    ];
    for text in wrong {
        for dialogue in dialogues("wrong", text).unwrap() {
            assert!(runner::run(&dialogue, None).is_err(), "should not hold:\n{text}");
        }
    }
}
