//! The store as its users see it: changes in, snapshots out, over the engine in memory and the embedded one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

use imap::command::{DateTime, StoreAction};
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::set::UidSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use store::engine::{Engine, LogId};
use store::memory::{Fate, Fault, Memory, MemoryBodies};
use store::{
    AccountChange, Change, Clock, Error, Executor, Mailbox, MailboxId, NewMessage, Options,
    Outcome, Pending, Store, Stored,
};

#[path = "house/stepped.rs"]
mod house;

use house::{House, Ticks};

fn claim(mailbox: MailboxId, uid: u32, since: ModSeq, action: StoreAction, flag: Flag) -> Change {
    Change::StoreFlags {
        mailbox,
        uids: UidSet::one(Uid::new(uid).unwrap()),
        condition: Some(ModSeqOrZero::from(since)),
        action,
        flags: vec![flag],
    }
}

fn stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

fn keyword(name: &str) -> Flag {
    Flag::Keyword(Keyword::new(name).unwrap())
}

fn flags(mailbox: &Mailbox) -> Vec<(u32, String, u64)> {
    let state = mailbox.state();
    let show = |m: &store::Message| {
        let names: Vec<_> = state.keywords().names_of(m.flags).collect();
        (m.uid.value(), names.join(" "), m.mod_seq.value())
    };
    state.tree().iter().map(|(_, m)| show(m)).collect()
}

#[test]
fn of_racing_claims_exactly_one_wins() {
    // [S-79] [S-82] H2
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 1);
    let own = |k: usize| keyword(&format!("$c{k}"));
    let same = |_: usize| keyword("$Processing");
    let system = |_: usize| Flag::System(SystemFlag::Flagged);
    let forms: [(StoreAction, &dyn Fn(usize) -> Flag); 4] = [
        (StoreAction::Add, &same),
        (StoreAction::Add, &system),
        (StoreAction::Replace, &own),
        (StoreAction::Add, &own),
    ];
    for round in 0..200 {
        let (action, flag) = forms[round % 4];
        let clear = Change::StoreFlags {
            mailbox: inbox.id(),
            uids: UidSet::one(Uid::MIN),
            condition: None,
            action: StoreAction::Replace,
            flags: Vec::new(),
        };
        house.run(house.store.submit(clear)).unwrap();
        let since = inbox.state().highest_mod_seq();
        let racing: Vec<Pending> = (0..16)
            .map(|k| house.store.submit(claim(inbox.id(), 1, since, action, flag(k))))
            .collect();
        let outcomes: Vec<_> = racing.into_iter().map(|p| stored(house.run(p).unwrap())).collect();
        let winners = outcomes.iter().filter(|o| !o.changed.is_empty()).count();
        let losers = outcomes.iter().filter(|o| !o.failed.is_empty()).count();
        assert_eq!((winners, losers), (1, 15), "round {round}");
    }
}

#[test]
fn recent_is_no_change() {
    // [S-18]
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 3);
    let before = inbox.state();
    assert_eq!(
        (inbox.take_recent(3), inbox.take_recent(3)),
        (0, 3),
        "the second session gets none"
    );
    assert!(Arc::ptr_eq(&before, &inbox.state()));
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    // H1
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 1);
    let before = inbox.state();
    let mut pending =
        pin!(house.store.submit(claim(inbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("x"))));
    let mut context = Context::from_waker(Waker::noop());
    assert!(pending.as_mut().poll(&mut context).is_pending());
    assert!(Arc::ptr_eq(&before, &inbox.state()));
    house.committer.step();
    assert!(pending.as_mut().poll(&mut context).is_ready());
    assert!(inbox.state().highest_mod_seq() > before.highest_mod_seq());
}

#[test]
fn a_full_disk_changes_nothing_and_a_broken_one_ends_writing() {
    // H1
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 1);
    let before = flags(&inbox);
    let change = || claim(inbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("x"));
    house.engine.fail_next_commit(Fault::Full);
    assert!(matches!(house.run(house.store.submit(change())), Err(Error::Full(_))));
    assert_eq!(flags(&inbox), before);
    house.engine.fail_next_commit(Fault::Broken);
    let first = house.store.submit(change());
    let second = house.store.submit(change());
    assert!(matches!(house.run(first), Err(Error::Broken(_))), "its outcome is unknown");
    assert!(matches!(house.run(second), Err(Error::Broken(_))), "it was in the same batch");
    assert_eq!(flags(&inbox), before, "what may not be durable is not shown");
    assert!(matches!(house.run(house.store.submit(change())), Err(Error::Unavailable(_))));
}

