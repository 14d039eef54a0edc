//! What is remembered of messages that were searched, so that the next search need not read them again.
//!
//! Of header fields that people search by, the text itself: that answers exactly. Of bodies and headers as a whole, a
//! filter of all sequences of three octets: that says of most messages that they lack the words; the few others are
//! read. Both are made when a search first asks for many messages, are shared by all sessions, and are lost with the
//! process: nothing is written, and arrival costs nothing.
//!
//! # Invariants
//! - An answer is the same with and without: [`rewrite`] only puts sets in the place of what they stand for.
//! - Messages are remembered by UID of a mailbox with one UIDVALIDITY, and the octets of such a message never change.
//! - Memory stays below [`Config::search_octets_max`](crate::Config): whole mailboxes are forgotten, the longest unused first, and one that
//!   is larger than the limit alone is remembered in part and searched by reading.

mod fields;
mod words;

use super::Key;
use crate::shared::{Shared, yield_now};
use crate::view::View;
use imap::set::UidSet;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Body, MailboxId, Store};

use fields::Fields;
use words::Words;

/// Below this it is cheaper to read the messages than to remember them.
const MANY: u64 = 64;
/// Messages of one run: what is copied when messages are added to the last.
const RUN: usize = 256;

/// A mailbox with a UIDVALIDITY.
type Place = (MailboxId, u32);

/// What sessions share of what was searched.
#[derive(Debug, Default)]
pub struct SearchIndex {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    places: HashMap<Place, Remembered>,
    octets: usize,
    /// Counts searches, to know what was unused longest.
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Remembered {
    fields: Part<Fields>,
    words: Part<Words>,
    octets: usize,
    used: u64,
    /// It does not fit: not to be tried again.
    full: bool,
}

/// What is remembered of some messages in one way.
#[derive(Clone, Debug, Default)]
pub(super) struct Part<R> {
    /// Each of some messages with rising UIDs; the runs in any order.
    runs: Vec<Arc<R>>,
    covered: UidSet,
}

/// A run of messages, remembered in one way.
pub(super) trait Run: Clone + Default + Send + Sync {
    /// Whether it is made of the header alone.
    const HEADER_ONLY: bool;
    /// Adds the message, whose UID is above all others.
    fn push(&mut self, uid: u32, octets: &[u8]);
    /// The UIDs, rising.
    fn uids(&self) -> &[u32];
    /// The memory that it takes.
    fn octets(&self) -> usize;
}

impl SearchIndex {
    /// The criteria with what is remembered put into them, after remembering what these messages lack of it.
    pub(crate) async fn prepare(
        &self,
        keys: &[Key],
        view: &View,
        undecided: &UidSet,
        shared: &Shared,
    ) -> Option<Vec<Key>> {
        let uses = Uses::of(keys);
        if undecided.len() < MANY || !(uses.fields || uses.words) {
            return None;
        }
        let place = (view.mailbox.id(), view.state().uid_validity().value());
        if uses.fields {
            self.cover(place, view, undecided, shared, |place| &mut place.fields).await?;
        }
        if uses.words {
            self.cover(place, view, undecided, shared, |place| &mut place.words).await?;
        }
        let inner = self.lock();
        let here = inner.places.get(&place)?.clone();
        drop(inner);
        let fields = uses.fields.then_some(&here.fields);
        let words = uses.words.then_some(&here.words);
        let whole = |covered: &UidSet| undecided.difference(covered).is_empty();
        let complete =
            fields.is_none_or(|p| whole(&p.covered)) && words.is_none_or(|p| whole(&p.covered));
        complete.then(|| keys.iter().map(|key| rewrite(key, fields, words)).collect())
    }

    /// Remembers those of the messages that are not remembered in this way; `None` when they cannot all be.
    async fn cover<R: Run>(
        &self,
        place: Place,
        view: &View,
        uids: &UidSet,
        shared: &Shared,
        part: fn(&mut Remembered) -> &mut Part<R>,
    ) -> Option<()> {
        let (missing, last) = {
            let mut inner = self.lock();
            inner.clock += 1;
            let now = inner.clock;
            let here = inner.places.entry(place).or_default();
            here.used = now;
            let full = here.full;
            let part = part(here);
            let missing = uids.difference(&part.covered);
            if missing.is_empty() {
                return Some(());
            }
            if full {
                return None;
            }
            (missing, part.runs.last().cloned())
        };
        let store = &shared.store;
        let mut runs = Runs::after(last.as_deref(), &missing);
        let mut covered = UidSet::new();
        for (_, message) in view.numbering().iter_uids(&missing) {
            let body = store.body(message.body).await.ok()?;
            let octets = read(&body, R::HEADER_ONLY, store).await?;
            runs.push(message.uid.value(), &octets);
            covered.push(message.uid.value());
            yield_now().await;
        }
        self.add(place, part, last.as_ref(), runs, &covered);
        self.lock().shrink(place, shared.config.search_octets_max)
    }

