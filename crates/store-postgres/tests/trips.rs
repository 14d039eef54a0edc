//! What a commit costs in round trips, and that many who write to the same logs never wait for each other in a circle.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "tests, which fail by panicking"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use postgres::{LOG, append};
use proxy::Proxy;
use store::engine::{
    AccountId, Append, BodyRef, BodyRow, Commit, Engine, EngineError, Fold, Held, LogId, News,
};
use store::quota::UsageChange;

#[path = "server/postgres.rs"]
mod postgres;
#[path = "server/proxy.rs"]
mod proxy;

#[test]
fn a_conditional_store_takes_two_round_trips() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let url = server.database();
    let proxy = Proxy::start(server.port);
    let options = store_postgres::Options { writers: 1, readers: 1, ..postgres::options() };
    let counted = store_postgres::Postgres::open(&proxy.url(&url, server.port), &options).unwrap();
    let other = postgres::open(&url).unwrap();
    let account = LogId { number: 0, ..LOG };
    counted.commit(&append(LOG, 1)).unwrap();
    counted.commit(&append(account, 1)).unwrap();
    let mut seq = 1;
    let mut store = |learns: bool| {
        if learns {
            other.commit(&append(LOG, seq + 1)).unwrap();
        }
        proxy.trips();
        let held = Held { log: LOG, seq };
        seq += u64::from(learns);
        let begun = counted.begin(&[held], &[Held { log: account, seq: 1 }]).unwrap().unwrap();
        let standing = begun.standings.iter().find(|one| one.log == LOG).unwrap();
        assert_eq!(standing.news != News::None, learns);
        seq += 1;
        begun.transaction.commit(&append(LOG, seq)).unwrap();
        (proxy.trips(), seq)
    };
    // Statements are prepared once for each connection.
    store(false);
    store(true);
    counted.news(&[Held { log: LOG, seq: 1 }]).unwrap();
    proxy.count();
    let (plain, _) = store(false);
    let (learning, last) = store(true);
    counted.news(&[Held { log: LOG, seq: last }]).unwrap();
    proxy.trips();
    counted.news(&[Held { log: LOG, seq: last }]).unwrap();
    let quiet = proxy.trips();
    other.commit(&append(LOG, last + 1)).unwrap();
    proxy.trips();
    let news = counted.news(&[Held { log: LOG, seq: last }]).unwrap();
    assert!(matches!(&news[0].news, News::Deltas(deltas) if deltas.len() == 1));
    let told = proxy.trips();
    println!(
        "round trips: conditional STORE {plain}, after another's {learning}; sync point {quiet}, with news {told}"
    );
    assert!(plain == 2 && learning == 2, "{plain} and {learning} round trips for a commit");
    assert!(quiet == 1 && told == 3, "{quiet} and {told} round trips for a sync point");
}

