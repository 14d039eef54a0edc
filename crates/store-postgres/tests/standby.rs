//! Standbys: one that hangs, one that takes over with everything, one that takes over and lacks something.
//!
//! These take longer than others, since what is waited for has its time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which fail by panicking"
)]

use std::time::{Duration, Instant};

use postgres::{LOG, Server, append, seq, signal, until};
use proxy::Proxy;
use store::engine::{Engine, EngineError, Held, LogId};
use store_postgres::{Durability, OpenError, Options, Postgres};

#[path = "server/postgres.rs"]
mod postgres;
#[path = "server/proxy.rs"]
mod proxy;

const HELD: [Held; 1] = [Held { log: LOG, seq: 1 }];

fn open(url: &str) -> Result<Postgres, OpenError> {
    Postgres::open(url, &Options::default())
}

/// A primary and its standby, synchronous if so said, and the URL of a database over both.
fn pair(is_synchronous: bool) -> Option<(Server, Server, String)> {
    let primary = Server::start(&[])?;
    let standby = primary.standby();
    let streams = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'";
    until("it streams", || (!primary.sql("postgres", streams).is_empty()).then_some(()));
    if is_synchronous {
        primary.set("synchronous_standby_names", "'*'");
        let counts = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("it counts", || (!primary.sql("postgres", counts).is_empty()).then_some(()));
    }
    let url = primary.database();
    let url = url.replace("/mail", &format!(",127.0.0.1:{}/mail", standby.port));
    Some((primary, standby, url))
}

fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[test]
fn a_hung_standby_is_waited_for_so_long_and_what_became_of_a_commit_is_found_out() {
    let Some((primary, standby, url)) = pair(true) else { return };
    let engine = open(&url).unwrap();
    engine.commit(&append(LOG, 1)).unwrap();
    let receiver = standby.process("walreceiver");
    signal("-STOP", &receiver);
    // For good as far as the node is concerned: the outcome is not known.
    let began = Instant::now();
    let done = engine.commit(&append(LOG, 2));
    assert!(matches!(done, Err(EngineError::Unknown(_))), "{done:?}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // Many who ask wait no longer than one.
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let news = engine.news(&HELD);
                assert!(matches!(news, Err(EngineError::Unavailable(_))), "{news:?}");
            });
        }
    });
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'highwater%'";
    let sessions: u32 = primary.sql("postgres", sessions).parse().unwrap();
    assert!(sessions <= 24, "{sessions} sessions pile up on the server");
    // What is on its way when it comes back is done.
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(|| engine.commit(&append(LogId { number: 2, ..LOG }, 1)));
        let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        until("it waits", || (!primary.sql("postgres", waits).is_empty()).then_some(()));
        signal("-CONT", &receiver);
        late.join().unwrap()
    });
    assert!(late.is_ok() || matches!(late, Err(EngineError::Unavailable(_))), "{late:?}");
    until("it goes on", || engine.news(&HELD).ok());
    assert_eq!(seq(&engine, LOG), 2, "the commit was done after all");
    engine.commit(&append(LOG, 3)).unwrap();
}

#[test]
fn a_cancelled_wait_is_in_doubt_and_what_it_left_is_not_given_out() {
    let Some((primary, standby, url)) = pair(true) else { return };
    let (engine, reader) = (open(&url).unwrap(), open(&url).unwrap());
    engine.commit(&append(LOG, 1)).unwrap();
    assert!(reader.news(&HELD).unwrap().iter().all(|one| one.head.seq == 1));
    let receiver = standby.process("walreceiver");
    signal("-STOP", &receiver);
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let visible = "SELECT seq FROM highwater.log WHERE account = 1 AND number = 1";
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| engine.commit(&append(LOG, 2)));
        until("it can be seen", || {
            primary.sql("postgres", cancel);
            (primary.sql(name(&url), visible) == "2").then_some(())
        });
        // It is visible and not on the standby: nobody may be told of it.
        let news = reader.news(&HELD);
        assert!(news.is_err(), "{news:?}");
        let mut ignore = |_: u64, _: &[u8]| Ok(());
        let mut ignore_too = |_: u64, _: &[u8]| Ok(());
        assert!(reader.load(LOG, &mut ignore, &mut ignore_too).is_err());
        signal("-CONT", &receiver);
        committing.join().unwrap().unwrap();
    });
    let news = until("it is given out", || reader.news(&HELD).ok());
    assert_eq!(news[0].head.seq, 2);
}

