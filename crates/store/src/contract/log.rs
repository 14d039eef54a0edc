//! Logs: deltas, folds, history, and commits as a whole.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{LOG, OTHER, Subject, append, appends, deltas, fold, head, history, load, news, row};
use crate::engine::{AccountId, Append, BodyId, Commit, Engine, EngineError, Fold, LogId, News};

pub(super) fn run<S: Subject>(make: &impl Fn() -> S) {
    an_unknown_log_is_none(&make());
    deltas_come_back_in_order(make());
    a_wrong_after_is_behind_and_undoes_the_whole_commit(&make());
    numbers_that_do_not_rise_are_refused(&make());
    a_refusal_late_in_a_commit_undoes_its_beginning(&make());
    a_fold_replaces_deltas_and_keeps_history(make());
    a_fold_that_comes_too_late_is_behind(&make());
    a_fold_on_another_base_is_behind(&make());
    a_fold_of_a_dropped_log_is_passed_over(&make());
    news_lead_on_from_where_one_stands(make());
    a_dropped_log_leaves_nothing(make());
    history_streams_in_order_from_anywhere(&make());
    forgetting_takes_the_oldest_and_notes_how_far(make());
    forgetting_stops_at_the_first_that_is_newer(&make());
    forgetting_looks_at_every_log(make());
    a_log_from_elsewhere_comes_with_its_past(make());
    a_reader_meanwhile_is_told_what_was_forgotten(&make());
    a_visitor_ends_the_reading(&make());
    a_visitor_may_read_in_turn(&make());
    big_deltas_and_pages_come_back(make());
    numbers_up_to_the_greatest_mod_sequence(make());
    readers_see_whole_commits_only(&make());
    one_of_many_writers_wins(&make());
}

fn an_unknown_log_is_none(subject: &impl Subject) {
    let engine = subject.engine();
    assert_eq!(head(engine, LOG), None);
    assert_eq!(load(engine, LOG), None);
    assert!(deltas(engine, LOG, 0).is_empty() && history(engine, LOG, 0).is_empty());
    engine.commit(&Commit { dropped: vec![LOG], ..Commit::default() }).unwrap();
    engine.commit(&Commit::default()).unwrap();
}

fn deltas_come_back_in_order<S: Subject>(subject: S) {
    let first = vec![append(LOG, 0, 3, b"a"), append(OTHER, 0, 1, b"x"), append(LOG, 3, 10, b"")];
    subject.engine().commit(&appends(first)).unwrap();
    subject.engine().commit(&appends(vec![append(LOG, 10, 11, b"c")])).unwrap();
    let expected = ((11, 0), vec![], vec![(3, b"a".to_vec()), (10, vec![]), (11, b"c".to_vec())]);
    assert_eq!(load(subject.engine(), LOG), Some(expected.clone()));
    assert_eq!(deltas(subject.engine(), LOG, 3), [10, 11]);
    assert!(deltas(subject.engine(), LOG, 11).is_empty());
    let subject = subject.reopen();
    assert_eq!(load(subject.engine(), LOG), Some(expected));
    assert_eq!(head(subject.engine(), OTHER), Some((1, 0)));
}

fn a_wrong_after_is_behind_and_undoes_the_whole_commit(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 5, b"a")])).unwrap();
    for after in [0, 4, 6] {
        let id = engine.next_body();
        let commit = Commit {
            appends: vec![append(OTHER, 0, 1, b"x"), append(LOG, after, 9, b"b")],
            bodies: vec![row(id)],
            ..Commit::default()
        };
        assert!(matches!(engine.commit(&commit), Err(EngineError::Behind)), "after {after}");
        assert_eq!((head(engine, LOG), head(engine, OTHER)), (Some((5, 0)), None));
        assert!(engine.bodies(&[id]).is_err());
    }
    assert!(matches!(
        engine.commit(&appends(vec![append(OTHER, 1, 2, b"no such log")])),
        Err(EngineError::Behind)
    ));
}

