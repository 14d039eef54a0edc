//! Several stores over one engine, as several machines are over one database.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

use imap::command::StoreAction;
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::set::UidSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use std::thread;
use store::engine::{Engine, LogId};
use store::memory::{Memory, MemoryBodies};
use store::{
    Account, AccountChange, Change, Error, Executor, Mailbox, MailboxId, Options, Outcome, Quota,
    Store,
};

#[path = "house/stepped.rs"]
mod house;

use house::{House, Ticks};

/// So many nodes, an account `ann`, and its INBOX as the first node has it.
fn nodes<const N: usize>(options: &Options) -> ([House; N], Account, Mailbox) {
    let (engine, bodies) = (Arc::new(Memory::shared()), Arc::new(MemoryBodies::new()));
    let nodes = std::array::from_fn(|n| {
        let clock = Arc::new(Ticks(AtomicU64::new(n as u64)));
        House::over(engine.clone(), bodies.clone(), clock, options.clone())
    });
    let account = nodes[0].account("ann");
    let inbox = nodes[0].mailbox(&account, "INBOX");
    (nodes, account, inbox)
}

fn keyword(name: &str) -> Flag {
    Flag::Keyword(Keyword::new(name).unwrap())
}

fn add(mailbox: MailboxId, since: Option<u64>, flag: Flag) -> Change {
    let condition = since.map(|since| ModSeqOrZero::from(ModSeq::new(since).unwrap()));
    let (uids, flags) = (UidSet::one(Uid::MIN), vec![flag]);
    Change::StoreFlags { mailbox, uids, condition, action: StoreAction::Add, flags }
}

fn stored(outcome: Outcome) -> store::Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

/// Everything that clients may see of a mailbox.
fn seen(mailbox: &Mailbox) -> Vec<(u32, Vec<String>, u64)> {
    let state = mailbox.state();
    let names = |m: &store::Message| state.keywords().names_of(m.flags).map(|n| n.to_string());
    let messages = state.tree().iter();
    messages.map(|(_, m)| (m.uid.value(), names(m).collect(), m.mod_seq.value())).collect()
}

#[test]
fn a_condition_is_tested_against_what_another_node_wrote() {
    // H2
    let ([one, two], _, inbox) = nodes(&Options::default());
    one.append(&inbox, 1);
    let there = two.run(two.store.mailbox(inbox.id())).unwrap();
    let since = inbox.state().highest_mod_seq().value();
    assert_eq!(there.state().highest_mod_seq().value(), since);
    let first = one.run(one.store.submit(add(inbox.id(), Some(since), keyword("$a"))));
    let second = two.run(two.store.submit(add(inbox.id(), Some(since), keyword("$b"))));
    let (first, second) = (stored(first.unwrap()), stored(second.unwrap()));
    assert_eq!((first.changed.len(), second.failed.len()), (1, 1));
    // The loser has learnt what won, and everybody waiting there is told.
    assert_eq!(seen(&there), seen(&inbox));
}

#[test]
fn a_sync_point_shows_what_another_node_wrote() {
    let ([one, two], account, inbox) = nodes(&Options::default());
    let there = two.run(two.store.mailbox(inbox.id())).unwrap();
    one.append(&inbox, 3);
    two.run(two.store.follow(Some(&there), &[])).unwrap();
    assert_eq!(seen(&there), seen(&inbox));
    // A new name, and a mailbox that is no more.
    let known = two.run(two.store.account(account.id())).unwrap();
    one.create(&account, "Box");
    two.run(two.store.follow(None, &[&known])).unwrap();
    let box_there = two.mailbox(&known, "Box");
    let delete = AccountChange::Delete { name: "Box".into() };
    one.run(one.store.submit_account(account.id(), delete)).unwrap();
    two.run(two.store.follow(Some(&box_there), &[&known])).unwrap();
    assert!(box_there.is_deleted() && known.state().mailbox("Box").is_none());
    one.run(one.store.delete_account("ann")).unwrap();
    two.run(two.store.follow(None, &[&known])).unwrap();
    assert!(known.is_deleted());
}