    /// Keeps what was made, unless somebody else has kept the same meanwhile.
    fn add<R: Run>(
        &self,
        place: Place,
        part: fn(&mut Remembered) -> &mut Part<R>,
        last: Option<&Arc<R>>,
        runs: Runs<R>,
        covered: &UidSet,
    ) {
        let mut inner = self.lock();
        let here = inner.places.entry(place).or_default();
        let kept = part(here);
        let same_last = match (kept.runs.last(), last) {
            (Some(kept), Some(last)) => Arc::ptr_eq(kept, last),
            (None, None) => true,
            _ => false,
        };
        if !kept.covered.intersection(covered).is_empty() || (runs.extends_last && !same_last) {
            return;
        }
        let replaced = if runs.extends_last { kept.runs.pop() } else { None };
        let before = replaced.map_or(0, |run| run.octets());
        let more: usize = runs.done.iter().map(Run::octets).sum();
        kept.covered = kept.covered.union(covered);
        kept.runs.extend(runs.done.into_iter().map(Arc::new));
        here.octets = here.octets + more - before;
        inner.octets = inner.octets + more - before;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets until the limit holds; `None` when this place itself had to go.
    fn shrink(&mut self, place: Place, octets_max: usize) -> Option<()> {
        while self.octets > octets_max {
            let oldest = self.places.iter().filter(|(other, _)| **other != place);
            let oldest =
                oldest.filter(|(_, kept)| kept.octets > 0).min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(oldest, _)| *oldest) else {
                let full = Remembered { full: true, ..Remembered::default() };
                let gone = self.places.insert(place, full).map_or(0, |kept| kept.octets);
                self.octets -= gone;
                return None;
            };
            self.octets -= self.places.remove(&oldest).map_or(0, |kept| kept.octets);
        }
        Some(())
    }
}

/// The octets of the message, or of its header.
async fn read(body: &Arc<Body>, header_only: bool, store: &Store) -> Option<Vec<u8>> {
    let range = if header_only { body.structure.header() } else { 0..body.body.len };
    let mut octets = Vec::new();
    store.fetch(body, range, &mut octets).await.ok()?;
    Some(octets)
}

/// Runs in the making.
struct Runs<R> {
    done: Vec<R>,
    /// Whether the first is the last one that was kept, with more in it.
    extends_last: bool,
}

impl<R: Run> Runs<R> {
    fn after(last: Option<&R>, missing: &UidSet) -> Self {
        let last = last.filter(|last| last.uids().len() < RUN);
        let last = last.filter(|last| last.uids().last().copied() < missing.first());
        Self { extends_last: last.is_some(), done: last.cloned().into_iter().collect() }
    }

    fn push(&mut self, uid: u32, octets: &[u8]) {
        match self.done.last_mut().filter(|run| run.uids().len() < RUN) {
            Some(run) => run.push(uid, octets),
            None => {
                let mut run = R::default();
                run.push(uid, octets);
                self.done.push(run);
            }
        }
    }
}

/// What of the index criteria can use.
#[derive(Clone, Copy, Default)]
struct Uses {
    fields: bool,
    words: bool,
}

impl Uses {
    fn of(keys: &[Key]) -> Self {
        keys.iter().map(Self::of_one).fold(Self::default(), Self::or)
    }

    fn of_one(key: &Key) -> Self {
        match key {
            Key::Header(name, text) => {
                Self { fields: fields::can_answer(name, text), words: false }
            }
            Key::Body(text) | Key::Text(text) => {
                Self { fields: false, words: words::can_answer(text) }
            }
            Key::Not(key) => Self::of_one(key),
            Key::And(keys) => Self::of(keys),
            Key::Or(keys) => Self::of_one(&keys.0).or(Self::of_one(&keys.1)),
            _ => Self::default(),
        }
    }

    fn or(self, other: Self) -> Self {
        Self { fields: self.fields || other.fields, words: self.words || other.words }
    }
}

/// The criterion with the set of those that answer it in its place, or beside it the set of those that may.
fn rewrite(key: &Key, fields: Option<&Part<Fields>>, words: Option<&Part<Words>>) -> Key {
    let inner = |key: &Key| rewrite(key, fields, words);
    match (key, fields, words) {
        (Key::Header(name, text), Some(fields), _) if fields::can_answer(name, text) => {
            Key::Among(fields.with(name, text))
        }
        (Key::Body(text), _, Some(words)) if words::can_answer(text) => {
            Key::And(vec![Key::Among(words.may_have(text, false)), key.clone()])
        }
        (Key::Text(text), _, Some(words)) if words::can_answer(text) => {
            Key::And(vec![Key::Among(words.may_have(text, true)), key.clone()])
        }
        (Key::Not(key), ..) => Key::Not(Box::new(inner(key))),
        (Key::And(keys), ..) => Key::And(keys.iter().map(inner).collect()),
        (Key::Or(keys), ..) => Key::Or(Box::new((inner(&keys.0), inner(&keys.1)))),
        (key, ..) => key.clone(),
    }
}