fn numbers_that_do_not_rise_are_refused(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 5, b"a")])).unwrap();
    assert!(engine.commit(&appends(vec![append(LOG, 5, 5, b"b")])).is_err());
    assert!(engine.commit(&appends(vec![append(LOG, 5, 4, b"b")])).is_err());
    assert!(engine.commit(&appends(vec![append(OTHER, 0, 0, b"b")])).is_err());
    assert_eq!((head(engine, LOG), head(engine, OTHER)), (Some((5, 0)), None));
}

fn a_refusal_late_in_a_commit_undoes_its_beginning(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 5, b"a")])).unwrap();
    let commit = Commit {
        appends: vec![append(LOG, 5, 6, b"b"), append(OTHER, 0, 1, b"x")],
        references: vec![(BodyId(1 << 40), 1)],
        dropped: vec![LOG],
        ..Commit::default()
    };
    assert!(matches!(engine.commit(&commit), Err(EngineError::Damaged(_))));
    assert_eq!((head(engine, LOG), head(engine, OTHER)), (Some((5, 0)), None));
    engine.commit(&appends(vec![append(LOG, 5, 6, b"b")])).unwrap();
}

fn a_fold_replaces_deltas_and_keeps_history<S: Subject>(subject: S) {
    let engine = subject.engine();
    let with_history =
        |after, seq| Append { history: Some(vec![9]), ..append(LOG, after, seq, b"d") };
    let first = vec![with_history(0, 1), with_history(1, 2), append(LOG, 2, 3, b"d")];
    engine.commit(&appends(first)).unwrap();
    engine.commit(&fold(LOG, 0, 2, &[(7, b"seven"), (1, b"one"), (3, b"three")], &[])).unwrap();
    let pages = vec![(1, b"one".to_vec()), (3, b"three".to_vec()), (7, b"seven".to_vec())];
    assert_eq!(load(engine, LOG), Some(((3, 2), pages, vec![(3, b"d".to_vec())])));

    // In one commit with the deltas that it folds; a page that is replaced, one that goes.
    let both =
        Commit { appends: vec![with_history(3, 8)], ..fold(LOG, 2, 8, &[(1, b"other")], &[3, 99]) };
    engine.commit(&both).unwrap();
    let subject = subject.reopen();
    let pages = vec![(1, b"other".to_vec()), (7, b"seven".to_vec())];
    assert_eq!(load(subject.engine(), LOG), Some(((8, 8), pages, vec![])));
    assert!(deltas(subject.engine(), LOG, 0).is_empty());
    let kept: Vec<u64> = history(subject.engine(), LOG, 0).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(kept, [1, 2, 8]);
    subject.engine().commit(&fold(LOG, 8, 8, &[(1, b"again")], &[])).unwrap();
    subject.engine().commit(&appends(vec![append(LOG, 8, 9, b"d")])).unwrap();
    assert_eq!(head(subject.engine(), LOG), Some((9, 8)));
}

fn a_fold_that_comes_too_late_is_behind(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 4, b"a"), append(LOG, 4, 5, b"b")])).unwrap();
    engine.commit(&fold(LOG, 0, 5, &[(1, b"new")], &[])).unwrap();
    let late = engine.commit(&fold(LOG, 5, 4, &[(1, b"old")], &[]));
    assert!(matches!(late, Err(EngineError::Behind)));
    let ahead = engine.commit(&fold(LOG, 5, 6, &[(1, b"ahead")], &[]));
    assert!(matches!(ahead, Err(EngineError::Damaged(_))));
    assert_eq!(load(engine, LOG), Some(((5, 5), vec![(1, b"new".to_vec())], vec![])));
}

fn a_fold_on_another_base_is_behind(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 4, b"a"), append(LOG, 4, 5, b"b")])).unwrap();
    engine.commit(&fold(LOG, 0, 4, &[(1, b"one"), (2, b"two")], &[])).unwrap();
    let unaware = engine.commit(&fold(LOG, 0, 5, &[(1, b"other")], &[]));
    assert!(matches!(unaware, Err(EngineError::Behind)));
    // All pages: those that are there go, whatever they are.
    let mut whole = fold(LOG, 0, 5, &[(2, b"all")], &[]);
    whole.folds[0].base = None;
    engine.commit(&whole).unwrap();
    assert_eq!(load(engine, LOG), Some(((5, 5), vec![(2, b"all".to_vec())], vec![])));
}