/// A message moved from one mailbox to the other: both are written, both accounts' usage changes, the body is held.
fn moving(engine: &dyn Engine, from: LogId, to: LogId, bodies: &[store::engine::BodyId]) -> bool {
    let held = [from, to].map(|log| Held { log, seq: u64::MAX >> 1 });
    let begun = match engine.begin(&held, &[]) {
        Ok(begun) => begun.unwrap(),
        Err(error) => panic!("{error}"),
    };
    let append = |log: LogId| {
        let at = begun.standings.iter().find(|standing| standing.log == log).unwrap();
        let after = at.head.seq;
        Append { log, after, seq: after + 1, delta: vec![1], history: None }
    };
    let usage =
        |log: LogId, sign: i64| (log.account, UsageChange { octets: sign * 10, messages: sign });
    let commit = Commit {
        appends: vec![append(from), append(to)],
        references: bodies.iter().rev().map(|id| (*id, 1)).collect(),
        usage: vec![usage(from, -1), usage(to, 1)],
        ..Commit::default()
    };
    match begun.transaction.commit(&commit) {
        Ok(()) => true,
        Err(EngineError::Behind) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn many_nodes_that_write_to_the_same_logs_never_deadlock() {
    const NODES: usize = 3;
    const WRITERS: usize = 4;
    const TIMES: usize = 100;
    let Some(server) = postgres::Server::start(&["deadlock_timeout=50ms"]) else { return };
    let url = server.database();
    let nodes: Vec<_> = (0..NODES).map(|_| postgres::open(&url).unwrap()).collect();
    let log = |account: u64, number: u32| LogId { account: AccountId(account), number };
    let all: Vec<LogId> = (1..4).flat_map(|account| (1..4).map(move |n| log(account, n))).collect();
    all.iter().for_each(|one| nodes[0].commit(&append(*one, 1)).unwrap());
    let rows: Vec<BodyRow> = (0..6)
        .map(|_| BodyRow {
            id: nodes[0].next_body(),
            body: BodyRef { locator: vec![0], len: 1, crc: 0 },
            meta: Vec::new(),
        })
        .collect();
    let bodies: Vec<_> = rows.iter().map(|row| row.id).collect();
    let references = bodies.iter().map(|id| (*id, 1)).collect();
    let usage = (1..4).map(|n| (AccountId(n), UsageChange { octets: 1 << 30, messages: 1 << 20 }));
    let first = Commit { bodies: rows, references, usage: usage.collect(), ..Commit::default() };
    nodes[0].commit(&first).unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (at, node) in nodes.iter().cycle().take(NODES * WRITERS).enumerate() {
            let (all, bodies, done) = (&all, &bodies, &done);
            scope.spawn(move || {
                let mut dice = fastrand::Rng::with_seed(u64::try_from(at).unwrap());
                for _ in 0..TIMES {
                    let from = all[dice.usize(..all.len())];
                    let to = all[dice.usize(..all.len())];
                    // Most bring no bodies, whose rows all would wait for.
                    let bodies = if dice.u8(..8) == 0 { bodies.as_slice() } else { &[] };
                    if from != to && moving(node, from, to, bodies) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(server.sql(url.rsplit('/').next().unwrap(), sql), "0");
    let written: u64 = all.iter().map(|one| postgres::seq(&nodes[0], *one) - 1).sum();
    assert_eq!(written, 2 * done.load(Ordering::Relaxed));
    let total: u64 = (1..4).map(|n| nodes[1].usage(AccountId(n)).unwrap().messages).sum();
    assert_eq!(total, 3 << 20, "what one lost another has");
}

#[test]
fn a_log_that_is_watched_is_read_as_one_instant_while_others_fold_it() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let url = server.database();
    let (folder, watcher) = (postgres::open(&url).unwrap(), postgres::open(&url).unwrap());
    let other = LogId { number: 2, ..LOG };
    folder.commit(&append(other, 1)).unwrap();
    folder.commit(&append(LOG, 1)).unwrap();
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 2.. {
                let mut commit = append(LOG, seq);
                // The page says how far it goes.
                let pages = vec![(1, (seq - 1).to_be_bytes().to_vec())];
                let fold = Fold { log: LOG, base: None, seq: seq - 1, pages, removed: Vec::new() };
                commit.folds.push(fold);
                folder.commit(&commit).unwrap();
                if ends.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..400 {
            let held = [Held { log: other, seq: 1 }];
            let begun = watcher.begin(&held, &[Held { log: LOG, seq: 0 }]).unwrap().unwrap();
            let at = begun.standings.iter().find(|standing| standing.log == LOG).unwrap();
            if let News::Whole { pages, deltas } = &at.news {
                let folded = u64::from_be_bytes(pages[0].1.clone().try_into().unwrap());
                let after: Vec<u64> = deltas.iter().map(|(seq, _)| *seq).collect();
                let expected: Vec<u64> = (folded + 1..=at.head.seq).collect();
                if after != expected || at.head.folded != folded {
                    ends.store(true, Ordering::Relaxed);
                }
                assert_eq!((at.head.folded, after), (folded, expected), "{:?}", at.head);
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
}
