//! Connections, sessions and the server are lost in the midst of things: what was answered is so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which fail by panicking"
)]

use std::time::{Duration, Instant};

use postgres::{LOG, append, seq, until};
use proxy::{Plan, Proxy};
use store::engine::{Commit, Engine, EngineError, Held, LogId};
use store_postgres::Postgres;

#[path = "server/postgres.rs"]
mod postgres;
#[path = "server/proxy.rs"]
mod proxy;

/// A server, an engine that reaches it through a proxy, and the database's name.
struct Bed {
    server: postgres::Server,
    proxy: Proxy,
    engine: Postgres,
    direct: Postgres,
    database: String,
}

fn bed() -> Option<Bed> {
    let server = postgres::Server::start(&[])?;
    let url = server.database();
    let proxy = Proxy::start(server.port);
    let engine = postgres::open(&proxy.url(&url, server.port)).unwrap();
    let direct = postgres::open(&url).unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    engine.commit(&append(LOG, 1)).unwrap();
    Some(Bed { server, proxy, engine, direct, database })
}

fn is_unavailable(done: &Result<(), EngineError>) -> bool {
    matches!(done, Err(EngineError::Unavailable(_)))
}

#[test]
fn a_commit_whose_answer_is_cut_off_is_found_and_one_that_never_came_is_not() {
    let Some(bed) = bed() else { return };
    bed.proxy.plan(Plan::CutReply);
    bed.engine.commit(&append(LOG, 2)).unwrap();
    assert_eq!((bed.proxy.carried_out(), seq(&bed.direct, LOG)), (1, 2));
    bed.proxy.plan(Plan::CutCommit);
    let done = bed.engine.commit(&append(LOG, 3));
    assert!(is_unavailable(&done), "{done:?}");
    assert_eq!((bed.proxy.carried_out(), seq(&bed.direct, LOG)), (2, 2));
    bed.engine.commit(&append(LOG, 3)).unwrap();
    assert_eq!(seq(&bed.direct, LOG), 3);
}