fn news_lead_on_from_where_one_stands<S: Subject>(subject: S) {
    let engine = subject.engine();
    assert_eq!(news(engine, LOG, 0).news, News::None);
    assert_eq!(news(engine, LOG, 3).news, News::Dropped);
    let three = vec![append(LOG, 0, 4, b"a"), append(LOG, 4, 5, b"b"), append(LOG, 5, 9, b"c")];
    engine.commit(&appends(three)).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    let delta = |seq, octets: &[u8]| (seq, octets.to_vec());
    let standing = news(engine, LOG, 4);
    assert_eq!(standing.news, News::Deltas(vec![delta(5, b"b"), delta(9, b"c")]));
    assert_eq!((standing.log, standing.head.seq, standing.head.folded), (LOG, 9, 0));
    assert_eq!(news(engine, LOG, 9).news, News::None);
    engine.commit(&fold(LOG, 0, 5, &[(1, b"page")], &[])).unwrap();
    assert_eq!(news(engine, LOG, 5).news, News::Deltas(vec![delta(9, b"c")]));
    let whole = News::Whole { pages: vec![delta(1, b"page")], deltas: vec![delta(9, b"c")] };
    assert_eq!(news(engine, LOG, 4).news, whole);
    // One who holds what never was reads everything again.
    assert_eq!(news(engine, LOG, 10).news, whole);
    engine.commit(&Commit { dropped: vec![LOG], ..Commit::default() }).unwrap();
    assert_eq!(news(engine, LOG, 9).news, News::Dropped);
}

fn a_fold_of_a_dropped_log_is_passed_over(subject: &impl Subject) {
    let engine = subject.engine();
    let commit = Commit {
        appends: vec![append(OTHER, 0, 1, b"x")],
        ..fold(LOG, 0, 5, &[(1, b"gone")], &[])
    };
    engine.commit(&commit).unwrap();
    assert_eq!((load(engine, LOG), head(engine, OTHER)), (None, Some((1, 0))));
    engine.commit(&appends(vec![append(LOG, 0, 1, b"a")])).unwrap();
    assert!(load(engine, LOG).unwrap().1.is_empty());
}

fn a_dropped_log_leaves_nothing<S: Subject>(subject: S) {
    let engine = subject.engine();
    for log in [LOG, OTHER] {
        let first = Append { history: Some(vec![1]), ..append(log, 0, 1, b"a") };
        engine.commit(&appends(vec![first, append(log, 1, 2, b"b")])).unwrap();
        engine.commit(&fold(log, 0, 1, &[(1, b"page")], &[])).unwrap();
    }
    // What the same commit appended goes, too.
    let drop = Commit { dropped: vec![LOG], ..appends(vec![append(LOG, 2, 3, b"c")]) };
    engine.commit(&drop).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!((load(engine, LOG), head(engine, OTHER)), (None, Some((2, 1))));
    assert!(deltas(engine, LOG, 0).is_empty() && history(engine, LOG, 0).is_empty());
    engine.commit(&appends(vec![append(LOG, 0, 7, b"new")])).unwrap();
    assert_eq!(load(engine, LOG), Some(((7, 0), vec![], vec![(7, b"new".to_vec())])));
    assert_eq!(history(engine, OTHER, 0).len(), 1);
}

fn history_streams_in_order_from_anywhere(subject: &impl Subject) {
    let engine = subject.engine();
    let entry = |number: u64| number.to_be_bytes().repeat(40);
    for batch in 0..5 {
        let all = (batch * 500 + 1..=batch * 500 + 500).map(|number| {
            let seq = number * 3;
            Append { history: Some(entry(seq)), ..append(LOG, seq.saturating_sub(3), seq, b"d") }
        });
        engine.commit(&appends(all.collect())).unwrap();
        engine
            .commit(&fold(LOG, batch * 1500, (batch * 500 + 500) * 3, &[(1, b"page")], &[]))
            .unwrap();
    }
    for after in [0, 1, 3, 4500, 7497, 7500, u64::MAX] {
        let expected = (1..=2500).map(|number| number * 3).filter(|seq| *seq > after);
        let expected: Vec<_> = expected.map(|seq| (seq, entry(seq))).collect();
        assert!(history(engine, LOG, after) == expected, "history after {after}");
    }
}