#[test]
fn a_synchronous_standby_that_takes_over_lacks_nothing() {
    let Some((mut primary, standby, url)) = pair(true) else { return };
    let engine = open(&url).unwrap();
    engine.commit(&append(LOG, 1)).unwrap();
    primary.kill();
    assert!(engine.commit(&append(LOG, 2)).is_err(), "there is no primary");
    standby.promote();
    until("it goes on", || engine.commit(&append(LOG, 2)).ok());
    assert_eq!(engine.head(LOG).unwrap().unwrap().seq, 2);
    // Vouched for: who starts now has no doubt, and needs not wait.
    let began = Instant::now();
    let fresh = postgres::open(&url).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!fresh.head(LOG).unwrap().unwrap().doubtful);
}

#[test]
fn an_asynchronous_standby_that_lacks_commits_begins_a_new_epoch() {
    let Some((mut primary, standby, url)) = pair(false) else { return };
    let (first, second) = (postgres::open(&url).unwrap(), postgres::open(&url).unwrap());
    first.commit(&append(LOG, 1)).unwrap();
    second.news(&HELD).unwrap();
    let lsn = primary.sql("postgres", "SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
    until("it has it", || (standby.sql("postgres", &replayed) == "t").then_some(()));
    let receiver = standby.process("walreceiver");
    signal("-STOP", &receiver);
    first.commit(&append(LOG, 2)).unwrap();
    primary.kill();
    signal("-KILL", &receiver);
    // Killing it makes the standby recover from what it has.
    let ready = || std::panic::catch_unwind(|| standby.sql("postgres", "SELECT 1")).ok();
    until("it is back", ready);
    standby.promote();
    let broken = until("it is found out", || match first.news(&HELD) {
        Err(EngineError::Broken(why)) => Some(why),
        _ => None,
    });
    assert!(broken.contains("lacks commits"), "{broken}");
    assert!(matches!(first.commit(&append(LOG, 2)), Err(EngineError::Broken(_))));
    until("the other hears of it", || match second.commit(&append(LOG, 2)) {
        Err(EngineError::Broken(why)) => Some(why),
        _ => None,
    });
    let fresh = postgres::open(&url).unwrap();
    let head = fresh.head(LOG).unwrap().unwrap();
    assert_eq!((head.seq, head.doubtful), (1, true));
    let mut renewing = append(LOG, 2);
    renewing.renewed.push(LOG);
    fresh.commit(&renewing).unwrap();
    assert!(!fresh.head(LOG).unwrap().unwrap().doubtful);
}

#[test]
fn a_server_that_was_replaced_and_still_answers_is_not_believed() {
    let Some((primary, standby, url)) = pair(true) else { return };
    let own = |port: u16| format!("postgres://highwater@127.0.0.1:{port}/{}", name(&url));
    let proxy = Proxy::start(primary.port);
    let node = open(&own(proxy.port)).unwrap();
    open(&url).unwrap().commit(&append(LOG, 1)).unwrap();
    // A connection that reads leads to the old primary, and stays.
    node.news(&[]).unwrap();
    standby.promote();
    proxy.lead_to(standby.port);
    // One that writes is made anew, and leads to the new one.
    node.commit(&append(LogId { number: 2, ..LOG }, 1)).unwrap();
    postgres::open(&own(standby.port)).unwrap().commit(&append(LOG, 2)).unwrap();
    let news = node.news(&HELD).unwrap();
    assert_eq!(news[0].head.seq, 2, "the old primary was believed: {news:?}");
}

/// A promoted standby that no node has met, and whether the mailbox is doubtful to one that starts so.
fn doubtful_after(vouched: impl Fn(u32) -> Option<u32>) -> Option<bool> {
    let (mut primary, standby, url) = pair(false)?;
    postgres::open(&url).unwrap().commit(&append(LOG, 1)).unwrap();
    let lsn = primary.sql("postgres", "SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
    until("it has it", || (standby.sql("postgres", &replayed) == "t").then_some(()));
    primary.kill();
    standby.promote();
    let timeline = "SELECT timeline_id FROM pg_control_checkpoint()";
    standby.sql("postgres", "CHECKPOINT");
    let timeline: u32 = standby.sql("postgres", timeline).parse().unwrap();
    assert_eq!(timeline, 2);
    let options = Options { vouched_timeline: vouched(timeline), ..postgres::options() };
    let fresh = Postgres::open(&url, &options).unwrap();
    let doubtful = fresh.head(LOG).unwrap().unwrap().doubtful;
    drop(fresh);
    // Once is enough: the next to come goes by what was noted.
    let next = postgres::open(&url).unwrap();
    assert_eq!(next.head(LOG).unwrap().unwrap().doubtful, doubtful);
    Some(doubtful)
}

#[test]
fn a_timeline_that_nobody_vouches_for_begins_a_new_epoch() {
    let Some(doubtful) = doubtful_after(|_| None) else { return };
    assert!(doubtful);
}

#[test]
fn a_timeline_that_the_administrator_vouches_for_does_not() {
    let Some(doubtful) = doubtful_after(Some) else { return };
    assert!(!doubtful);
}

#[test]
fn vouching_for_another_timeline_is_worth_nothing() {
    let Some(doubtful) = doubtful_after(|timeline| Some(timeline + 1)) else { return };
    assert!(doubtful);
}

#[test]
fn a_dump_that_was_restored_elsewhere_begins_a_new_epoch() {
    let Some(old) = Server::start(&[]) else { return };
    let new = Server::start(&[]).unwrap();
    let url = old.database();
    postgres::open(&url).unwrap().commit(&append(LOG, 1)).unwrap();
    let dump = old.dump(name(&url));
    let restored = new.database();
    new.load(name(&restored), &dump);
    let options = Options { vouched_timeline: None, ..postgres::options() };
    let engine = Postgres::open(&restored, &options).unwrap();
    let head = engine.head(LOG).unwrap().unwrap();
    assert_eq!((head.seq, head.doubtful), (1, true));
}

#[test]
fn a_crash_is_doubted_only_where_data_loss_was_allowed() {
    for (durability, expected) in
        [(Durability::SingleDatabase, false), (Durability::AllowDataLoss, true)]
    {
        let Some(mut server) = Server::start(&[]) else { return };
        let url = server.database();
        let options = Options { durability, ..Options::default() };
        let engine = Postgres::open(&url, &options).unwrap();
        engine.commit(&append(LOG, 1)).unwrap();
        drop(engine);
        server.sql("postgres", "CHECKPOINT");
        server.kill();
        server.run(&[]);
        server.sql(name(&url), "UPDATE highwater.node SET seen = seen - interval '2 minutes'");
        let engine = Postgres::open(&url, &options).unwrap();
        assert_eq!(engine.head(LOG).unwrap().unwrap().doubtful, expected, "{durability:?}");
    }
}

#[test]
fn a_standby_that_is_named_and_not_there_keeps_a_node_from_starting() {
    let Some(server) = Server::start(&[]) else { return };
    let (url, made) = (server.database(), server.database());
    postgres::open(&made).unwrap();
    server.set("synchronous_standby_names", "'missing'");
    for (url, words) in
        [(&url, "its tables could not be made"), (&made, "did not answer within 10 seconds")]
    {
        let began = Instant::now();
        let why = open(url).unwrap_err().to_string();
        assert!(why.contains(words) && why.contains("standby"), "{why}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    server.set("synchronous_standby_names", "''");
    for url in [&url, &made] {
        postgres::open(url).unwrap().commit(&append(LOG, 1)).unwrap();
    }
}
