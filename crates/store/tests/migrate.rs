//! Accounts brought from one place to another and back: everything has its number, and clients go on.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

use imap::command::StoreAction;
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::set::UidSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use store::embedded::Embedded;
use store::engine::{AccountId, BodyId, BodyStore, Engine};
use store::memory::{Fate, Fault, Memory, MemoryBodies};
use store::migrate::{MigrateError, Moved, Side, migrate};
use store::segments::{Limits, Segments};
use store::{Change, Inline, Mailbox, Options, Store};

#[path = "house/stepped.rs"]
mod house;

use house::{House, Ticks};

const NAMES: [&str; 2] = ["ann", "bob"];

fn flag(house: &House, mailbox: &Mailbox, uids: UidSet, flag: Flag) {
    let (condition, action, flags) = (None, StoreAction::Add, vec![flag]);
    let change = Change::StoreFlags { mailbox: mailbox.id(), uids, condition, action, flags };
    house.run(house.store.submit(change)).unwrap();
}

/// Two accounts whose mailboxes have been folded many times, with messages that are gone and bodies that are shared.
fn source() -> House {
    let options = Options { fold_bytes: 300, ..Options::default() };
    let house = House::new(Memory::new(), MemoryBodies::new(), options);
    for name in NAMES {
        let account = house.account(name);
        let (inbox, kept) = (house.mailbox(&account, "INBOX"), house.create(&account, "Kept/Old"));
        house.append(&inbox, 40);
        for round in 0..12 {
            let some = UidSet::from_ranges([(3 * round + 1, 3 * round + 2)]);
            flag(&house, &inbox, some.clone(), Flag::Keyword(Keyword::new("$done").unwrap()));
            let change = Change::Transfer {
                source: inbox.id(),
                target: kept.id(),
                uids: some.clone(),
                remove: false,
            };
            house.run(house.store.submit(change)).unwrap();
            flag(&house, &inbox, some, Flag::System(SystemFlag::Deleted));
            house
                .run(house.store.submit(Change::Expunge { mailbox: inbox.id(), uids: None }))
                .unwrap();
        }
        house.append(&inbox, 3);
    }
    let gone = house.account("gone");
    house.run(house.store.delete_account("gone")).unwrap();
    assert_eq!(gone.id(), AccountId(3));
    house
}

/// What is at hand without anybody committing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Everything of these accounts that clients may see, histories from every checkpoint and octets included.
fn seen(engine: Arc<dyn Engine>, bodies: Arc<dyn BodyStore>) -> Vec<String> {
    let clock = Arc::new(Ticks(AtomicU64::new(5)));
    let (store, _committer) =
        Store::open(engine, bodies, Arc::new(Inline), clock, Options::default());
    let mut all = Vec::new();
    for name in NAMES {
        let row = now(store.account_row(name)).unwrap().unwrap();
        let account = now(store.account(row.id)).unwrap();
        all.push(format!("{row:?} {:?}", account.usage()));
        for (name, entry) in account.state().mailboxes() {
            let Some(id) = entry.id else { continue };
            let state = now(store.mailbox(id)).unwrap().state();
            let highest = state.highest_mod_seq().value();
            all.push(format!("{name} {:?} {} {highest}", state.uid_validity(), state.uid_next()));
            for since in 0..=highest {
                let every = UidSet::from_ranges([(1, u32::MAX)]);
                let gone = now(store.expunged_since(id, since, every, 100_000)).unwrap();
                all.push(format!("{since}: {gone:?}"));
            }
            for (seq, message) in state.tree().iter() {
                let body = now(store.body(message.body)).unwrap();
                let mut octets = Vec::new();
                store.read(&body, 0..body.body.len, &mut octets).unwrap();
                all.push(format!("{seq:?} {message:?} {octets:?}"));
            }
        }
    }
    all
}

fn bring(from: Side<'_>, to: Side<'_>, only: &[&str]) -> Result<Moved, MigrateError> {
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    migrate(from, to, &only, 1_700_000_001, &mut |_, _| {}, &mut |_| {})
}

