//! Files, shared syncs and compaction.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use super::*;
use crate::embedded::Embedded;
use crate::engine::{BodyId, BodyRow, Commit, Engine};

const SMALL: Limits = Limits { small_octets_max: 100, segment_octets_max: 1000 };
const FOR_EVER: i64 = i64::MAX;

fn put(bodies: &Segments, octets: &[u8]) -> BodyRef {
    let mut writer = bodies.writer().unwrap();
    octets.chunks(7).for_each(|piece| writer.write(piece).unwrap());
    writer.finish().unwrap()
}

fn get(bodies: &Segments, body: &BodyRef) -> Result<Vec<u8>, EngineError> {
    let mut octets = Vec::new();
    bodies.read(body, 0..u64::MAX, &mut octets).map(|()| octets)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_run_and_each_full_segment_begins_a_new_one() {
    let data = TempDir::new().unwrap();
    let mut stored = Vec::new();
    for run in 0..2_u8 {
        let bodies = Segments::open(data.path(), SMALL).unwrap();
        for number in 0..12_u8 {
            let octets = vec![run * 100 + number; 90];
            stored.push((put(&bodies, &octets), octets));
        }
        bodies.sync().unwrap();
    }
    let found = ["000001.seg", "000002.seg", "000003.seg", "000004.seg", "large"];
    assert_eq!(names(&data.path().join("bodies")), found);
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    for (body, octets) in stored {
        assert_eq!(get(&bodies, &body).unwrap(), octets);
    }
}

#[test]
fn a_large_body_dropped_or_left_by_a_crash_leaves_nothing() {
    let data = TempDir::new().unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    let large = data.path().join("bodies/large");
    let mut writer = bodies.writer().unwrap();
    writer.write(&[1; 200]).unwrap();
    assert_eq!(names(&large), ["0000000000000001.tmp"]);
    drop(writer);
    let body = put(&bodies, &[2; 200]);
    fs::write(large.join("0000000000000009.tmp"), b"half").unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    assert_eq!(names(&large), ["0000000000000002"]);
    assert_eq!(get(&bodies, &body).unwrap(), [2; 200]);
    bodies.reclaim(std::slice::from_ref(&body)).unwrap();
    bodies.reclaim(std::slice::from_ref(&body)).unwrap();
    assert!(names(&large).is_empty());
}

#[test]
fn damage_is_told_when_the_whole_is_read() {
    let data = TempDir::new().unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    let body = put(&bodies, b"some octets");
    let last = put(&bodies, b"the last");
    let path = data.path().join("bodies/000001.seg");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"X", place::HEADER_OCTETS).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    for damaged in [&body, &last, &BodyRef { len: 1 << 60, ..body.clone() }] {
        assert!(matches!(get(&bodies, damaged), Err(EngineError::Damaged(_))));
    }
    let mut part = b"before ".to_vec();
    bodies.read(&body, 5..7, &mut part).unwrap();
    assert_eq!(part, b"before oc");
}

#[test]
fn a_failed_sync_breaks_all() {
    let data = TempDir::new().unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    let body = put(&bodies, b"octets");
    bodies.sync().unwrap();
    // A socket cannot be synced.
    let (socket, _) = UnixStream::pair().unwrap();
    let unfinished = bodies.writer().unwrap();
    bodies.shared.group.finished(&Arc::new(File::from(OwnedFd::from(socket))));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let synced = scope.spawn(|| bodies.sync());
            assert!(matches!(synced.join().unwrap(), Err(EngineError::Broken(_))));
        }
    });
    assert!(matches!(bodies.writer().err(), Some(EngineError::Broken(_))));
    assert!(matches!(unfinished.finish().err(), Some(EngineError::Broken(_))));
    assert_eq!(get(&bodies, &body).unwrap(), b"octets");
}

#[test]
fn a_segment_mostly_dead_is_written_anew_and_unlinked() {
    let data = TempDir::new().unwrap();
    let engine = Embedded::open(data.path()).unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    let mut rows = Vec::new();
    for number in 0..18_u8 {
        let body = put(&bodies, &[number; 90]);
        rows.push(BodyRow { id: engine.next_body(), body, meta: vec![number] });
    }
    let orphan = put(&bodies, &[9; 500]);
    bodies.sync().unwrap();
    let kept: Vec<_> = rows.iter().filter(|row| row.id.0 % 3 == 0).cloned().collect();
    engine.commit(&Commit { bodies: kept.clone(), ..Commit::default() }).unwrap();

    assert_eq!(maintain(&engine, &bodies, 0).unwrap(), Maintained::default());
    let done = maintain(&engine, &bodies, FOR_EVER).unwrap();
    assert_eq!((done.segments_removed, done.bodies_moved, done.files_removed), (1, 3, 1));
    assert!(!data.path().join("bodies/000001.seg").exists());
    assert!(get(&bodies, &orphan).is_err());

    let ids: Vec<BodyId> = kept.iter().map(|row| row.id).collect();
    let now = engine.bodies(&ids).unwrap();
    let reopened = Segments::open(data.path(), SMALL).unwrap();
    for (old, new) in kept.iter().zip(&now) {
        assert_eq!((&old.meta, old.body.crc), (&new.meta, new.body.crc));
        let octets = get(&bodies, &old.body).unwrap();
        assert_eq!(octets, get(&reopened, &new.body).unwrap());
        assert_eq!(crc32fast::hash(&octets), old.body.crc);
    }
}

#[test]
fn many_writers_share_syncs() {
    let data = TempDir::new().unwrap();
    let bodies = Segments::open(data.path(), SMALL).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let bodies = &bodies;
            scope.spawn(move || {
                for number in 0..20_usize {
                    let octets = vec![thread; number * 10];
                    let body = put(bodies, &octets);
                    bodies.sync().unwrap();
                    assert_eq!(get(bodies, &body).unwrap(), octets);
                }
            });
        }
    });
}
