//! Bodies in an object store: which store it may be, which bodies are read where, and formats of before.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use store::engine::{BodyRef, BodyStore, EngineError};
use store_postgres::{Bodies, Postgres};

#[path = "server/postgres.rs"]
mod postgres;

fn put(bodies: &dyn Bodies, octets: &[u8]) -> BodyRef {
    let mut writer = bodies.writer().unwrap();
    writer.write(octets).unwrap();
    let body = writer.finish().unwrap();
    bodies.sync().unwrap();
    body
}

fn get(bodies: &dyn BodyStore, body: &BodyRef) -> Result<Vec<u8>, EngineError> {
    let mut octets = Vec::new();
    bodies.read(body, 0..body.len, &mut octets).map(|()| octets)
}

fn refusal(engine: &Postgres, place: Option<&str>) -> String {
    match engine.bodies_at(place) {
        Ok(_) => panic!("{place:?} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn bodies_are_read_wherever_they_are_and_the_place_is_remembered() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| format!("file://{}/{name}", directory.path().display());
    let (url, one) = (server.database(), place("one"));
    let engine = postgres::open(&url).unwrap();
    let before = put(&*engine.bodies_at(None).unwrap(), b"in the database");
    let objects = engine.bodies_at(Some(&one)).unwrap();
    let after = put(&*objects, b"in an object");
    assert_eq!(get(&*objects, &before).unwrap(), b"in the database");
    assert_eq!(get(&*objects, &after).unwrap(), b"in an object");
    let lacking = get(&engine.bodies(), &after).unwrap_err().to_string();
    assert!(lacking.contains("--bodies"), "{lacking}");
    // Another node, with what was said, with something else, and with nothing.
    let other = postgres::open(&url).unwrap();
    assert_eq!(
        get(&*other.bodies_at(Some(&format!("{one}/"))).unwrap(), &after).unwrap(),
        b"in an object"
    );
    for wrong in [None, Some(place("two"))] {
        let why = refusal(&other, wrong.as_deref());
        assert!(why.contains(&format!("say --bodies {one}")), "{why}");
    }
    // Another database must not have the same place, nor this one an empty one.
    let foreign = postgres::open(&server.database()).unwrap();
    let why = refusal(&foreign, Some(&one));
    assert!(why.contains("another database"), "{why}");
    std::fs::remove_dir_all(directory.path().join("one")).unwrap();
    let why = refusal(&other, Some(&one));
    assert!(why.contains("is missing"), "{why}");
}

#[test]
fn an_address_that_is_none_is_refused_with_what_one_is() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let engine = postgres::open(&server.database()).unwrap();
    for wrong in ["", "bucket", "s3://", "s3:///x", "s3://a b", "file://x", "https://x/y"] {
        let why = refusal(&engine, Some(wrong));
        assert!(why.contains("s3://BUCKET/PREFIX"), "{wrong}: {why}");
    }
}

#[test]
fn a_database_of_the_first_format_is_brought_to_this_one() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let url = server.database();
    let database = url.rsplit('/').next().unwrap();
    let body = put(&postgres::open(&url).unwrap().bodies(), b"old");
    server.sql(
        database,
        "ALTER TABLE highwater.cluster DROP COLUMN bodies, DROP COLUMN bodies_mark, DROP COLUMN bodies_marked;
         UPDATE highwater.cluster SET format = 1",
    );
    // All at once, as nodes are restarted.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let engine = postgres::open(&url).unwrap();
                assert_eq!(get(&*engine.bodies_at(None).unwrap(), &body).unwrap(), b"old");
            });
        }
    });
    assert_eq!(server.sql(database, "SELECT format FROM highwater.cluster"), "2");
}