#[test]
fn a_failed_sync_of_bodies_ends_writing() {
    // H1
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 1);
    house.bodies.fail_next_sync();
    let mut receiver = house.store.receive().unwrap();
    receiver.write(b"x").unwrap();
    let body = house.run(receiver.finish()).unwrap();
    let internal_date = DateTime { unix: 0, zone_minutes: 0 };
    let messages = vec![NewMessage { body, flags: Vec::new(), internal_date }];
    let append = Change::Append { mailbox: inbox.id(), messages };
    assert!(matches!(house.run(house.store.submit(append)), Err(Error::Broken(_))));
    assert_eq!(inbox.state().exists(), 1, "nothing refers to what may not be durable");
    let change = claim(inbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("x"));
    assert!(matches!(house.run(house.store.submit(change)), Err(Error::Unavailable(_))));
}

#[test]
fn bodies_are_given_back_once_nothing_refers_to_them() {
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 3);
    let copy = |uids, remove| {
        let (source, target) = (inbox.id(), inbox.id());
        house.run(house.store.submit(Change::Transfer { source, target, uids, remove })).unwrap();
    };
    copy(UidSet::from_ranges([(1, 1)]), false);
    let delete = Change::StoreFlags {
        mailbox: inbox.id(),
        uids: UidSet::from_ranges([(1, 2)]),
        condition: None,
        action: StoreAction::Add,
        flags: vec![Flag::System(SystemFlag::Deleted)],
    };
    house.run(house.store.submit(delete)).unwrap();
    house.run(house.store.submit(Change::Expunge { mailbox: inbox.id(), uids: None })).unwrap();
    assert_eq!(house.store.reclaim(60).unwrap(), 0, "the grace period is not over");
    assert_eq!(house.store.reclaim(-1).unwrap(), 1, "the first lives on in its copy");
    assert_eq!(house.bodies.count(), 2);
}

/// A clock that stands where it is put.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed).try_into().unwrap()
    }

    fn random(&self) -> u64 {
        7
    }
}