/// One delta with history for each of the numbers, committed at that second.
fn expunge_at(engine: &dyn Engine, log: LogId, times: &[(u64, i64)]) {
    let mut after = head(engine, log).map_or(0, |(seq, _)| seq);
    for (seq, now) in times {
        let append = Append { history: Some(vec![1]), ..append(log, after, *seq, b"d") };
        engine.commit(&Commit { now: *now, ..appends(vec![append]) }).unwrap();
        after = *seq;
    }
}

/// Up to where history was forgotten, and what is left of it.
fn kept(engine: &dyn Engine, log: LogId, after: u64) -> (u64, Vec<u64>) {
    let mut found = Vec::new();
    let mut add = |seq, _: &[u8]| {
        found.push(seq);
        Ok(())
    };
    let forgotten = engine.history(log, after, &mut add).unwrap();
    (forgotten, found)
}

fn forgetting_takes_the_oldest_and_notes_how_far<S: Subject>(subject: S) {
    let engine = subject.engine();
    expunge_at(engine, LOG, &[(3, 100), (5, 110), (9, 120), (u64::MAX >> 1, 130)]);
    assert_eq!(kept(engine, LOG, 0), (0, vec![3, 5, 9, u64::MAX >> 1]));
    assert_eq!(engine.forget_history(100).unwrap(), 0);
    assert_eq!(kept(engine, LOG, 0).0, 0);
    assert_eq!(engine.forget_history(111).unwrap(), 2);
    assert_eq!(engine.forget_history(111).unwrap(), 0);
    assert_eq!(kept(engine, LOG, 0), (5, vec![9, u64::MAX >> 1]));
    assert_eq!(kept(engine, LOG, 9), (5, vec![u64::MAX >> 1]));
    // A fold and a restart change nothing about it.
    engine.commit(&fold(LOG, 0, 9, &[(1, b"page")], &[])).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!(kept(engine, LOG, 5), (5, vec![9, u64::MAX >> 1]));
    assert_eq!(engine.forget_history(i64::MAX).unwrap(), 2);
    let subject = subject.reopen();
    assert_eq!(kept(subject.engine(), LOG, 0), (u64::MAX >> 1, vec![]));
    assert_eq!(head(subject.engine(), LOG), Some((u64::MAX >> 1, 9)));
    // Another mailbox in its place has forgotten nothing.
    subject.engine().commit(&Commit { dropped: vec![LOG], ..Commit::default() }).unwrap();
    expunge_at(subject.engine(), LOG, &[(2, 100)]);
    assert_eq!(kept(subject.engine(), LOG, 0), (0, vec![2]));
}

/// A clock that was set back leaves records that look newer than those after them: what is left has no holes.
fn forgetting_stops_at_the_first_that_is_newer(subject: &impl Subject) {
    let engine = subject.engine();
    expunge_at(engine, LOG, &[(1, 10), (2, 500), (3, 20), (4, 30)]);
    assert_eq!(engine.forget_history(100).unwrap(), 1);
    assert_eq!(kept(engine, LOG, 0), (1, vec![2, 3, 4]));
    assert_eq!(engine.forget_history(501).unwrap(), 3);
    assert_eq!(kept(engine, LOG, 0), (4, vec![]));
}

