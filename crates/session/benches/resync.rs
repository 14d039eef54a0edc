//! What it costs to come back: the same changes were missed in a small mailbox and in a large one.
//!
//! `cargo bench -p highwater-session --bench resync` tells times, `bench/instructions` counts. Each benchmark has its
//! answer asserted once.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a benchmark ends at the first thing that is wrong, and uses a part of the tests' runner"
)]

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;

use criterion::Criterion;

#[path = "speaker/speak.rs"]
mod speaker;

use speaker::Speaker;

/// Messages in the mailboxes.
const SIZES: [(u32, &str); 2] = [(10_000, "10,000"), (1_000_000, "1,000,000")];
/// Messages changed, and messages expunged.
const MISSED: u32 = 10;

/// What `bench/instructions` counts: this function and all that it calls.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (size, shown) in SIZES {
        resync(&mut criterion, size, shown);
    }
    criterion.final_summary();
}

/// A mailbox of so many messages, of which some were changed and some expunged.
struct Missed {
    speaker: Speaker,
    /// UIDVALIDITY, and HIGHESTMODSEQ before.
    known: (String, String),
    gone: String,
}

impl Missed {
    fn new(size: u32) -> Self {
        let mut speaker = Speaker::new();
        let text = "From: a@example.org\r\nSubject: x\r\n\r\nx\r\n";
        let one = format!(" {{{}+}}\r\n{text}", text.len());
        speaker.say(&format!("a APPEND INBOX{}\r\n", one.repeat(500)));
        speaker.say("a ENABLE QRESYNC\r\na SELECT INBOX\r\n");
        let mut exists = 500;
        while exists < size {
            let copies = exists.min(size - exists).min(50_000);
            speaker.say(&format!("a UID COPY 1:{copies} INBOX\r\n"));
            exists += copies;
        }
        let answer = speaker.say("a SELECT INBOX\r\n");
        let code = |name: &str| {
            let (_, rest) = answer.split_once(name).unwrap();
            rest.split(']').next().unwrap().to_owned()
        };
        let known = (code("[UIDVALIDITY "), code("[HIGHESTMODSEQ "));
        let set = |offset: u32| {
            let uids = (0..MISSED).map(|number| (size / MISSED * number + offset).to_string());
            uids.collect::<Vec<_>>().join(",")
        };
        let gone = set(2);
        speaker.say(&format!("a UID STORE {} +FLAGS.SILENT (\\Flagged)\r\n", set(1)));
        speaker.say(&format!("a UID STORE {gone} +FLAGS.SILENT (\\Deleted)\r\na EXPUNGE\r\n"));
        Self { speaker, known, gone }
    }
}

fn resync(criterion: &mut Criterion, size: u32, shown: &str) {
    let missed = LazyCell::new(|| RefCell::new(Missed::new(size)));
    let mut group = criterion.benchmark_group(format!("resync in {shown}"));
    let mut bench =
        |name: &str, fetches: u32, vanished: bool, command: &dyn Fn(&Missed) -> String| {
            group.bench_function(name, |bencher| {
                let mut missed = missed.borrow_mut();
                let (command, gone) =
                    (command(&missed), format!("* VANISHED (EARLIER) {}", missed.gone));
                assert_eq!(missed.speaker.count(&command, " FETCH ("), fetches as usize);
                assert_eq!(missed.speaker.count(&command, &gone), usize::from(vanished));
                bencher.iter(|| counted(|| missed.speaker.receive(black_box(&command))));
            });
        };
    bench("CHANGEDSINCE, 10 changes", MISSED, false, &|missed| {
        format!("a UID FETCH 1:* (FLAGS) (CHANGEDSINCE {})\r\n", missed.known.1)
    });
    bench("CHANGEDSINCE VANISHED, 10 changes, 10 expunges", MISSED, true, &|missed| {
        format!("a UID FETCH 1:* (FLAGS) (CHANGEDSINCE {} VANISHED)\r\n", missed.known.1)
    });
    bench("SELECT QRESYNC, 10 changes, 10 expunges", MISSED, true, &|missed| {
        format!("a SELECT INBOX (QRESYNC ({} {}))\r\n", missed.known.0, missed.known.1)
    });
    bench("SELECT", 0, false, &|_| "a SELECT INBOX\r\n".to_owned());
}