#[test]
fn forgotten_history_is_never_taken_for_none() {
    // [S-130] [S-172] H6
    let clock = Arc::new(Hand(AtomicU64::new(1_000)));
    let mut house =
        House::with_clock(Memory::new(), MemoryBodies::new(), clock.clone(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 9);
    let mut marks = Vec::new();
    for uid in 1..=6 {
        marks.push(inbox.state().highest_mod_seq().value());
        let uids = UidSet::from_ranges([(uid, uid)]);
        let change =
            Change::Transfer { source: inbox.id(), target: inbox.id(), uids, remove: true };
        house.run(house.store.submit(change)).unwrap();
        clock.0.fetch_add(100, Ordering::Relaxed);
    }
    let id = account.id();
    let set = |low, high| Some(UidSet::from_ranges([(low, high)]));
    assert_eq!(house.expunged_since(&inbox, marks[0]), set(1, 6));
    assert_eq!(house.store.forget_history(100_000).unwrap(), 0);
    // Those of the seconds 1000, 1100 and 1200 are older than 350 seconds at 1600.
    assert_eq!(house.store.forget_history(350).unwrap(), 3);
    for restarted in [false, true] {
        if restarted {
            let engine = house.engine.crash(|| Fate::Lost);
            let bodies = house.bodies.crash(|| Fate::Lost);
            house = House::with_clock(engine, bodies, clock.clone(), Options::default());
        }
        let inbox = house.mailbox(&house.run(house.store.account(id)).unwrap(), "INBOX");
        assert_eq!(house.expunged_since(&inbox, 0), None);
        assert_eq!(house.expunged_since(&inbox, marks[2]), None, "one below what was forgotten");
        assert_eq!(house.expunged_since(&inbox, marks[3]), set(4, 6), "all of it is remembered");
        let some = UidSet::from_ranges([(5, 9)]);
        // Three records: an answer from fewer would not be whole.
        for (records_max, expected) in [(1000, set(5, 6)), (3, set(5, 6)), (2, None)] {
            let id = inbox.id();
            let find = house.store.expunged_since(id, marks[3], some.clone(), records_max);
            assert_eq!(house.run(find).unwrap(), expected);
        }
    }
}

#[test]
fn every_octet_that_is_read_was_checked() {
    // H8
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let octets: Vec<u8> = (0..200_000_u32).map(|n| (n % 251).try_into().unwrap()).collect();
    let message = house.message(&octets);
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    let append = Change::Append { mailbox: inbox.id(), messages: vec![message] };
    house.run(house.store.submit(append)).unwrap();
    let id = inbox.state().tree().iter().next().unwrap().1.body;
    let mut body = Arc::into_inner(house.run(house.store.body(id)).unwrap()).unwrap();
    for (from, to) in
        [(0, 200_000), (65_535, 65_537), (131_072, 131_072), (199_999, 300_000), (300_000, 400_000)]
    {
        let mut found = vec![7];
        house.store.read(&body, from..to, &mut found).unwrap();
        let clip = |n: u64| usize::try_from(n.min(200_000)).unwrap();
        assert_eq!(found[1..], octets[clip(from)..clip(to)]);
    }
    let other = house.message(&vec![1; 200_000]);
    let append = Change::Append { mailbox: inbox.id(), messages: vec![other] };
    house.run(house.store.submit(append)).unwrap();
    let id = inbox.state().tree().iter().last().unwrap().1.body;
    body.body.locator = house.run(house.store.body(id)).unwrap().body.locator.clone();
    let mut found = vec![7];
    let read = house.store.read(&body, 70_000..70_001, &mut found);
    assert!(matches!(read, Err(Error::Damaged(_))) && found == [7], "one octet of another body");
}

#[test]
fn many_movers_of_the_same_messages_make_each_copy_once() {
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 200);
    let targets: Vec<_> = (0..16).map(|n| house.create(&account, &format!("t{n}"))).collect();
    let all = UidSet::from_ranges([(1, 200)]);
    let moves: Vec<_> = (1..=200)
        .flat_map(|uid| targets.iter().map(move |target| (uid, target)))
        .map(|(uid, target)| Change::Transfer {
            source: inbox.id(),
            target: target.id(),
            uids: all.intersection(&UidSet::from_ranges([(uid, (uid + 3).min(200))])),
            remove: true,
        })
        .map(|change| house.store.submit(change))
        .collect();
    for pending in moves {
        house.run(pending).unwrap();
    }
    assert_eq!(inbox.state().exists(), 0);
    let copies: u32 = targets.iter().map(|target| target.state().exists()).sum();
    assert_eq!(copies, 200);
    assert_eq!(house.expunged_since(&inbox, 1).unwrap(), all);
}

#[test]
fn rename_inbox_moves_its_messages_and_rename_keeps_everything() {
    // [S-156] [S-157]
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    house.append(&inbox, 3);
    let rename = |from: &str, to: &str| AccountChange::Rename { from: from.into(), to: to.into() };
    house.run(house.store.submit_account(account.id(), rename("INBOX", "old/mail"))).unwrap();
    assert_eq!(inbox.state().exists(), 0);
    let old = house.mailbox(&account, "old/mail");
    assert_eq!(flags(&old).len(), 3);
    let (validity, highest) = (old.state().uid_validity(), old.state().highest_mod_seq());
    house.run(house.store.submit_account(account.id(), rename("old", "new"))).unwrap();
    let new = house.mailbox(&account, "new/mail");
    assert_eq!((new.id(), new.state().uid_validity()), (old.id(), validity));
    assert_eq!(new.state().highest_mod_seq(), highest);
}