#[test]
fn who_waits_is_told_by_a_hint_and_without_one() {
    let ([one, two], _, inbox) = nodes(&Options::default());
    one.append(&inbox, 1);
    let there = two.run(two.store.mailbox(inbox.id())).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for hinted in [true, false] {
        let before = there.state();
        let mut changed = pin!(there.changed(&before));
        assert!(changed.as_mut().poll(&mut context).is_pending());
        let flag = keyword(if hinted { "$hinted" } else { "$unhinted" });
        one.engine.lose_hints(!hinted);
        one.run(one.store.submit(add(inbox.id(), None, flag))).unwrap();
        if !hinted {
            assert!(changed.as_mut().poll(&mut context).is_pending());
            two.store.follow_watched();
        }
        assert!(changed.as_mut().poll(&mut context).is_ready());
        assert_eq!(seen(&there), seen(&inbox));
    }
}

#[test]
fn quota_counts_what_other_nodes_store() {
    let ([one, two], account, inbox) = nodes(&Options::default());
    let there = two.run(two.store.mailbox(inbox.id())).unwrap();
    let quota = Quota { messages: Some(2), ..Quota::default() };
    one.run(one.store.submit_account(account.id(), AccountChange::SetQuota(quota))).unwrap();
    one.append(&inbox, 1);
    two.append(&there, 1);
    let change = Change::Append { mailbox: inbox.id(), messages: vec![one.message(b"a\r\n\r\n")] };
    assert!(matches!(one.run(one.store.submit(change)), Err(Error::OverQuota(_))));
    assert_eq!(account.usage().messages, 2);
}

#[test]
fn folds_of_several_nodes_do_not_mix() {
    let options = Options { fold_bytes: 200, ..Options::default() };
    let ([one, two], account, inbox) = nodes(&options);
    one.append(&inbox, 400);
    let there = two.run(two.store.mailbox(inbox.id())).unwrap();
    for round in 0..300_u32 {
        let (node, mailbox) = if round % 7 < 3 { (&one, &inbox) } else { (&two, &there) };
        if round % 5 == 0 {
            node.append(mailbox, 1);
        }
        let uid = |n: u32| n % 400 + 1;
        let uids = UidSet::from_ranges([round * 17, round * 31].map(uid).map(|uid| (uid, uid)));
        let (flags, action) = (vec![Flag::System(SystemFlag::Deleted)], StoreAction::Add);
        let mailbox_id = mailbox.id();
        let change =
            Change::StoreFlags { mailbox: mailbox_id, uids, condition: None, action, flags };
        node.run(node.store.submit(change)).unwrap();
        if round % 40 == 39 {
            node.run(node.store.submit(Change::Expunge { mailbox: mailbox_id, uids: None }))
                .unwrap();
        }
    }
    let folded = one.engine.head(LogId::from(inbox.id())).unwrap().unwrap().folded;
    assert!(folded > 400, "nothing was folded since: {folded}");
    one.run(one.store.follow(Some(&inbox), &[])).unwrap();
    two.run(two.store.follow(Some(&there), &[])).unwrap();
    assert_eq!(seen(&inbox), seen(&there));
    // As one who reads the pages finds it.
    let clock = Arc::new(Ticks(AtomicU64::new(9)));
    let third = House::over(one.engine.clone(), one.bodies.clone(), clock, Options::default());
    let anew = third.mailbox(&third.run(third.store.account(account.id())).unwrap(), "INBOX");
    assert_eq!(seen(&inbox), seen(&anew));
}

