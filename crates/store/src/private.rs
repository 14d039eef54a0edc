//! What each user has of their own in a mailbox whose `\Seen` is private.
//!
//! Stored are the messages that a user has marked; for all others `\Seen` is as it was when it became private.
//!
//! # Invariants
//! - Numbers come from the mailbox's one allocator, so private and shared changes have one order [H3].
//! - Marks stand in pieces of [`SPAN`] UIDs each that are shared between states: a change copies one.
//!
//! # Standards
//! RFC 7162 §3.1 ("accessible to the currently logged-in user") [S-19, S-21].

use crate::codec::{Reader, Writer};
use crate::delta::version;
use crate::engine::{AccountId, EngineError};
use crate::flags::FlagSet;
use imap::number::ModSeq;
use imap::set::UidSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many UIDs one piece spans.
const SPAN: u32 = 256;

/// A message that a user has marked as seen or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    uid: u32,
    /// Whether the user has `\Seen` on it.
    pub(crate) seen: bool,
    /// Whether the shared record has it, which does not change while `\Seen` is private.
    shared: bool,
    /// When the user last changed it.
    pub(crate) mod_seq: ModSeq,
}

/// Marks of neighbouring UIDs, rising.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    marks: Vec<Mark>,
    newest: u64,
    /// By how many messages fewer are unseen than in the shared records.
    seen_more: i64,
}

impl Piece {
    fn new(marks: Vec<Mark>) -> Self {
        let newest = marks.iter().map(|mark| mark.mod_seq.value()).max().unwrap_or(0);
        let more = |mark: &Mark| i64::from(mark.seen) - i64::from(mark.shared);
        Self { newest, seen_more: marks.iter().map(more).sum(), marks }
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.byte(1);
        w.number(self.marks.len() as u64);
        for mark in &self.marks {
            w.number(u64::from(mark.uid));
            w.byte(u8::from(mark.seen) | u8::from(mark.shared) << 1);
            w.number(mark.mod_seq.value());
        }
        w.out
    }

    /// Reads the stored form.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, EngineError> {
        let mut r = Reader::new(octets);
        version(&mut r)?;
        let mark = |r: &mut Reader<'_>| {
            let (uid, bits, mod_seq) = (r.number_32()?, r.byte()?, r.mod_seq()?);
            Ok(Mark { uid, seen: bits & 1 != 0, shared: bits & 2 != 0, mod_seq })
        };
        let marks = (0..r.count()?).map(|_| mark(&mut r)).collect::<Result<_, EngineError>>()?;
        r.end()?;
        Ok(Self::new(marks))
    }
}

/// One user's marks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Own {
    /// The user's last change; 0 when there was none.
    pub(crate) highest: u64,
    pieces: BTreeMap<u32, Arc<Piece>>,
}

impl Own {
    pub(crate) fn get(&self, uid: u32) -> Option<&Mark> {
        let marks = &self.pieces.get(&(uid / SPAN))?.marks;
        marks.binary_search_by_key(&uid, |mark| mark.uid).ok().and_then(|at| marks.get(at))
    }

    /// The messages marked after `since`.
    pub(crate) fn changed_since(&self, since: u64) -> UidSet {
        let pieces = self.pieces.values().filter(|piece| piece.newest > since);
        let marks = pieces.flat_map(|piece| &piece.marks);
        let mut changed = UidSet::new();
        marks.filter(|m| m.mod_seq.value() > since).for_each(|mark| changed.push(mark.uid));
        changed
    }

    /// The messages that are marked as `seen` says, and differ from the shared record.
    pub(crate) fn differing(&self, seen: bool) -> UidSet {
        let mut found = UidSet::new();
        let marks = self.pieces.values().flat_map(|piece| &piece.marks);
        let those = marks.filter(|mark| mark.seen == seen && mark.shared != seen);
        those.for_each(|mark| found.push(mark.uid));
        found
    }

    /// How many messages fewer are unseen for this user than by the shared records.
    pub(crate) fn seen_more(&self) -> i64 {
        self.pieces.values().map(|piece| piece.seen_more).sum()
    }