#[test]
fn rename_writes_over_nothing() {
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    for name in ["a", "a/x", "b/x", "c"] {
        house.create(&account, name);
    }
    let rename = |from: &str, to: &str| {
        let change = AccountChange::Rename { from: from.into(), to: to.into() };
        house.run(house.store.submit_account(account.id(), change)).map(drop)
    };
    assert_eq!(rename("a", "b"), Err(Error::AlreadyExists), "b/x would be lost");
    assert_eq!(rename("a", "c"), Err(Error::AlreadyExists));
    assert_eq!(rename("no", "d"), Err(Error::NonExistent));
    assert!(matches!(rename("a", &"d/".repeat(63)), Err(Error::Cannot(_))));
    assert!(
        matches!(rename("a", &format!("d{}", "/d".repeat(62))), Ok(())),
        "63 levels and one below"
    );
    assert_eq!(account.state().mailboxes().filter(|(_, e)| e.id.is_some()).count(), 5);
}

#[test]
fn delete_ends_the_mailbox_for_changes_that_wait() {
    // [S-158]
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let mailbox = house.create(&account, "x");
    house.append(&mailbox, 1);
    let delete = AccountChange::Delete { name: "x".into() };
    let gone = house.store.submit(Change::Account { account: account.id(), change: delete });
    let late =
        house.store.submit(claim(mailbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("k")));
    assert!(house.run(gone).is_ok());
    assert_eq!(house.run(late).unwrap_err(), Error::NonExistent);
    assert!(mailbox.is_deleted());
    let again = house.create(&account, "x");
    assert!(again.state().uid_validity() > mailbox.state().uid_validity());
    assert_eq!(house.engine.head(LogId::from(mailbox.id())).unwrap(), None);
}

#[test]
fn mod_sequences_are_counted_whatever_the_clock_says() {
    // [S-11]
    let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
    let account = house.account("ann");
    let inbox = house.mailbox(&account, "INBOX");
    let first = inbox.state().highest_mod_seq().value();
    house.append(&inbox, 3);
    house
        .run(house.store.submit(claim(inbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("k"))))
        .unwrap();
    assert_eq!(inbox.state().highest_mod_seq().value(), first + 4);
}

/// Random changes with crashes in between: what was acknowledged is there, nothing has gone back.
#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    // [S-11] [S-20] [S-172] [S-173] H1 H3
    let options = Options { fold_bytes: 200, mailboxes_kept_max: 2, ..Options::default() };
    let mut dice = Ticks(AtomicU64::new(42));
    let mut roll = move |below: u64| {
        let x = dice.0.get_mut();
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 33) % below
    };
    let mut house = House::new(Memory::new(), MemoryBodies::new(), options.clone());
    let account = house.account("ann").id();
    for round in 0..60 {
        let handle = house.run(house.store.account(account)).unwrap();
        let inbox = house.mailbox(&handle, "INBOX");
        for _ in 0..20 {
            step(&house, &inbox, &mut roll);
        }
        let (seen, highest, next) =
            (flags(&inbox), inbox.state().highest_mod_seq(), inbox.state().uid_next());
        let history = house.expunged_since(&inbox, 1).unwrap();
        let unanswered =
            house.store.submit(claim(inbox.id(), 1, ModSeq::MAX, StoreAction::Add, keyword("z")));
        let fate = if roll(2) == 0 { Fate::Lost } else { Fate::Kept };
        let engine = house.engine.crash(|| fate);
        let bodies = house.bodies.crash(|| Fate::Lost);
        drop(unanswered);
        house = House::new(engine, bodies, options.clone());
        let handle = house.run(house.store.account(account)).unwrap();
        let inbox = house.mailbox(&handle, "INBOX");
        assert_eq!(flags(&inbox), seen, "round {round}");
        assert_eq!(inbox.state().highest_mod_seq(), highest);
        assert_eq!(inbox.state().uid_next(), next);
        assert_eq!(house.expunged_since(&inbox, 1).unwrap(), history);
        for (_, message) in inbox.state().tree().iter() {
            let body = house.run(house.store.body(message.body)).unwrap();
            let mut octets = Vec::new();
            house.store.read(&body, 0..body.body.len, &mut octets).unwrap();
            assert_eq!(octets.len() as u64, message.size);
        }
    }
}

