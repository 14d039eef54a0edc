//! What it costs to frame and parse a command, and to handle its set of numbers.
//!
//! `cargo bench -p highwater-imap --bench parse` tells times, `bench/instructions` counts. Each benchmark has its
//! result asserted once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark ends at the first thing that is wrong"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use imap::command::{Command, CommandBody};
use imap::frame::{Frame, Framer, Limits};
use imap::parse;
use imap::set::UidSet;

/// Ranges in the sets.
const RANGES: u32 = 1000;
/// Octets of the message that is appended.
const MESSAGE: usize = 4096;

/// What `bench/instructions` counts: this function and all that it calls.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    commands(&mut criterion);
    append(&mut criterion);
    sets(&mut criterion);
    criterion.final_summary();
}

/// One command of a client, as it comes from the socket.
fn frame_and_parse(framer: &mut Framer, octets: &[u8]) -> Command {
    framer.push(octets);
    match framer.next() {
        Some(Frame::Command(text)) => parse::command(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn commands(criterion: &mut Criterion) {
    type Right = fn(&CommandBody) -> bool;
    let commands: [(&str, &[u8], Right); 5] = [
        ("UID FETCH FLAGS", b"a1 UID FETCH 1:* (FLAGS)\r\n", |body| {
            matches!(body, CommandBody::Fetch(fetch) if fetch.uid && fetch.items.len() == 1)
        }),
        (
            "UID FETCH CHANGEDSINCE VANISHED",
            b"a2 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 715194045007 VANISHED)\r\n",
            |body| matches!(body, CommandBody::Fetch(fetch) if fetch.vanished),
        ),
        (
            "UID STORE UNCHANGEDSINCE",
            b"a3 UID STORE 42 (UNCHANGEDSINCE 715194045007) +FLAGS.SILENT ($Claimed)\r\n",
            |body| matches!(body, CommandBody::Store(store) if store.unchanged_since.is_some()),
        ),
        (
            "SELECT QRESYNC",
            b"a4 SELECT INBOX (QRESYNC (67890007 715194045007 41,43:211,214:541 (1,3,5 11,13,17)))\r\n",
            |body| matches!(body, CommandBody::Select(select) if select.qresync.is_some()),
        ),
        (
            "SEARCH nested",
            b"a5 UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 UNSEEN OR (SINCE 1-Feb-2026 NOT FROM \"ann\") \
              (OR (SUBJECT tide LARGER 4096) NOT (KEYWORD $Claimed MODSEQ 715194045007))\r\n",
            |body| matches!(body, CommandBody::Search(search) if search.keys.len() == 2),
        ),
    ];
    let mut framer = Framer::new(Limits::default());
    let mut group = criterion.benchmark_group("parse");
    for (name, octets, right) in commands {
        group.bench_function(name, |bencher| {
            let command = frame_and_parse(&mut framer, octets);
            assert!(right(&command.body), "{command:?}");
            bencher.iter(|| counted(|| frame_and_parse(&mut framer, black_box(octets))));
        });
    }
}

/// An APPEND with its message, which goes through the framer in pieces; answers the message's octets.
fn frame_append(framer: &mut Framer, octets: &[u8]) -> usize {
    framer.push(octets);
    let mut count = 0;
    loop {
        match framer.next() {
            Some(Frame::Message(_)) => framer.accept_message(),
            Some(Frame::MessageData(data)) => count += data.len(),
            Some(Frame::MessageEnd) => {}
            Some(Frame::AppendEnd) => return count,
            other => panic!("{other:?}"),
        }
    }
}

fn append(criterion: &mut Criterion) {
    let head = format!(
        "a6 APPEND \"Jobs/Mail in\" (\\Seen $Work) \"17-Jul-2026 02:44:25 -0700\" {{{MESSAGE}+}}\r\n"
    );
    let octets = [head.as_bytes(), &[b'x'; MESSAGE], b"\r\n"].concat();
    let mut framer = Framer::new(Limits::default());
    criterion.bench_function("parse/APPEND of 4 KiB", |bencher| {
        assert_eq!(frame_append(&mut framer, &octets), MESSAGE);
        bencher.iter(|| counted(|| frame_append(&mut framer, black_box(&octets))));
    });
}

/// A set of so many ranges of three numbers, each this far from the one before.
fn every(distance: u32) -> UidSet {
    UidSet::from_ranges((0..RANGES).map(|range| (range * distance + 1, range * distance + 3)))
}

fn sets(criterion: &mut Criterion) {
    let (left, right) = (every(10), every(7));
    let command = format!("a7 UID FETCH {left} (FLAGS)\r\n");
    let mut framer = Framer::new(Limits::default());
    let Command { body: CommandBody::Fetch(fetch), .. } =
        frame_and_parse(&mut framer, command.as_bytes())
    else {
        panic!("{command}");
    };
    let mut group = criterion.benchmark_group("set of 1,000 ranges");
    let mut bench = |name: &str, expected: u64, work: &mut dyn FnMut() -> u64| {
        group.bench_function(BenchmarkId::new(name, RANGES), |bencher| {
            assert_eq!(work(), expected, "{name}");
            bencher.iter(|| counted(&mut *work));
        });
    };
    let (numbers, common) = (u64::from(RANGES) * 3, left.intersection(&right).len());
    bench("parse", 1, &mut || {
        let command = frame_and_parse(&mut framer, black_box(command.as_bytes()));
        u64::from(matches!(command.body, CommandBody::Fetch(_)))
    });
    bench("resolve", numbers, &mut || black_box(&fetch.set).resolve(1_000_000).unwrap().len());
    bench("intersection", common, &mut || black_box(&left).intersection(&right).len());
    bench("difference", numbers - common, &mut || black_box(&left).difference(&right).len());
    bench("union", 2 * numbers - common, &mut || black_box(&left).union(&right).len());
    bench("write", left.to_string().len() as u64, &mut || {
        black_box(&left).to_string().len() as u64
    });
}
