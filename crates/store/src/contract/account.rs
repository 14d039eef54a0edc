//! Account rows and their numbers.

use super::{LOG, OTHER, Subject, append, appends, head};
use crate::engine::{AccountId, AccountRow, Commit, EngineError, LogId};
use crate::quota::{Usage, UsageChange};

pub(super) fn run<S: Subject>(make: &impl Fn() -> S) {
    rows_come_back_by_name(make());
    an_older_version_or_another_account_is_behind(&make());
    a_removed_account_takes_its_logs_along(make());
    account_numbers_are_never_given_out_again(make());
    usage_adds_up(make());
}

fn row(id: u64, version: u64) -> AccountRow {
    AccountRow { id: AccountId(id), version, record: version.to_be_bytes().to_vec() }
}

fn set(name: &str, row: Option<AccountRow>) -> Commit {
    Commit { accounts: vec![(name.to_owned(), row)], ..Commit::default() }
}

fn rows_come_back_by_name<S: Subject>(subject: S) {
    let engine = subject.engine();
    for (name, id) in [("ruth", 1), ("Ruth", 2), ("", 3), ("zoë@example.org", 4)] {
        assert_eq!(engine.account(name).unwrap(), None);
        engine.commit(&set(name, Some(row(id, 1)))).unwrap();
    }
    engine.commit(&set("ruth", Some(row(1, 2)))).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!(engine.account("ruth").unwrap(), Some(row(1, 2)));
    assert_eq!(engine.account("Ruth").unwrap(), Some(row(2, 1)));
    let names: Vec<_> = engine.accounts().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["", "Ruth", "ruth", "zoë@example.org"]);
}

fn an_older_version_or_another_account_is_behind(subject: &impl Subject) {
    let engine = subject.engine();
    engine.commit(&set("ruth", Some(row(1, 5)))).unwrap();
    for late in [row(1, 4), row(1, 5), row(2, 6)] {
        let commit = Commit { appends: vec![append(LOG, 0, 1, b"a")], ..set("ruth", Some(late)) };
        assert!(matches!(engine.commit(&commit), Err(EngineError::Behind)));
        assert_eq!(engine.account("ruth").unwrap(), Some(row(1, 5)));
        assert_eq!(head(engine, LOG), None);
    }
}

fn a_removed_account_takes_its_logs_along<S: Subject>(subject: S) {
    let engine = subject.engine();
    let foreign = LogId { account: AccountId(2), number: 1 };
    let own = LogId::from(AccountId(1));
    engine.commit(&set("ruth", Some(row(1, 1)))).unwrap();
    let all = [LOG, OTHER, own, foreign].map(|log| append(log, 0, 1, b"a"));
    engine.commit(&appends(all.to_vec())).unwrap();
    engine.commit(&set("ruth", None)).unwrap();
    engine.commit(&set("nobody", None)).unwrap();
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!(engine.account("ruth").unwrap(), None);
    assert_eq!([LOG, OTHER, own].map(|log| head(engine, log)), [None; 3]);
    assert_eq!(head(engine, foreign), Some((1, 0)));
    engine.commit(&set("ruth", Some(row(7, 1)))).unwrap();
}

fn account_numbers_are_never_given_out_again<S: Subject>(subject: S) {
    let first = subject.engine().next_account().unwrap();
    let second = subject.engine().next_account().unwrap();
    assert!(second > first);
    let subject = subject.reopen();
    let third = subject.engine().next_account().unwrap();
    assert!(third > second);
    subject.engine().commit(&set("ruth", Some(row(third.0 + 10, 1)))).unwrap();
    subject.engine().commit(&set("ruth", None)).unwrap();
    let subject = subject.reopen();
    assert!(subject.engine().next_account().unwrap().0 > third.0 + 10);
}

fn usage_adds_up<S: Subject>(subject: S) {
    let engine = subject.engine();
    let (ruth, other) = (AccountId(1), AccountId(2));
    engine.commit(&set("ruth", Some(row(1, 1)))).unwrap();
    let change = |octets, messages| UsageChange { octets, messages };
    let usage = |usage| Commit { usage, ..Commit::default() };
    assert_eq!(engine.usage(ruth).unwrap(), Usage::default());
    engine.commit(&usage(vec![(ruth, change(500, 2)), (other, change(7, 1))])).unwrap();
    engine.commit(&usage(vec![(ruth, change(-100, -1))])).unwrap();
    let refused =
        Commit { appends: vec![append(LOG, 9, 10, b"a")], ..usage(vec![(ruth, change(1, 1))]) };
    assert!(matches!(engine.commit(&refused), Err(EngineError::Behind)));
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!(engine.usage(ruth).unwrap(), Usage { octets: 400, messages: 1 });
    assert_eq!(engine.usage(other).unwrap(), Usage { octets: 7, messages: 1 });
    engine.commit(&set("ruth", None)).unwrap();
    assert_eq!(engine.usage(ruth).unwrap(), Usage::default());
}