    /// With these messages marked; `shared` tells what the shared record says.
    fn mark(&mut self, run: &MarkRun, mod_seq: ModSeq, shared: &impl Fn(u32) -> bool) {
        self.highest = self.highest.max(mod_seq.value());
        let mut uids = run.uids.iter().peekable();
        while let Some(at) = uids.peek().map(|uid| uid / SPAN) {
            let before = self.pieces.remove(&at);
            let before = before.map(|piece| piece.marks.clone()).unwrap_or_default();
            let mut marks: Vec<Mark> =
                before.into_iter().filter(|mark| !run.uids.contains(mark.uid)).collect();
            while let Some(uid) = uids.next_if(|uid| uid / SPAN == at) {
                marks.push(Mark { uid, seen: run.seen, shared: shared(uid), mod_seq });
            }
            marks.sort_unstable_by_key(|mark| mark.uid);
            self.pieces.insert(at, Arc::new(Piece::new(marks)));
        }
    }

    fn remove(&mut self, gone: &UidSet) {
        let touched: Vec<u32> = self.pieces.keys().copied().filter(|at| meets(*at, gone)).collect();
        for at in touched {
            let Some(piece) = self.pieces.remove(&at) else { continue };
            let left = piece.marks.iter().copied().filter(|mark| !gone.contains(mark.uid));
            let left: Vec<Mark> = left.collect();
            if !left.is_empty() {
                self.pieces.insert(at, Arc::new(Piece::new(left)));
            }
        }
    }

    /// The pieces that `older` does not share, and the numbers of those that are no more.
    fn changed_pieces<'a>(&'a self, older: &Self) -> (Vec<(u32, &'a Piece)>, Vec<u32>) {
        let same = |at: &u32, piece: &Arc<Piece>| {
            older.pieces.get(at).is_some_and(|old| Arc::ptr_eq(old, piece))
        };
        let changed = self.pieces.iter().filter(|(at, piece)| !same(at, piece));
        let gone = older.pieces.keys().filter(|at| !self.pieces.contains_key(at)).copied();
        (changed.map(|(at, piece)| (*at, piece.as_ref())).collect(), gone.collect())
    }
}

fn meets(piece: u32, set: &UidSet) -> bool {
    let (first, last) = (piece * SPAN, piece * SPAN + (SPAN - 1));
    let at = set.ranges().partition_point(|(_, high)| *high < first);
    set.ranges().get(at).is_some_and(|(low, _)| *low <= last)
}

/// Messages that one user marks, all in the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MarkRun {
    pub(crate) user: AccountId,
    pub(crate) seen: bool,
    pub(crate) uids: UidSet,
}

/// All users' marks of one mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Private {
    users: BTreeMap<AccountId, Arc<Own>>,
}

impl Private {
    pub(crate) fn of(&self, user: AccountId) -> Option<&Own> {
        self.users.get(&user).map(Arc::as_ref)
    }

    /// After these marks; `shared` tells the flags of the shared record.
    #[must_use]
    pub(crate) fn marked(
        &self,
        runs: &[MarkRun],
        mod_seq: ModSeq,
        shared: impl Fn(u32) -> FlagSet,
    ) -> Self {
        let mut next = self.clone();
        let seen = |uid| !shared(uid).intersection(FlagSet::SEEN).is_empty();
        for run in runs {
            let own = next.users.entry(run.user).or_default();
            Arc::make_mut(own).mark(run, mod_seq, &seen);
        }
        next
    }

    /// Without the marks of messages that are gone.
    #[must_use]
    pub(crate) fn without(&self, gone: &UidSet) -> Self {
        let mut next = self.clone();
        next.users.values_mut().for_each(|own| Arc::make_mut(own).remove(gone));
        next
    }

    /// Who has marks, each with the number of their last change: what the header keeps.
    pub(crate) fn write_users(&self, w: &mut Writer) {
        w.number(self.users.len() as u64);
        for (user, own) in &self.users {
            w.number(user.0);
            w.number(own.highest);
        }
    }