fn forgetting_looks_at_every_log<S: Subject>(subject: S) {
    let engine = subject.engine();
    let log = |n: u64| LogId {
        account: AccountId(n / 7 + 1),
        number: u32::try_from(n % 7).unwrap_or_default(),
    };
    let old = |n: u64| 1 + n % 3;
    let record =
        |n, after, seq| Append { history: Some(vec![1]), ..append(log(n), after, seq, b"d") };
    let first = (0..600).flat_map(|n| (1..=old(n)).map(move |seq| (n, seq)));
    let first = first.map(|(n, seq)| record(n, seq - 1, seq)).collect();
    engine.commit(&Commit { now: 10, ..appends(first) }).unwrap();
    let second = (0..600).map(|n| record(n, old(n), 9)).collect();
    engine.commit(&Commit { now: 200, ..appends(second) }).unwrap();
    // One of them has more than are forgotten in one step.
    let many = (10..5010).map(|seq| record(5, seq - 1, seq)).collect();
    engine.commit(&Commit { now: 100, ..appends(many) }).unwrap();
    assert_eq!(engine.forget_history(100).unwrap(), (0..600).map(old).sum::<u64>());
    for n in 0..600 {
        assert_eq!(kept(engine, log(n), 8), (old(n), kept(engine, log(n), 0).1), "log {n}");
    }
    assert_eq!(engine.forget_history(201).unwrap(), 600 + 5000);
    let subject = subject.reopen();
    assert_eq!(kept(subject.engine(), log(5), 0), (5009, vec![]));
    assert_eq!(kept(subject.engine(), log(6), 0), (9, vec![]));
}

/// The history of folded deltas comes as deltas that are empty, which the fold beside them replaces.
fn a_log_from_elsewhere_comes_with_its_past<S: Subject>(subject: S) {
    let engine = subject.engine();
    let past = |after, seq| Append { history: Some(vec![1]), ..append(LOG, after, seq, b"") };
    let appends = vec![past(0, 5), past(5, 8), append(LOG, 8, 9, b"")];
    let pages = vec![(0, b"head".to_vec()), (7, b"leaf".to_vec())];
    let folds = vec![Fold { log: LOG, base: None, seq: 9, pages, removed: Vec::new() }];
    let forgotten = vec![(LOG, 4), (OTHER, 3)];
    engine.commit(&Commit { appends, folds, forgotten, now: 100, ..Commit::default() }).unwrap();
    engine.commit(&Commit { forgotten: vec![(LOG, 2)], ..Commit::default() }).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    let (head, pages, deltas) = load(engine, LOG).unwrap();
    assert_eq!((head, pages.len(), deltas.len()), ((9, 9), 2, 0));
    assert_eq!(kept(engine, LOG, 4), (4, vec![5, 8]));
    // What is not there does not come to be.
    assert_eq!((super::head(engine, OTHER), kept(engine, OTHER, 0)), (None, (0, vec![])));
    assert_eq!(engine.forget_history(101).unwrap(), 2);
    assert_eq!(kept(engine, LOG, 8), (8, vec![]));
}

/// H6: what is forgotten between two pieces that a reader takes is not silently missed.
fn a_reader_meanwhile_is_told_what_was_forgotten(subject: &impl Subject) {
    let engine = subject.engine();
    let all =
        (1..=5000).map(|seq| Append { history: Some(vec![1]), ..append(LOG, seq - 1, seq, b"d") });
    engine.commit(&appends(all.collect())).unwrap();
    let mut seen = 0_u64;
    let forgotten = engine
        .history(LOG, 0, &mut |_, _| {
            if seen == 0 {
                engine.forget_history(1)?;
            }
            seen += 1;
            Ok(())
        })
        .unwrap();
    // An engine that reads as of one instant may have seen all; it may not claim less than it lacks.
    assert!(forgotten == 5000 || seen == 5000, "{seen} records, forgotten up to {forgotten}");
}

fn a_visitor_ends_the_reading(subject: &impl Subject) {
    let engine = subject.engine();
    let all = (1..10).map(|seq| append(LOG, seq - 1, seq, b"d")).collect();
    engine.commit(&appends(all)).unwrap();
    let mut seen = 0;
    let ended = engine.load(LOG, &mut |_, _| Ok(()), &mut |seq, _| {
        seen = seq;
        if seq == 4 { Err(EngineError::Full("enough".into())) } else { Ok(()) }
    });
    assert!(matches!(ended, Err(EngineError::Full(why)) if why == "enough"));
    assert_eq!(seen, 4);
    engine.commit(&appends(vec![append(LOG, 9, 10, b"d")])).unwrap();
}

