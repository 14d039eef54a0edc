//! Several writers of one database: locks, and what one learns of another. Engines with one writer pass by.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{LOG, OTHER, Subject, append, appends, fold, head, news};
use crate::engine::{AccountId, Begun, Commit, Engine, Held, LogHead, LogId, News, Standing};
use crate::quota::UsageChange;

pub(super) fn run<S: Subject>(make: &impl Fn() -> S) {
    if !make().engine().is_shared() {
        let subject = make();
        let begun = subject.engine().begin(&[Held { log: LOG, seq: 0 }], &[]);
        assert!(begun.unwrap().is_none(), "an engine that holds logs has several writers");
        return;
    }
    what_is_begun_knows_the_newest(&make());
    a_dropped_transaction_does_nothing(&make());
    one_who_holds_a_log_keeps_others_waiting(&make());
    watching_waits_for_nobody(&make());
    logs_held_in_any_order_do_not_deadlock(&make());
    usage_is_read_under_the_lock(&make());
    an_empty_commit_is_one(&make());
}

fn begin<'a>(
    engine: &'a dyn Engine,
    locked: &[(LogId, u64)],
    watched: &[(LogId, u64)],
) -> Begun<'a> {
    let held = |logs: &[(LogId, u64)]| -> Vec<Held> {
        logs.iter().map(|(log, seq)| Held { log: *log, seq: *seq }).collect()
    };
    engine.begin(&held(locked), &held(watched)).unwrap().unwrap()
}

fn standing<'a>(begun: &'a Begun<'_>, log: LogId) -> &'a Standing {
    begun.standings.iter().find(|standing| standing.log == log).unwrap()
}

fn what_is_begun_knows_the_newest(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 3, b"a"), append(LOG, 3, 5, b"b")])).unwrap();
    engine.commit(&appends(vec![append(OTHER, 0, 2, b"x")])).unwrap();
    engine.commit(&fold(OTHER, 0, 2, &[(1, b"page")], &[])).unwrap();
    let begun = begin(engine, &[(OTHER, 1), (LOG, 3)], &[]);
    let (log, other) = (standing(&begun, LOG), standing(&begun, OTHER));
    assert_eq!(log.news, News::Deltas(vec![(5, b"b".to_vec())]));
    assert_eq!(other.news, News::Whole { pages: vec![(1, b"page".to_vec())], deltas: vec![] });
    assert_eq!(other.head, LogHead { seq: 2, folded: 2, doubtful: false });
    begun.transaction.commit(&appends(vec![append(LOG, 5, 6, b"c")])).unwrap();
    assert_eq!(news(engine, LOG, 5).news, News::Deltas(vec![(6, b"c".to_vec())]));

    // A log that is to be, and one that is no more.
    let new = LogId { number: 7, ..LOG };
    let begun = begin(engine, &[(new, 0), (LogId { number: 8, ..LOG }, 4)], &[]);
    assert_eq!(standing(&begun, LogId { number: 8, ..LOG }).news, News::Dropped);
    begun.transaction.commit(&appends(vec![append(new, 0, 1, b"n")])).unwrap();
    assert_eq!(head(engine, new), Some((1, 0)));
}

fn a_dropped_transaction_does_nothing(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 3, b"a")])).unwrap();
    drop(begin(engine, &[(LOG, 3)], &[]));
    assert_eq!(head(engine, LOG), Some((3, 0)));
    let begun = begin(engine, &[(LOG, 3)], &[]);
    begun.transaction.commit(&appends(vec![append(LOG, 3, 4, b"b")])).unwrap();
    assert_eq!(head(engine, LOG), Some((4, 0)));
}

/// Two hundred times: read the newest, add one; nobody is ever behind.
fn one_who_holds_a_log_keeps_others_waiting(subject: &impl Subject) {
    const WRITERS: u64 = 4;
    const TIMES: u64 = 50;
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 1, b"first")])).unwrap();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut seq = 1;
                for _ in 0..TIMES {
                    let begun = begin(engine, &[(LOG, seq)], &[]);
                    let newest = standing(&begun, LOG).head.seq;
                    match &standing(&begun, LOG).news {
                        News::None => assert_eq!(newest, seq),
                        News::Deltas(deltas) => {
                            let found: Vec<u64> = deltas.iter().map(|(seq, _)| *seq).collect();
                            assert_eq!(found, (seq + 1..=newest).collect::<Vec<_>>());
                        }
                        other => panic!("{other:?}"),
                    }
                    seq = newest + 1;
                    begun
                        .transaction
                        .commit(&appends(vec![append(LOG, newest, seq, b"d")]))
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(head(engine, LOG), Some((1 + WRITERS * TIMES, 0)));
}

fn watching_waits_for_nobody(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 3, b"a"), append(OTHER, 0, 1, b"x")])).unwrap();
    let first = begin(engine, &[(LOG, 3)], &[]);
    let second = begin(engine, &[(OTHER, 1)], &[(LOG, 0)]);
    assert_eq!(standing(&second, LOG).news, News::Deltas(vec![(3, b"a".to_vec())]));
    second.transaction.commit(&appends(vec![append(OTHER, 1, 2, b"y")])).unwrap();
    assert_eq!(news(engine, LOG, 0).head.seq, 3, "reading does not wait either");
    first.transaction.commit(&appends(vec![append(LOG, 3, 4, b"b")])).unwrap();
}

fn logs_held_in_any_order_do_not_deadlock(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 1, b"a"), append(OTHER, 0, 1, b"x")])).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for logs in [[LOG, OTHER], [OTHER, LOG]] {
            let ended = &ended;
            scope.spawn(move || {
                for _ in 0..40 {
                    let begun = begin(engine, &logs.map(|log| (log, 1)), &[]);
                    let next = |log| {
                        let seq = standing(&begun, log).head.seq;
                        append(log, seq, seq + 1, b"d")
                    };
                    let both = appends(logs.map(next).to_vec());
                    begun.transaction.commit(&both).unwrap();
                }
                ended.store(true, Ordering::Release);
            });
        }
    });
    assert_eq!((head(engine, LOG), head(engine, OTHER)), (Some((81, 0)), Some((81, 0))));
}

fn usage_is_read_under_the_lock(subject: &impl Subject) {
    let engine = subject.engine();
    let account = AccountId(1);
    let log = LogId::from(account);
    let grown = |after, octets| Commit {
        usage: vec![(account, UsageChange { octets, messages: 1 })],
        ..appends(vec![append(log, after, after + 1, b"a")])
    };
    engine.commit(&grown(0, 10)).unwrap();
    let begun = begin(engine, &[(log, 1)], &[]);
    let usage = standing(&begun, log).usage.unwrap();
    assert_eq!((usage.octets, usage.messages), (10, 1));
    begun.transaction.commit(&grown(1, 5)).unwrap();
    assert_eq!(news(engine, log, 1).usage.map(|usage| usage.octets), Some(15));
}

/// What was learnt is made durable though there is nothing to write.
fn an_empty_commit_is_one(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 3, b"a")])).unwrap();
    let begun = begin(engine, &[(LOG, 0)], &[]);
    assert_eq!(standing(&begun, LOG).head.seq, 3);
    begun.transaction.commit(&Commit::default()).unwrap();
    assert_eq!(head(engine, LOG), Some((3, 0)));
}
