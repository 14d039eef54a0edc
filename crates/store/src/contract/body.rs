//! Body rows with their references, and the octets themselves.

use std::thread;

use super::{Subject, row};
use crate::engine::{BodyId, BodyRef, BodyRow, BodyStore, Commit, Engine, EngineError};

pub(super) fn run<S: Subject>(make: &impl Fn() -> S) {
    rows_come_back_in_the_order_asked(make());
    bodies_without_references_are_reclaimable_after_their_time(make());
    references_never_fall_below_nothing(&make());
    a_body_is_forgotten_only_without_references(&make());
    body_numbers_are_never_given_out_again(make());
    octets_come_back(make());
    parts_are_read(&make());
    damage_is_found(&make());
    a_body_dropped_half_way_leaves_others_alone(&make());
    reclaimed_large_bodies_are_gone(&make());
    writers_share_syncs(&make());
}

fn new(rows: &[BodyRow], references: &[(BodyId, i32)], now: i64) -> Commit {
    let (bodies, references) = (rows.to_vec(), references.to_vec());
    Commit { bodies, references, now, ..Commit::default() }
}

fn reclaimable(engine: &dyn Engine, before: i64) -> Vec<BodyId> {
    let mut ids: Vec<_> =
        engine.reclaimable(before, 100).unwrap().into_iter().map(|row| row.id).collect();
    ids.sort();
    ids
}

fn rows_come_back_in_the_order_asked<S: Subject>(subject: S) {
    let ids = [0; 3].map(|_| subject.engine().next_body());
    subject.engine().commit(&new(&ids.map(row), &[], 1)).unwrap();
    let subject = subject.reopen();
    let asked = [ids[2], ids[0], ids[2]];
    assert_eq!(subject.engine().bodies(&asked).unwrap(), asked.map(row));
    assert!(subject.engine().bodies(&[]).unwrap().is_empty());
    for missing in [BodyId(ids[2].0 + 1), BodyId(u64::MAX)] {
        let found = subject.engine().bodies(&[ids[0], missing]);
        assert!(matches!(found, Err(EngineError::Damaged(_))));
    }
}

fn bodies_without_references_are_reclaimable_after_their_time<S: Subject>(subject: S) {
    let engine = subject.engine();
    let [never, used, freed, moved] = [0; 4].map(|_| engine.next_body());
    let gained = [(used, 1), (freed, 2), (moved, 1)];
    engine.commit(&new(&[never, used, freed, moved].map(row), &gained, 100)).unwrap();
    assert!(reclaimable(engine, 100).is_empty());
    assert_eq!(reclaimable(engine, 101), [never]);
    engine.commit(&new(&[], &[(freed, -1)], 200)).unwrap();
    assert_eq!(reclaimable(engine, 999), [never]);
    // Lost first and gained after is no fall to nothing.
    engine.commit(&new(&[], &[(freed, -1), (moved, -1), (moved, 1)], 300)).unwrap();
    assert_eq!(reclaimable(engine, 300), [never]);
    let subject = subject.reopen();
    let engine = subject.engine();
    assert_eq!(reclaimable(engine, 301), [never, freed]);
    assert_eq!(engine.reclaimable(301, 1).unwrap().len(), 1);
    engine.commit(&new(&[], &[(freed, 1)], 400)).unwrap();
    assert_eq!(reclaimable(engine, 999), [never]);
}

fn references_never_fall_below_nothing(subject: &impl Subject) {
    let engine = subject.engine();
    let ids = [0; 2].map(|_| engine.next_body());
    engine.commit(&new(&ids.map(row), &[(ids[0], 1)], 1)).unwrap();
    for wrong in [vec![(ids[0], -2)], vec![(ids[1], 1), (ids[0], -1), (ids[0], -1)]] {
        assert!(matches!(engine.commit(&new(&[], &wrong, 1)), Err(EngineError::Damaged(_))));
    }
    assert!(matches!(engine.commit(&new(&[row(ids[0])], &[], 1)), Err(EngineError::Damaged(_))));
    assert_eq!(reclaimable(engine, 999), [ids[1]]);
}

fn a_body_is_forgotten_only_without_references(subject: &impl Subject) {
    let engine = subject.engine();
    let ids = [0; 3].map(|_| engine.next_body());
    engine.commit(&new(&ids.map(row), &[(ids[1], 1)], 1)).unwrap();
    let asked = [ids[2], ids[1], ids[0], BodyId(1 << 40)];
    assert_eq!(engine.forget_bodies(&asked).unwrap(), [ids[2], ids[0]]);
    assert!(engine.bodies(&[ids[0]]).is_err() && engine.bodies(&[ids[1]]).is_ok());
    assert!(engine.commit(&new(&[], &[(ids[0], 1)], 1)).is_err());
}

