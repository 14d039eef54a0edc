//! The disk under PostgreSQL is full: nothing of what does not fit is done, all else stays, and it goes on with space.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use postgres::{LOG, Server, append, seq};
use store::engine::{BodyStore as _, Commit, Engine as _, EngineError};

#[path = "server/postgres.rs"]
mod postgres;

fn filling(log: store::engine::LogId, at: u64) -> Commit {
    let mut commit = append(log, at);
    let mut octets = vec![0; 1 << 20];
    fastrand::Rng::with_seed(at).fill(&mut octets);
    commit.appends.iter_mut().for_each(|append| append.delta.clone_from(&octets));
    commit
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_loses_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let Some(disk) = server.small_disk(24) else {
        // Only root may make one.
        return;
    };
    let url = server.database();
    let database = url.rsplit('/').next().unwrap();
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.path()));
    server.sql("postgres", &format!("ALTER DATABASE {database} SET TABLESPACE small"));
    let engine = postgres::open(&url).unwrap();
    let bodies = engine.bodies();
    let mut last = 0;
    let why = loop {
        match engine.commit(&filling(LOG, last + 1)) {
            Ok(()) => last += 1,
            Err(EngineError::Full(why)) => break why,
            Err(other) => panic!("{other:?}"),
        }
        assert!(last < 24, "the disk does not fill");
    };
    assert!(
        why.contains("disk of the PostgreSQL server is full") && why.contains("53100"),
        "{why}"
    );
    assert!(last > 2, "it was full from the start");
    assert_eq!(seq(&engine, LOG), last);
    let mut body = bodies.writer().unwrap();
    body.write(&vec![7; 3 << 20]).unwrap();
    let refused = body.finish();
    assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
    let mut body = bodies.writer().unwrap();
    body.write(&filling(LOG, 99).appends.remove(0).delta).unwrap();
    body.finish().unwrap();
    let refused = bodies.sync();
    assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
    // Reading goes on.
    let (mut count, mut none) = (0, |_: u64, _: &[u8]| Ok(()));
    let mut delta = |_: u64, octets: &[u8]| {
        count += octets.len();
        Ok(())
    };
    engine.load(LOG, &mut none, &mut delta).unwrap();
    assert_eq!(count as u64, last << 20);
    // Space is made, and the same node goes on.
    disk.grow(96);
    engine.commit(&filling(LOG, last + 1)).unwrap();
    bodies.sync().unwrap();
    assert_eq!(seq(&engine, LOG), last + 1);
}
