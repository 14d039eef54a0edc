//! What it costs to apply changes to a mailbox, and to find what changed: in a small one and in a large one.
//!
//! `cargo bench -p highwater-store --bench apply` tells times, `bench/instructions` counts. A change is submitted,
//! applied, encoded, kept by the engine in memory, published and answered; nothing is written to a disk. Each benchmark has
//! its result asserted once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a benchmark ends at the first thing that is wrong, and uses a part of the tests' house"
)]

use std::cell::{Cell, LazyCell};
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use imap::command::StoreAction;
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::number::ModSeqOrZero;
use imap::set::UidSet;
use store::memory::{Memory, MemoryBodies};
use store::{Change, Mailbox, Options, Outcome, Pending, Stored};

#[path = "../tests/house/stepped.rs"]
mod house;

use house::House;

/// Messages in the mailboxes.
const SIZES: [u32; 2] = [10_000, 1_000_000];
/// Changes in one batch, each of another client.
const BATCH: u32 = 100;
/// Messages of one change.
const TOGETHER: u32 = 1000;
/// Messages changed, and messages expunged, while a client was away.
const MISSED: u32 = 10;

/// What `bench/instructions` counts: this function and all that it calls.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for size in SIZES {
        let place = LazyCell::new(|| Place::fill(size));
        apply(&mut criterion, &place, size);
        scan(&mut criterion, &place, size);
    }
    criterion.final_summary();
}

/// `10000` as it is read by people.
fn shown(size: u32) -> String {
    if size < 1000 {
        size.to_string()
    } else {
        format!("{},{:03}", shown(size / 1000), size % 1000)
    }
}

/// A mailbox in a store of its own.
struct Place {
    house: House,
    inbox: Mailbox,
    size: u32,
    /// Whether the flags are set or cleared next.
    clears: Cell<bool>,
    /// HIGHESTMODSEQ before what was missed.
    known: u64,
}

impl Place {
    fn fill(size: u32) -> Self {
        let house = House::new(Memory::new(), MemoryBodies::new(), Options::default());
        let account = house.account("ann");
        let inbox = house.mailbox(&account, "INBOX");
        house.append(&inbox, 1);
        let mailbox = inbox.id();
        let exists = || inbox.state().exists();
        while exists() < size {
            let uids = UidSet::from_ranges([(1, exists().min(size - exists()))]);
            let copies = Change::Transfer { source: mailbox, target: mailbox, uids, remove: false };
            house.run(house.store.submit(copies)).unwrap();
        }
        let known = inbox.state().highest_mod_seq().value();
        let mut place = Self { house, inbox, size, clears: Cell::new(false), known };
        place.miss();
        place
    }

    /// Changes some messages and expunges as many others.
    fn miss(&mut self) {
        let mailbox = self.inbox.id();
        let (changed, gone) = (self.scattered(MISSED, 1), self.scattered(MISSED, 2));
        self.stored(&changed, SystemFlag::Answered, StoreAction::Add);
        self.stored(&gone, SystemFlag::Deleted, StoreAction::Add);
        let expunge = Change::Expunge { mailbox, uids: None };
        self.house.run(self.house.store.submit(expunge)).unwrap();
    }

    fn stored(&self, uids: &UidSet, flag: SystemFlag, action: StoreAction) -> Stored {
        let change = Change::StoreFlags {
            mailbox: self.inbox.id(),
            uids: uids.clone(),
            condition: None,
            action,
            flags: vec![Flag::System(flag)],
        };
        stored(self.house.run(self.house.store.submit(change)).unwrap())
    }

    /// So many UIDs, all over the mailbox.
    fn scattered(&self, count: u32, offset: u32) -> UidSet {
        let uids = (0..count).map(|number| self.size / count * number + offset);
        UidSet::from_ranges(uids.map(|uid| (uid, uid)))
    }

    /// Set, and the next time cleared.
    fn turn(&self) -> StoreAction {
        if self.clears.replace(!self.clears.get()) { StoreAction::Remove } else { StoreAction::Add }
    }