fn side<'a>(engine: &'a dyn Engine, bodies: &'a dyn BodyStore) -> Side<'a> {
    Side { engine, bodies }
}

#[test]
fn to_a_directory_and_back_nothing_has_changed() {
    // H3, H6
    let house = source();
    let before = seen(house.engine.clone(), house.bodies.clone());
    assert!(
        before.iter().any(|line| line.starts_with("0: Some(") && line.contains("(1:2,")),
        "{before:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(Embedded::open(directory.path()).unwrap());
    let segments = Segments::open(directory.path(), Limits::default()).unwrap();
    let from = side(&*house.engine, &*house.bodies);
    let moved = bring(from, side(&*engine, &segments), &[]).unwrap();
    assert_eq!((moved.accounts, moved.mailboxes, moved.messages), (2, 4, 2 * (19 + 24)));
    assert_eq!(seen(engine.clone(), Arc::new(segments.clone())), before);
    assert!(
        engine.next_account().unwrap() > AccountId(3),
        "no number of a deleted account comes again"
    );

    let (back, bodies) = (Arc::new(Memory::new()), Arc::new(MemoryBodies::new()));
    bring(side(&*engine, &segments), side(&*back, &*bodies), &[]).unwrap();
    assert_eq!(seen(back.clone(), bodies.clone()), before);
    // Whoever migrates again finds that all is there.
    let again = bring(side(&*engine, &segments), side(&*back, &*bodies), &[]).unwrap();
    assert_eq!((again.accounts_there, again.octets), (2, 0));
}

#[test]
fn what_ended_early_goes_on() {
    let house = source();
    let before = seen(house.engine.clone(), house.bodies.clone());
    let from = side(&*house.engine, &*house.bodies);
    let mut left = 0;
    for fail_at in 0.. {
        let (mut engine, mut bodies) = (Memory::new(), MemoryBodies::new());
        let mut calls = 0;
        let first = {
            let to = side(&engine, &bodies);
            let mut tell = |_: &str, _: &Moved| {
                if calls == fail_at {
                    engine.fail_next_commit(Fault::Broken);
                }
                calls += 1;
            };
            migrate(from, to, &[], 1_700_000_001, &mut tell, &mut |_| {})
        };
        if first.is_err() {
            left += 1;
            let fate = if fail_at % 2 == 0 { Fate::Kept } else { Fate::Lost };
            (engine, bodies) = (engine.crash(|| fate), bodies.crash(|| Fate::Kept));
            bring(from, side(&engine, &bodies), &[]).unwrap();
        }
        assert_eq!(seen(Arc::new(engine), Arc::new(bodies)), before, "it ended early at {fail_at}");
        if fail_at >= calls {
            break;
        }
    }
    assert!(left > 8, "{left}");
}

#[test]
fn one_account_comes_alone_and_the_other_later() {
    let house = source();
    let from = side(&*house.engine, &*house.bodies);
    let (engine, bodies) = (Arc::new(Memory::new()), Arc::new(MemoryBodies::new()));
    let to = side(&*engine, &*bodies);
    assert_eq!(bring(from, to, &["bob"]).unwrap().accounts, 1);
    assert!(engine.account("ann").unwrap().is_none());
    assert!(
        engine.next_account().unwrap() > AccountId(3),
        "nobody gets the number of one who comes later"
    );
    bring(from, to, &["ann"]).unwrap();
    assert_eq!(
        seen(engine.clone(), bodies.clone()),
        seen(house.engine.clone(), house.bodies.clone())
    );
}

#[test]
fn what_cannot_be_brought_is_said() {
    let house = source();
    let from = side(&*house.engine, &*house.bodies);
    let why = |error: Result<Moved, MigrateError>| error.unwrap_err().to_string();
    let (engine, bodies) = (Memory::new(), MemoryBodies::new());
    assert!(why(bring(from, side(&engine, &bodies), &["zoe"])).contains("no account `zoe`"));

    let clock = Arc::new(Ticks(AtomicU64::new(99)));
    let other = House::with_clock(Memory::new(), MemoryBodies::new(), clock, Options::default());
    let zoe = other.account("zoe");
    other.append(&other.mailbox(&zoe, "INBOX"), 1);
    let to = side(&*other.engine, &*other.bodies);
    assert!(why(bring(from, to, &[])).contains("has number 1, which account `zoe` has"));

    other.run(other.store.delete_account("zoe")).unwrap();
    let error = why(bring(from, to, &[]));
    assert!(error.contains("another message under number"), "{error}");

    let other = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let to = side(&*other.engine, &*other.bodies);
    bring(from, to, &["ann"]).unwrap();
    let account = other.run(other.store.account(AccountId(1))).unwrap();
    other.append(&other.mailbox(&account, "INBOX"), 1);
    let error = why(bring(from, to, &[]));
    assert!(error.contains("brought before and has changed since"), "{error}");
    assert_eq!(other.mailbox(&account, "INBOX").state().exists(), 20, "what came since stays");

    let missing = MemoryBodies::new();
    let error = why(bring(side(&*house.engine, &missing), side(&engine, &bodies), &[]));
    assert!(error.starts_with("the source, body ") && error.contains("of mailbox `"), "{error}");
    assert!(error.contains("of `ann`"), "{error}");
    assert!(engine.account("ann").unwrap().is_none(), "an account that is not whole is not seen");
}

#[test]
fn what_is_gone_from_the_target_is_found_by_whoever_migrates_again() {
    // H8
    let house = source();
    let from = side(&*house.engine, &*house.bodies);
    let (engine, bodies) = (Memory::new(), MemoryBodies::new());
    bring(from, side(&engine, &bodies), &[]).unwrap();
    let gone = bodies.crash(|| Fate::Kept);
    let row = engine.bodies(&[BodyId(1)]).unwrap().remove(0);
    gone.reclaim(&[row.body]).unwrap();
    let error = bring(from, side(&engine, &gone), &[]).unwrap_err().to_string();
    assert!(error.starts_with("the target, body 1 of mailbox `"), "{error}");
    assert!(error.contains("of `ann`") && error.contains("is not there"), "{error}");
}

#[test]
fn nobody_gets_a_number_of_an_account_that_is_half_there() {
    let house = source();
    let from = side(&*house.engine, &*house.bodies);
    let other = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let to = side(&*other.engine, &*other.bodies);
    let mut renew = |_| {};
    let mut tell = |_: &str, moved: &Moved| {
        if moved.octets > 0 {
            other.engine.fail_next_commit(Fault::Full);
        }
    };
    migrate(from, to, &[], 1_700_000_001, &mut tell, &mut renew).unwrap_err();
    assert!(other.engine.account("ann").unwrap().is_none(), "it ended before ann was whole");
    assert!(other.account("zoe").id() > AccountId(3));
    assert_eq!(bring(from, to, &[]).unwrap().accounts, 2);
}

#[test]
fn what_an_account_has_stored_counts_once_though_the_source_changed_on_the_way() {
    let house = source();
    let from = side(&*house.engine, &*house.bodies);
    let (engine, bodies) = (Memory::new(), MemoryBodies::new());
    // All of ann's logs come; the row that would make her an account does not.
    let mut tell = |_: &str, moved: &Moved| {
        if moved.mailboxes == 2 {
            engine.fail_next_commit(Fault::Broken);
        }
    };
    let to = side(&engine, &bodies);
    migrate(from, to, &["ann".into()], 1_700_000_001, &mut tell, &mut |_| {}).unwrap_err();
    let (engine, bodies) = (engine.crash(|| Fate::Kept), bodies.crash(|| Fate::Kept));
    assert!(engine.usage(AccountId(1)).unwrap().messages > 0);
    assert!(engine.account("ann").unwrap().is_none());
    let ann = house.run(house.store.account(AccountId(1))).unwrap();
    house.append(&house.mailbox(&ann, "INBOX"), 2);
    house.create(&ann, "New");
    bring(from, side(&engine, &bodies), &["ann"]).unwrap();
    assert_eq!(engine.usage(AccountId(1)).unwrap(), house.engine.usage(AccountId(1)).unwrap());
}
