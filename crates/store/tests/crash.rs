//! Killed at any moment, the embedded engine comes back with every commit that it had acknowledged, whole [S-173].
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, which fail by panicking; the child acknowledges on its standard output"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use store::embedded::Embedded;
use store::engine::{
    AccountId, Append, BodyId, BodyRow, BodyStore, Commit, Engine, EngineError, Fold, LogId,
};
use store::segments::{Limits, Segments};
use tempfile::TempDir;

const CHILD: &str = "HIGHWATER_CRASH_TEST_DIRECTORY";
const KILLS: u64 = 20;
const WRITERS: u32 = 3;

fn log(number: u32) -> LogId {
    LogId { account: AccountId(1), number }
}

/// Two logs change together, with a body that both name; every ninth commit folds.
fn commit(engine: &Embedded, bodies: &Segments, writer: u32) -> Result<u64, EngineError> {
    let [one, two] = [log(writer * 2), log(writer * 2 + 1)];
    let after = engine.head(one)?.map_or(0, |head| head.seq);
    let seq = after + 1;
    let id = engine.next_body();
    let len = if seq % 7 == 0 { 300_000 } else { 2000 };
    let mut arriving = bodies.writer()?;
    arriving.write(&octets(seq, len))?;
    let body = arriving.finish()?;
    bodies.sync()?;
    let delta = [id.0, seq].map(u64::to_be_bytes).concat();
    let append = |log| Append { log, after, seq, delta: delta.clone(), history: Some(vec![1; 9]) };
    let fold = Fold {
        log: one,
        base: None,
        seq,
        pages: vec![(1, seq.to_be_bytes().to_vec()), (2, vec![2; 20_000])],
        removed: vec![],
    };
    engine.commit(&Commit {
        appends: vec![append(one), append(two)],
        bodies: vec![BodyRow { id, body, meta: vec![3; 500] }],
        references: vec![(id, 2)],
        folds: if seq % 9 == 0 { vec![fold] } else { vec![] },
        ..Commit::default()
    })?;
    Ok(seq)
}

fn octets(seq: u64, len: usize) -> Vec<u8> {
    seq.to_be_bytes().into_iter().cycle().take(len).collect()
}

/// What the child does until it is killed; without the variable there is nothing to do.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let directory = Path::new(&directory);
    let engine = Embedded::open(directory).unwrap();
    let bodies = Segments::open(directory, Limits::default()).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (engine, bodies) = (&engine, &bodies);
            scope.spawn(move || {
                loop {
                    let seq = commit(engine, bodies, writer).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {writer} {seq}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// Starts the child and kills it after so many acknowledgements; answers the last one of each writer.
fn killed_after(directory: &Path, acks: u64) -> BTreeMap<u32, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = BTreeMap::new();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The test harness writes the test's name before the first acknowledgement, without a line end.
        let Some((_, ack)) = line.split_once("ack ") else { continue };
        // The last line may be cut short by the kill; then it was not heard.
        let Some((writer, seq)) = ack.split_once(' ') else { continue };
        let (Ok(writer), Ok(seq)) = (writer.parse(), seq.parse()) else { continue };
        last.insert(writer, seq);
        count += 1;
        if count == acks {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= acks, "the child ended by itself after {count} acknowledgements");
    last
}

fn assert_whole(engine: &Embedded, bodies: &Segments, acknowledged: &BTreeMap<u32, u64>) {
    for (writer, acked) in acknowledged {
        let [one, two] = [log(writer * 2), log(writer * 2 + 1)];
        let found = engine.head(one).unwrap().map_or(0, |head| head.seq);
        assert!(found >= *acked, "writer {writer}: {acked} was acknowledged, {found} is there");
        assert_eq!(engine.head(two).unwrap().map(|head| head.seq), Some(found), "half a commit");
        let mut expected = 1..=found;
        engine
            .load(two, &mut |_, _| Ok(()), &mut |seq, delta| {
                assert_eq!(Some(seq), expected.next());
                let (id, _) = delta.split_first_chunk().unwrap();
                let rows = engine.bodies(&[BodyId(u64::from_be_bytes(*id))])?;
                let body = &rows.first().unwrap().body;
                let mut octets_found = Vec::new();
                bodies.read(body, 0..body.len, &mut octets_found)?;
                assert!(octets_found == octets(seq, octets_found.len()), "another body");
                Ok(())
            })
            .unwrap();
        assert_eq!(expected.next(), None);
        let mut entries = 0;
        let mut count = |_, _: &[u8]| {
            entries += 1;
            Ok(())
        };
        engine.history(one, 0, &mut count).unwrap();
        assert_eq!(entries, found);
    }
}

#[test]
fn every_acknowledged_commit_survives_sigkill_whole() {
    let directory = TempDir::new().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut random = u64::from(std::process::id());
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        acknowledged.extend(killed_after(directory.path(), 1 + (random >> 33) % 60));
        let engine = Embedded::open(directory.path()).unwrap();
        let bodies = Segments::open(directory.path(), Limits::default()).unwrap();
        assert_whole(&engine, &bodies, &acknowledged);
        assert!(engine.reclaimable(i64::MAX, 10).unwrap().is_empty());
    }
    assert!(!acknowledged.is_empty());
}