    /// Conditional changes that wait together and are one batch; answers how many changed something.
    fn batch(&self, changes: Vec<Change>) -> usize {
        let waiting: Vec<Pending> =
            changes.into_iter().map(|change| self.house.store.submit(change)).collect();
        let outcomes = waiting.into_iter().map(|pending| stored(self.house.run(pending).unwrap()));
        outcomes.filter(|stored| !stored.changed.is_empty()).count()
    }

    /// A batch of changes, each of one message that was not changed since.
    fn conditional(
        &self,
        uids: &UidSet,
        flag: impl Fn(u32) -> Flag,
        action: StoreAction,
    ) -> Vec<Change> {
        let since = ModSeqOrZero::from(self.inbox.state().highest_mod_seq());
        let change = |uid| Change::StoreFlags {
            mailbox: self.inbox.id(),
            uids: UidSet::from_ranges([(uid, uid)]),
            condition: Some(since),
            action,
            flags: vec![flag(uid)],
        };
        uids.iter().map(change).collect()
    }
}

fn stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

fn apply(criterion: &mut Criterion, place: &LazyCell<Place, impl FnOnce() -> Place>, size: u32) {
    let mut group = criterion.benchmark_group(format!("apply in {}", shown(size)));
    let claimed = |_| Flag::Keyword(Keyword::new("$Claimed").unwrap());
    for count in [1, BATCH] {
        group.bench_function(BenchmarkId::new("conditional STORE", count), |bencher| {
            let uids = place.scattered(count, 3);
            let next = || place.conditional(&uids, claimed, place.turn());
            assert_eq!(place.batch(next()), uids.iter().count(), "each passes");
            bencher.iter_batched(
                next,
                |changes| counted(|| place.batch(changes)),
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.bench_function(BenchmarkId::new("claims of one message", BATCH), |bencher| {
        let races = || {
            let action = place.turn();
            let one = || place.conditional(&place.scattered(1, 4), claimed, action);
            (0..BATCH).flat_map(|_| one()).collect::<Vec<_>>()
        };
        assert_eq!(place.batch(races()), 1, "one wins");
        bencher.iter_batched(
            races,
            |changes| counted(|| place.batch(changes)),
            criterion::BatchSize::PerIteration,
        );
    });
    group.bench_function(BenchmarkId::new("one STORE of 1,000", TOGETHER), |bencher| {
        let uids = place.scattered(TOGETHER, 5);
        let work = || place.stored(&uids, SystemFlag::Flagged, place.turn()).changed.len();
        assert_eq!(work(), u64::from(TOGETHER));
        bencher.iter(|| counted(work));
    });
}

fn scan(criterion: &mut Criterion, place: &LazyCell<Place, impl FnOnce() -> Place>, size: u32) {
    let mut group = criterion.benchmark_group(format!("scan of {}", shown(size)));
    group.bench_function("10 changed since", |bencher| {
        let known = place.inbox.state().highest_mod_seq().value();
        place.stored(&place.scattered(MISSED, 6), SystemFlag::Answered, StoreAction::Add);
        let state = place.inbox.state();
        let work = || state.tree().changed_since(black_box(known)).count();
        assert_eq!(work(), MISSED as usize);
        bencher.iter(|| counted(work));
    });
    group.bench_function("10 expunged since", |bencher| {
        let work = || place.house.expunged_since(&place.inbox, black_box(place.known)).unwrap();
        assert_eq!(work(), place.scattered(MISSED, 2));
        bencher.iter(|| counted(work));
    });
    group.bench_function("number of a UID", |bencher| {
        let state = place.inbox.state();
        let uid = imap::number::Uid::new(place.size / 2 + 7).unwrap();
        let work = || state.tree().seq_of(black_box(uid)).unwrap();
        assert_eq!(state.tree().uid_at(work()), Some(uid));
        bencher.iter(|| counted(work));
    });
}
