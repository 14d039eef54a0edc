//! What is removed after its time, and nothing before.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use std::path::Path;

use store::engine::{AccountId, Append, BodyRef, BodyRow, Commit, Engine, EngineError, LogId};
use store_postgres::Bodies;

#[path = "server/postgres.rs"]
mod postgres;

fn put(bodies: &dyn Bodies, octets: &[u8]) -> BodyRef {
    let mut writer = bodies.writer().unwrap();
    writer.write(octets).unwrap();
    let body = writer.finish().unwrap();
    bodies.sync().unwrap();
    body
}

fn naming(engine: &dyn Engine, body: &BodyRef) -> Commit {
    let id = engine.next_body();
    let row = BodyRow { id, body: body.clone(), meta: Vec::new() };
    Commit { bodies: vec![row], references: vec![(id, 1)], ..Commit::default() }
}

#[test]
fn a_body_that_no_commit_names_is_collected_after_its_time() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    collects(&server, None);
    let directory = tempfile::tempdir().unwrap();
    collects(&server, Some(&format!("file://{}", directory.path().display())));
    assert_eq!(files(directory.path()), 3, "two bodies that are named, and the mark");
}

fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

fn collects(server: &postgres::Server, place: Option<&str>) {
    const DAY: i64 = 24 * 60 * 60;
    let url = server.database();
    let database = url.rsplit('/').next().unwrap();
    let engine = postgres::open(&url).unwrap();
    let bodies = &*engine.bodies_at(place).unwrap();
    let long = vec![7; 9 << 20];
    let [named, short, long] =
        [b"named".as_slice(), b"short", &long].map(|octets| put(bodies, octets));
    engine.commit(&naming(&engine, &named)).unwrap();
    assert_eq!(bodies.collect(DAY).unwrap(), 0, "too early");
    server.sql(database, "UPDATE highwater.upload SET at = at - 90000");
    let fresh = put(bodies, b"fresh");
    assert_eq!(bodies.collect(DAY).unwrap(), 2);
    let read = |body: &BodyRef| {
        let mut octets = Vec::new();
        bodies.read(body, 0..body.len, &mut octets).map(|()| octets.len())
    };
    assert!(read(&short).is_err() && read(&long).is_err());
    assert_eq!((read(&named).unwrap(), read(&fresh).unwrap()), (5, 5));
    // Whoever held on to one for so long is told, and nothing of the commit is done.
    let refused = engine.commit(&naming(&engine, &short));
    assert!(
        matches!(&refused, Err(EngineError::Unavailable(why)) if why.contains("send it again")),
        "{refused:?}"
    );
    engine.commit(&naming(&engine, &fresh)).unwrap();
}

#[test]
fn rows_of_commits_go_after_an_hour() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let url = server.database();
    let database = url.rsplit('/').next().unwrap();
    let engine = postgres::open(&url).unwrap();
    let log = LogId { account: AccountId(1), number: 1 };
    for seq in 1..4 {
        let append = Append { log, after: seq - 1, seq, delta: vec![1], history: None };
        engine.commit(&Commit { appends: vec![append], ..Commit::default() }).unwrap();
    }
    assert_eq!(engine.tidy().unwrap(), 0);
    server.sql(database, "UPDATE highwater.batch SET at = at - interval '61 minutes'");
    assert_eq!(engine.tidy().unwrap(), 3);
}