fn step(house: &House, inbox: &Mailbox, roll: &mut impl FnMut(u64) -> u64) {
    let next = u64::from(inbox.state().uid_next());
    let low = u32::try_from(1 + roll(next)).unwrap();
    let uids = UidSet::from_ranges([(low, low + u32::try_from(roll(20)).unwrap())]);
    let flag = match roll(4) {
        0 => Flag::System(SystemFlag::Deleted),
        1 => Flag::System(SystemFlag::Seen),
        n => keyword(&format!("k{}", n + roll(20))),
    };
    let action = [StoreAction::Add, StoreAction::Remove, StoreAction::Replace]
        [usize::try_from(roll(3)).unwrap()];
    let mailbox = inbox.id();
    let before = inbox.state().highest_mod_seq();
    let change = match roll(6) {
        0 | 1 => {
            let message = house.message(format!("Subject: {low}\r\n\r\n").as_bytes());
            Change::Append { mailbox, messages: vec![message.clone(), message] }
        }
        2 => Change::Expunge { mailbox, uids: Some(uids) },
        3 => Change::Transfer { source: mailbox, target: mailbox, uids, remove: roll(2) == 0 },
        _ => Change::StoreFlags { mailbox, uids, condition: None, action, flags: vec![flag] },
    };
    house.run(house.store.submit(change)).unwrap();
    assert!(inbox.state().highest_mod_seq() >= before);
}

struct Threads;

impl Executor for Threads {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(job);
    }
}

/// Waits for a future on this thread.
fn block<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Real threads, the real embedded engine, a race on every message, and everything there after reopening.
#[test]
fn the_embedded_engine_keeps_one_winner_under_threads() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let engine = Arc::new(store::embedded::Embedded::open(directory.path()).unwrap());
        let clock = Arc::new(Ticks(AtomicU64::new(7)));
        Store::open(
            engine,
            Arc::new(MemoryBodies::new()),
            Arc::new(Threads),
            clock,
            Options::default(),
        )
    };
    let (store, committer) = open();
    let writer = std::thread::spawn(move || committer.run());
    let account = block(store.create_account("ann", Vec::new())).unwrap();
    let state = block(store.account(account)).unwrap().state();
    let id = state.mailbox("INBOX").unwrap().id.unwrap();
    let inbox = block(store.mailbox(id)).unwrap();
    let mut receiver = store.receive().unwrap();
    receiver.write(b"Subject: x\r\n\r\n").unwrap();
    let body = block(receiver.finish()).unwrap();
    let internal_date = DateTime { unix: 0, zone_minutes: 0 };
    let message = NewMessage { body, flags: Vec::new(), internal_date };
    let append = Change::Append { mailbox: id, messages: vec![message; 100] };
    block(store.submit(append)).unwrap();
    let since = inbox.state().highest_mod_seq();
    let wins: u64 = std::thread::scope(|scope| {
        let worker = |k: usize| {
            let store = store.clone();
            move || -> u64 {
                let own = |uid| claim(id, uid, since, StoreAction::Add, keyword(&format!("$c{k}")));
                (1..=100)
                    .map(|uid| stored(block(store.submit(own(uid))).unwrap()).changed.len())
                    .sum()
            }
        };
        let workers: Vec<_> = (0..8).map(|k| scope.spawn(worker(k))).collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    assert_eq!(wins, 100);
    let seen = flags(&inbox);
    store.shutdown();
    writer.join().unwrap();
    drop((store, inbox, state));
    let (store, committer) = open();
    let writer = std::thread::spawn(move || committer.run());
    let inbox = block(store.mailbox(id)).unwrap();
    assert_eq!(flags(&inbox), seen);
    store.shutdown();
    writer.join().unwrap();
}

#[test]
fn a_fallen_committer_leaves_nobody_waiting() {
    let fall = |_| panic!("a fault of the program");
    let options = Options { on_batch: Some(Arc::new(fall)), ..Options::default() };
    let (engine, bodies) = (Arc::new(Memory::new()), Arc::new(MemoryBodies::new()));
    let clock = Arc::new(Ticks(AtomicU64::new(7)));
    let (store, committer) = Store::open(engine, bodies, Arc::new(Threads), clock, options);
    let writer = std::thread::spawn(move || committer.run());
    block(store.create_account("ann", Vec::new())).unwrap();
    assert!(writer.join().is_err(), "it fell after the first batch");
    let late = block(store.create_account("bob", Vec::new()));
    assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
}