/// A store whose committers run on threads.
fn started(
    engine: &Arc<Memory>,
    bodies: &Arc<MemoryBodies>,
    lanes: usize,
) -> (Store, Vec<thread::JoinHandle<()>>) {
    struct Threads;
    impl Executor for Threads {
        fn run(&self, job: Box<dyn FnOnce() + Send>) {
            thread::spawn(job);
        }
    }
    let options = Options { lanes, ..Options::default() };
    let clock = Arc::new(Ticks(AtomicU64::new(7)));
    let (store, committer) =
        Store::open(engine.clone(), bodies.clone(), Arc::new(Threads), clock, options);
    let lanes = (0..lanes).map(|_| {
        let committer = committer.clone();
        thread::spawn(move || committer.run())
    });
    (store, lanes.collect())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn of_claims_on_all_nodes_exactly_one_wins() {
    // [S-79] [S-82] H2
    const ROUNDS: usize = 60;
    let ([first], _, inbox) = nodes(&Options::default());
    first.append(&inbox, 1);
    let nodes: Vec<_> = (0..3).map(|_| started(&first.engine, &first.bodies, 3)).collect();
    let mut since = inbox.state().highest_mod_seq().value();
    for round in 0..ROUNDS {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let claims = nodes.iter().flat_map(|(store, _)| [store; 4]).map(|store| {
                let change = add(inbox.id(), Some(since), keyword(&format!("$c{round}")));
                scope.spawn(move || stored(wait(store.submit(change)).unwrap()))
            });
            let claims: Vec<_> = claims.collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        let winners = outcomes.iter().filter(|o| !o.changed.is_empty()).count();
        let losers = outcomes.iter().filter(|o| !o.failed.is_empty()).count();
        assert_eq!((winners, losers), (1, 11), "round {round}");
        since = outcomes.iter().filter_map(|o| o.mod_seq).max().unwrap().value();
    }
    for (store, lanes) in nodes {
        store.shutdown();
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
    }
}

#[test]
fn lanes_keep_the_order_of_each_mailbox() {
    let ([first], account, inbox) = nodes(&Options::default());
    first.append(&inbox, 1);
    let boxes: Vec<Mailbox> = (0..4)
        .map(|n| {
            let mailbox = first.create(&account, &format!("Box{n}"));
            first.append(&mailbox, 1);
            mailbox
        })
        .collect();
    let (store, lanes) = started(&first.engine, &first.bodies, 4);
    // In memory, so that a change is queued where it is submitted.
    wait(store.directory()).unwrap();
    let _open: Vec<_> =
        boxes.iter().map(|mailbox| wait(store.mailbox(mailbox.id())).unwrap()).collect();
    let mut pending = Vec::new();
    for round in 0..100 {
        for mailbox in &boxes {
            let flag = keyword(&format!("k{round}"));
            pending.push((mailbox.id(), store.submit(add(mailbox.id(), None, flag))));
        }
    }
    let mut last = std::collections::HashMap::new();
    for (id, pending) in pending {
        let mod_seq = stored(wait(pending).unwrap()).mod_seq.unwrap();
        assert!(last.insert(id, mod_seq).is_none_or(|before| before < mod_seq));
    }
    store.shutdown();
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
}

#[test]
fn a_doubtful_mailbox_gets_a_new_uid_validity_before_anyone_sees_it() {
    // H3 H6
    let ([one, two], account, inbox) = nodes(&Options::default());
    one.append(&inbox, 2);
    let before = inbox.state();
    one.engine.doubt();
    // By reading it, and by a change of what nobody has read.
    let clock = || Arc::new(Ticks(AtomicU64::new(5)));
    let other = one.create(&account, "Other");
    let fresh = House::over(two.engine.clone(), two.bodies.clone(), clock(), Options::default());
    let known = fresh.run(fresh.store.account(account.id())).unwrap();
    let there = fresh.mailbox(&known, "INBOX");
    assert!(there.state().uid_validity() > before.uid_validity());
    assert!(there.state().highest_mod_seq() > before.highest_mod_seq());
    let entry = known.state().mailbox("INBOX").unwrap().uid_validity;
    assert_eq!(entry, there.state().uid_validity());
    let again = House::over(two.engine.clone(), two.bodies.clone(), clock(), Options::default());
    let same = again.mailbox(&again.run(again.store.account(account.id())).unwrap(), "INBOX");
    assert_eq!(same.state().uid_validity(), there.state().uid_validity(), "once is enough");
    // One made since is not doubtful.
    let later = again.run(again.store.mailbox(other.id())).unwrap();
    assert_eq!(later.state().uid_validity(), other.state().uid_validity());
}

#[test]
fn a_change_of_a_doubtful_mailbox_comes_after_its_renewal() {
    let ([one], _, inbox) = nodes(&Options::default());
    one.append(&inbox, 1);
    let before = inbox.state().uid_validity();
    one.engine.doubt();
    let clock = Arc::new(Ticks(AtomicU64::new(5)));
    let fresh = House::over(one.engine.clone(), one.bodies.clone(), clock, Options::default());
    let done = stored(fresh.run(fresh.store.submit(add(inbox.id(), None, keyword("k")))).unwrap());
    assert!(done.after.uid_validity() > before);
    assert_eq!(inbox.state().uid_validity(), done.after.uid_validity(), "others learn of it");
}
