//! What every engine and every place for bodies must do, as tests that any of them can run.
//!
//! A test makes [`Subject`]s and calls [`run`]; each case gets a fresh one. A case that fails panics and
//! says what was expected.
//!
//! # Invariants
//! - Nothing here knows which engine it runs against.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which fail by panicking; public so that other crates run them on their engines"
)]

mod account;
mod body;
mod log;
mod shared;

use crate::engine::{
    AccountId, Append, BodyId, BodyRef, BodyRow, BodyStore, Commit, Engine, EngineError, Fold,
    Held, LogHead, LogId, News, Numbered, Standing,
};

/// An engine and a place for bodies, empty at first.
pub trait Subject {
    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// The place for bodies.
    fn bodies(&self) -> &dyn BodyStore;

    /// Closes both and opens them again, as a restart does.
    #[must_use]
    fn reopen(self) -> Self;
}

/// Runs every case.
///
/// # Panics
/// When a case fails.
pub fn run<S: Subject>(make: impl Fn() -> S) {
    log::run(&make);
    shared::run(&make);
    body::run(&make);
    account::run(&make);
}

const LOG: LogId = LogId { account: AccountId(1), number: 1 };
const OTHER: LogId = LogId { account: AccountId(1), number: 2 };

fn append(log: LogId, after: u64, seq: u64, delta: &[u8]) -> Append {
    Append { log, after, seq, delta: delta.to_vec(), history: None }
}

fn appends(appends: Vec<Append>) -> Commit {
    Commit { appends, ..Commit::default() }
}

fn fold(log: LogId, base: u64, seq: u64, pages: &[(u64, &[u8])], removed: &[u64]) -> Commit {
    let pages = pages.iter().map(|(key, octets)| (*key, octets.to_vec())).collect();
    let fold = Fold { log, base: Some(base), seq, pages, removed: removed.to_vec() };
    Commit { folds: vec![fold], ..Commit::default() }
}

fn head(engine: &dyn Engine, log: LogId) -> Option<(u64, u64)> {
    engine.head(log).unwrap().map(|LogHead { seq, folded, .. }| (seq, folded))
}

/// Head, pages, deltas.
fn load(engine: &dyn Engine, log: LogId) -> Option<((u64, u64), Numbered, Numbered)> {
    let (mut pages, mut deltas) = (Vec::new(), Vec::new());
    let head = engine
        .load(log, &mut |key, octets| collect(&mut pages, key, octets), &mut |seq, octets| {
            collect(&mut deltas, seq, octets)
        })
        .unwrap();
    head.map(|LogHead { seq, folded, .. }| ((seq, folded), pages, deltas))
}

/// The numbers of the deltas after one that is held.
fn deltas(engine: &dyn Engine, log: LogId, after: u64) -> Vec<u64> {
    match news(engine, log, after).news {
        News::Deltas(deltas) | News::Whole { deltas, .. } => {
            deltas.into_iter().map(|(seq, _)| seq).collect()
        }
        News::None | News::Dropped => Vec::new(),
    }
}

/// Where a log stands for one who holds it up to `seq`.
fn news(engine: &dyn Engine, log: LogId, seq: u64) -> Standing {
    let found = engine.news(&[Held { log, seq }]).unwrap().pop();
    let head = || engine.head(log).unwrap().unwrap_or_default();
    found.unwrap_or_else(|| Standing { log, head: head(), news: News::None, usage: None })
}

fn history(engine: &dyn Engine, log: LogId, after: u64) -> Numbered {
    let mut found = Vec::new();
    engine.history(log, after, &mut |seq, octets| collect(&mut found, seq, octets)).unwrap();
    found
}

fn collect(into: &mut Numbered, number: u64, octets: &[u8]) -> Result<(), EngineError> {
    into.push((number, octets.to_vec()));
    Ok(())
}

fn row(id: BodyId) -> BodyRow {
    let locator = id.0.to_be_bytes().to_vec();
    BodyRow { id, body: BodyRef { locator, len: 3, crc: u32::MAX }, meta: vec![1, 2] }
}