    /// Reads what [`Private::write_users`] wrote.
    pub(crate) fn read_users(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        let mut private = Self::default();
        for _ in 0..r.count()? {
            let (user, highest) = (AccountId(r.number()?), r.number()?);
            private.users.insert(user, Arc::new(Own { highest, pieces: BTreeMap::new() }));
        }
        Ok(private)
    }

    /// Puts a page back in its place; the key says whose it is and where.
    pub(crate) fn read_page(&mut self, key: u64, octets: &[u8]) -> Result<(), EngineError> {
        let user = AccountId(key >> 32);
        let at = u32::try_from(key & u64::from(u32::MAX)).unwrap_or(0);
        let own = self.users.entry(user).or_default();
        Arc::make_mut(own).pieces.insert(at, Arc::new(Piece::decode(octets)?));
        Ok(())
    }

    /// The pages that `older` does not share, and the keys of those that are no more. A key is the user's
    /// account above 32 bits, so it is greater than every UID, and the piece's number below.
    pub(crate) fn pages_changed_since(&self, older: &Self) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
        let (nobody, mut pages, mut removed) = (Own::default(), Vec::new(), Vec::new());
        let users =
            self.users.keys().chain(older.users.keys().filter(|u| !self.users.contains_key(u)));
        for user in users {
            let key = |at: u32| user.0 << 32 | u64::from(at);
            let (own, before) = (self.of(*user), older.of(*user).unwrap_or(&nobody));
            let (changed, gone) = own.unwrap_or(&nobody).changed_pieces(before);
            pages.extend(changed.into_iter().map(|(at, piece)| (key(at), piece.encode())));
            removed.extend(gone.into_iter().map(key));
        }
        (pages, removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: AccountId = AccountId(7);
    const OTHER: AccountId = AccountId(9);

    fn run(user: AccountId, seen: bool, ranges: &[(u32, u32)]) -> MarkRun {
        MarkRun { user, seen, uids: UidSet::from_ranges(ranges.iter().copied()) }
    }

    fn at(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    #[test]
    fn marks_are_counted_found_and_forgotten() {
        let shared = |uid: u32| if uid == 3 { FlagSet::SEEN } else { FlagSet::EMPTY };
        let private = Private::default()
            .marked(&[run(ME, true, &[(1, 3), (300, 301)])], at(5), shared)
            .marked(&[run(ME, false, &[(2, 3)]), run(OTHER, true, &[(1, 1)])], at(8), shared);
        let own = private.of(ME).unwrap();
        assert_eq!(own.highest, 8);
        assert_eq!(own.seen_more(), 3 - 1, "1, 300 and 301 are seen, 3 is not any more");
        assert_eq!(own.changed_since(5), UidSet::from_ranges([(2, 3)]));
        assert_eq!(own.differing(true), UidSet::from_ranges([(1, 1), (300, 301)]));
        assert_eq!(own.differing(false), UidSet::from_ranges([(3, 3)]));
        let private = private.without(&UidSet::from_ranges([(2, 300)]));
        let own = private.of(ME).unwrap();
        assert_eq!(own.changed_since(0), UidSet::from_ranges([(1, 1), (301, 301)]));
        assert_eq!(own.highest, 8, "the number stays though its message went");
    }

    #[test]
    fn pages_carry_what_changed_and_come_back() {
        let none = |_| FlagSet::EMPTY;
        let old = Private::default().marked(&[run(ME, true, &[(1, 700)])], at(5), none);
        let new =
            old.marked(&[run(ME, false, &[(2, 2)]), run(OTHER, true, &[(9, 9)])], at(6), none);
        let new = new.without(&UidSet::from_ranges([(512, 767)]));
        let (all, _) = old.pages_changed_since(&Private::default());
        let (pages, removed) = new.pages_changed_since(&old);
        assert_eq!((all.len(), pages.len(), removed.len()), (3, 2, 1));
        let mut w = Writer::default();
        new.write_users(&mut w);
        let mut read = Private::read_users(&mut Reader::new(&w.out)).unwrap();
        for (key, octets) in all.iter().filter(|(key, _)| !removed.contains(key)).chain(&pages) {
            read.read_page(*key, octets).unwrap();
        }
        assert_eq!(read, new);
    }
}