fn a_visitor_may_read_in_turn(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&appends(vec![append(LOG, 0, 1, b"a"), append(OTHER, 0, 2, b"b")])).unwrap();
    let mut inner = None;
    let read = engine.load(LOG, &mut |_, _| Ok(()), &mut |_, _| {
        inner = head(engine, OTHER);
        Ok(())
    });
    assert!(read.unwrap().is_some());
    assert_eq!(inner, Some((2, 0)));
}

fn big_deltas_and_pages_come_back<S: Subject>(subject: S) {
    let big: Vec<u8> = (0..5_000_000_u32).flat_map(|number| number.to_be_bytes()).collect();
    let first = Append { history: Some(big.clone()), ..append(LOG, 0, 1, &big) };
    subject.engine().commit(&appends(vec![first])).unwrap();
    let subject = subject.reopen();
    assert!(load(subject.engine(), LOG) == Some(((1, 0), vec![], vec![(1, big.clone())])));
    subject.engine().commit(&fold(LOG, 0, 1, &[(u64::from(u32::MAX) << 31, &big)], &[])).unwrap();
    let page = vec![(u64::from(u32::MAX) << 31, big.clone())];
    assert!(load(subject.engine(), LOG) == Some(((1, 1), page, vec![])));
    assert!(history(subject.engine(), LOG, 0) == [(1, big)]);
}

fn numbers_up_to_the_greatest_mod_sequence<S: Subject>(subject: S) {
    const LAST: u64 = i64::MAX as u64;
    subject.engine().commit(&appends(vec![append(LOG, 0, LAST - 1, b"a")])).unwrap();
    subject.engine().commit(&appends(vec![append(LOG, LAST - 1, LAST, b"b")])).unwrap();
    let subject = subject.reopen();
    assert_eq!(deltas(subject.engine(), LOG, LAST - 1), [LAST]);
    assert!(deltas(subject.engine(), LOG, LAST).is_empty());
    assert_eq!(head(subject.engine(), LOG), Some((LAST, 0)));
}

fn readers_see_whole_commits_only(subject: &impl Subject) {
    let engine = subject.engine();
    let done = AtomicBool::new(false);
    engine.commit(&appends(vec![append(LOG, 0, 1, b"d"), append(LOG, 1, 2, b"d")])).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    assert_is_one_instant(engine);
                }
            });
        }
        let mut folded = 0;
        for round in 1..100_u64 {
            let last = round * 2;
            let pair =
                vec![append(LOG, last, last + 1, b"d"), append(LOG, last + 1, last + 2, b"d")];
            engine.commit(&appends(pair)).unwrap();
            if round % 10 == 0 {
                let page = last.to_be_bytes();
                engine.commit(&fold(LOG, folded, last, &[(1, &page), (2, &page)], &[])).unwrap();
                folded = last;
            }
        }
        done.store(true, Ordering::Release);
    });
    assert_is_one_instant(engine);
}

/// Deltas come in pairs and follow the fold without a gap; both pages bear its number.
fn assert_is_one_instant(engine: &dyn Engine) {
    let ((seq, folded), pages, deltas) = load(engine, LOG).unwrap();
    assert_eq!(seq % 2, 0, "half a commit");
    assert!(
        pages.iter().all(|(_, octets)| *octets == folded.to_be_bytes()),
        "pages of another fold"
    );
    let found: Vec<u64> = deltas.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(found, (folded + 1..=seq).collect::<Vec<_>>());
}

fn one_of_many_writers_wins(subject: &impl Subject) {
    let engine = subject.engine();
    for round in 0..20 {
        let winners: usize = thread::scope(|scope| {
            let race = |writer: u8| {
                move || match engine.commit(&appends(vec![append(
                    LOG,
                    round,
                    round + 1,
                    &[writer],
                )])) {
                    Ok(()) => 1,
                    Err(EngineError::Behind) => 0,
                    Err(error) => panic!("{error}"),
                }
            };
            let writers: Vec<_> = (0..4).map(|writer| scope.spawn(race(writer))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        assert_eq!(winners, 1, "round {round}");
    }
}