fn body_numbers_are_never_given_out_again<S: Subject>(subject: S) {
    let engine = subject.engine();
    let ids = [0; 3].map(|_| engine.next_body());
    assert!(ids.is_sorted() && ids[0] < ids[1]);
    engine.commit(&new(&ids.map(row), &[], 1)).unwrap();
    engine.forget_bodies(&ids).unwrap();
    let subject = subject.reopen();
    let next = subject.engine().next_body();
    assert!(next > ids[2], "{next:?} was given out before");
    let far = BodyId(next.0 + 100);
    subject.engine().commit(&new(&[row(far)], &[], 1)).unwrap();
    assert!(subject.engine().next_body() > far);
}

fn put(bodies: &dyn BodyStore, octets: &[u8]) -> BodyRef {
    let mut writer = bodies.writer().unwrap();
    octets.chunks(10_000).for_each(|piece| writer.write(piece).unwrap());
    writer.finish().unwrap()
}

fn get(bodies: &dyn BodyStore, body: &BodyRef) -> Result<Vec<u8>, EngineError> {
    let mut octets = Vec::new();
    bodies.read(body, 0..body.len, &mut octets).map(|()| octets)
}

fn octets(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}

fn octets_come_back<S: Subject>(subject: S) {
    let lengths = [0, 1, 4096, 256 << 10, (256 << 10) + 1, 3_000_000];
    let stored = lengths.map(|len| (put(subject.bodies(), &octets(len)), octets(len)));
    subject.bodies().sync().unwrap();
    subject.bodies().sync().unwrap();
    let subject = subject.reopen();
    for (body, octets) in &stored {
        assert_eq!(body.len, u64::try_from(octets.len()).unwrap());
        assert_eq!(body.crc, crc32fast::hash(octets));
        assert!(get(subject.bodies(), body).unwrap() == *octets, "{} octets", body.len);
    }
    let new = put(subject.bodies(), b"new");
    assert!(stored.iter().all(|(body, _)| body.locator != new.locator));
}

fn parts_are_read(subject: &impl Subject) {
    let bodies = subject.bodies();
    for len in [1000, 300_000] {
        let all = octets(len);
        let body = put(bodies, &all);
        let end = body.len;
        for (from, to) in [(0, 0), (0, 1), (7, 500), (end - 1, end), (900, u64::MAX), (end, end)] {
            let mut found = b"before".to_vec();
            bodies.read(&body, from..to, &mut found).unwrap();
            let [from, to] = [from, to.min(end)].map(|at| usize::try_from(at).unwrap());
            assert_eq!(found, [b"before", &all[from..to]].concat());
        }
        let mut found = Vec::new();
        bodies.read(&body, end + 5..end + 9, &mut found).unwrap();
        assert!(found.is_empty());
    }
}

fn damage_is_found(subject: &impl Subject) {
    let bodies = subject.bodies();
    for len in [1000, 300_000] {
        let good = put(bodies, &octets(len));
        let wrong_crc = BodyRef { crc: !good.crc, ..good.clone() };
        let longer = BodyRef { len: good.len + (1 << 50), ..good.clone() };
        let elsewhere = BodyRef { locator: vec![0xFF; 3], ..good.clone() };
        let nowhere = BodyRef { locator: vec![], ..good };
        for bad in [wrong_crc, longer, elsewhere, nowhere] {
            let mut into = b"before".to_vec();
            let read = bodies.read(&bad, 0..bad.len, &mut into);
            assert!(matches!(read, Err(EngineError::Damaged(_))), "{bad:?}");
            assert_eq!(into, b"before");
        }
    }
}

fn a_body_dropped_half_way_leaves_others_alone(subject: &impl Subject) {
    let bodies = subject.bodies();
    for len in [1000, 300_000] {
        let mut dropped = bodies.writer().unwrap();
        dropped.write(&octets(len)).unwrap();
        let body = put(bodies, &octets(len));
        drop(dropped);
        assert!(get(bodies, &body).unwrap() == octets(len));
    }
}

fn reclaimed_large_bodies_are_gone(subject: &impl Subject) {
    let bodies = subject.bodies();
    let [gone, kept] = [0; 2].map(|_| put(bodies, &octets(300_000)));
    bodies.sync().unwrap();
    bodies.reclaim(std::slice::from_ref(&gone)).unwrap();
    bodies.reclaim(std::slice::from_ref(&gone)).unwrap();
    assert!(matches!(get(bodies, &gone), Err(EngineError::Damaged(_))));
    assert!(get(bodies, &kept).is_ok());
}

fn writers_share_syncs(subject: &impl Subject) {
    let bodies = subject.bodies();
    thread::scope(|scope| {
        for thread in 1..=4 {
            scope.spawn(move || {
                for round in 0..10 {
                    let all = octets(thread * round * 3000);
                    let body = put(bodies, &all);
                    bodies.sync().unwrap();
                    assert!(get(bodies, &body).unwrap() == all);
                }
            });
        }
    });
}