#[test]
fn a_commit_that_hangs_is_given_up_and_looked_for() {
    let Some(bed) = bed() else { return };
    for (plan, last) in [(Plan::HoldReply, 2), (Plan::HoldCommit, 2)] {
        bed.proxy.plan(plan);
        let began = Instant::now();
        let done = bed.engine.commit(&append(LOG, seq(&bed.direct, LOG) + 1));
        assert_eq!(done.is_ok(), plan == Plan::HoldReply, "{plan:?}: {done:?}");
        assert!(done.is_ok() || is_unavailable(&done), "{plan:?}: {done:?}");
        assert!(began.elapsed() < Duration::from_secs(25), "{plan:?}: {:?}", began.elapsed());
        assert_eq!(seq(&bed.direct, LOG), last, "{plan:?}");
    }
    bed.engine.commit(&append(LOG, 3)).unwrap();
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_no_server() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let url = server.database();
    let proxy = Proxy::start(server.port);
    proxy.plan(Plan::HoldAll);
    let began = Instant::now();
    let why = postgres::open(&proxy.url(&url, server.port)).unwrap_err().to_string();
    assert!(why.contains("cannot be reached at 127.0.0.1"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

/// What takes the row of the log, until its session ends.
fn hold_row(bed: &Bed) -> std::process::Child {
    let holder = bed.server.session(
        &bed.database,
        "BEGIN; SELECT FROM highwater.log WHERE account = 1 AND number = 1 FOR UPDATE",
    );
    let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'psql' AND state = 'idle in transaction'";
    until("the row is held", || (!bed.server.sql("postgres", sql).is_empty()).then_some(()));
    holder
}

#[test]
fn who_waits_for_a_row_too_long_is_told_and_has_done_nothing() {
    let Some(bed) = bed() else { return };
    let mut holder = hold_row(&bed);
    let began = Instant::now();
    let done = bed.engine.commit(&append(LOG, 2));
    assert!(
        matches!(&done, Err(EngineError::Unavailable(why)) if why.contains("others write")),
        "{done:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'psql' AND state = 'idle in transaction'";
    bed.server.sql("postgres", end);
    holder.wait().unwrap();
    bed.engine.commit(&append(LOG, 2)).unwrap();
    assert_eq!(seq(&bed.direct, LOG), 2);
}

#[test]
fn a_transaction_that_idles_or_whose_session_is_ended_is_undone() {
    let Some(bed) = bed() else { return };
    let held = [Held { log: LOG, seq: 1 }];
    // The session waits for the commit, which comes too late.
    let begun = bed.engine.begin(&held, &[]).unwrap().unwrap();
    let state = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    until("the server ends it", || (bed.server.sql("postgres", state) == "0").then_some(()));
    let done = begun.transaction.commit(&append(LOG, 2));
    assert!(is_unavailable(&done), "{done:?}");
    assert_eq!(seq(&bed.direct, LOG), 1);
    // The administrator ends it.
    let begun = bed.engine.begin(&held, &[]).unwrap().unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    bed.server.sql("postgres", end);
    let done = begun.transaction.commit(&append(LOG, 2));
    assert!(is_unavailable(&done), "{done:?}");
    assert_eq!(seq(&bed.direct, LOG), 1);
    bed.engine.commit(&append(LOG, 2)).unwrap();
}

#[test]
fn the_victim_of_a_deadlock_or_of_a_cancel_has_done_nothing() {
    let Some(bed) = bed() else { return };
    let other = LogId { number: 2, ..LOG };
    bed.engine.commit(&append(other, 1)).unwrap();
    let begun = bed.engine.begin(&[Held { log: LOG, seq: 1 }], &[]).unwrap().unwrap();
    // Somebody who keeps no order: takes the second, then waits for the first.
    let mut rival = bed.server.session(
        &bed.database,
        "BEGIN; SET deadlock_timeout = '60s'; SELECT FROM highwater.log WHERE account = 1 AND number = 2 FOR UPDATE;
         SELECT FROM highwater.log WHERE account = 1 AND number = 1 FOR UPDATE",
    );
    let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until("the rival waits", || (!bed.server.sql("postgres", waits).is_empty()).then_some(()));
    let mut both = append(LOG, 2);
    both.appends.extend(append(other, 2).appends);
    let done = begun.transaction.commit(&both);
    assert!(is_unavailable(&done), "{done:?}");
    rival.wait().unwrap();
    assert_eq!((seq(&bed.direct, LOG), seq(&bed.direct, other)), (1, 1));
    bed.engine.commit(&both).unwrap();
    // A cancel while it waits.
    let mut holder = hold_row(&bed);
    let done = std::thread::scope(|scope| {
        let committing = scope.spawn(|| bed.engine.commit(&append(LOG, 3)));
        let cancel =
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        until("it waits", || (!bed.server.sql("postgres", cancel).is_empty()).then_some(()));
        committing.join().unwrap()
    });
    assert!(is_unavailable(&done), "{done:?}");
    assert_eq!(seq(&bed.direct, LOG), 2);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_server_that_is_shut_down_or_crashes_is_found_again() {
    let Some(mut bed) = bed() else { return };
    let begun = bed.engine.begin(&[Held { log: LOG, seq: 1 }], &[]).unwrap().unwrap();
    bed.server.kill();
    let done = begun.transaction.commit(&append(LOG, 2));
    assert!(matches!(done, Err(EngineError::Unavailable(_) | EngineError::Unknown(_))), "{done:?}");
    let began = Instant::now();
    let news = bed.engine.news(&[Held { log: LOG, seq: 1 }]);
    assert!(matches!(news, Err(EngineError::Unavailable(_))), "{news:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    bed.server.run(&[]);
    assert_eq!(seq(&bed.engine, LOG), 1);
    bed.engine.commit(&append(LOG, 2)).unwrap();
    // Fast shutdown ends every session with 57P01.
    bed.server.stop();
    let done = bed.engine.commit(&append(LOG, 3));
    assert!(is_unavailable(&done), "{done:?}");
    bed.server.run(&[]);
    bed.engine.commit(&append(LOG, 3)).unwrap();
    assert_eq!(seq(&bed.direct, LOG), 3);
    assert!(!bed.engine.head(LOG).unwrap().unwrap().doubtful, "nothing was lost");
}

#[test]
fn what_is_empty_commits_nothing_and_frees_the_row() {
    let Some(bed) = bed() else { return };
    let begun = bed.engine.begin(&[Held { log: LOG, seq: 1 }], &[]).unwrap().unwrap();
    bed.proxy.plan(Plan::CutReply);
    let done = begun.transaction.commit(&Commit::default());
    assert!(is_unavailable(&done) || done.is_ok(), "{done:?}");
    bed.direct.commit(&append(LOG, 2)).unwrap();
}

#[test]
fn who_only_hears_goes_on_hearing_after_its_connection_was_lost() {
    let Some(bed) = bed() else { return };
    let (send, told) = std::sync::mpsc::channel();
    bed.engine.listen(std::sync::Arc::new(move |logs: &[LogId]| {
        let _ = send.send(logs.to_vec());
    }));
    let both = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE '%pg_notify(%$1)'";
    until("both listen", || (bed.server.sql("postgres", both) == "2").then_some(()));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'highwater%'";
    bed.server.sql("postgres", end);
    let mut last = 1;
    let heard = until("it hears", || {
        last += 1;
        bed.direct.commit(&append(LOG, last)).unwrap();
        told.recv_timeout(Duration::from_millis(200)).ok()
    });
    assert_eq!(heard, [LOG]);
}
