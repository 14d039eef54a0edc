//! The plain model: what each user must see.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// The owner first.
pub(crate) const USERS: [&str; 3] = ["alex", "bob", "eve"];
pub(crate) const FLAGGED: &str = "\\Flagged";
pub(crate) const DELETED: &str = "\\Deleted";

/// A message, with the steps at which things last changed.
#[derive(Clone, Default)]
pub(crate) struct Row {
    arrived: u64,
    shared: BTreeSet<String>,
    shared_at: u64,
    pub(crate) seen: [bool; 3],
    marked_at: [u64; 3],
}

impl Row {
    /// When `\Seen` last changed for this user, or the message came.
    pub(crate) fn seen_at(&self, user: usize) -> u64 {
        self.arrived.max(self.marked_at[user])
    }

    /// When anything last changed for this user.
    pub(crate) fn changed_at(&self, user: usize) -> u64 {
        self.seen_at(user).max(self.shared_at)
    }
}

pub(crate) struct Model {
    pub(crate) rows: BTreeMap<u64, Row>,
    pub(crate) next_uid: u64,
    pub(crate) private: bool,
    pub(crate) step: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), next_uid: 1, private: true, step: 0 }
    }
}

impl Model {
    /// Whose `\Seen` it is when this user changes it.
    fn whose(&self, user: usize) -> RangeInclusive<usize> {
        if self.private { user..=user } else { 0..=2 }
    }

    pub(crate) fn mark(&mut self, uid: u64, user: usize, seen: bool) {
        let (whose, step) = (self.whose(user), self.step);
        let Some(row) = self.rows.get_mut(&uid) else { return };
        for user in whose.filter(|user| row.seen[*user] != seen).collect::<Vec<_>>() {
            (row.seen[user], row.marked_at[user]) = (seen, step);
        }
    }

    pub(crate) fn flag(&mut self, uid: u64, flag: &str, set: bool) {
        let Some(row) = self.rows.get_mut(&uid) else { return };
        let changed =
            if set { row.shared.insert(flag.to_owned()) } else { row.shared.remove(flag) };
        if changed {
            row.shared_at = self.step;
        }
    }

    pub(crate) fn append(&mut self, user: usize, seen: bool) {
        let row = Row { arrived: self.step, ..Row::default() };
        self.rows.insert(self.next_uid, row);
        self.mark(self.next_uid, user, seen);
        self.next_uid += 1;
    }

    /// COPY into the same mailbox, MOVE with `remove`.
    pub(crate) fn copy(&mut self, user: usize, uids: RangeInclusive<u64>, remove: bool) {
        let taken: Vec<(u64, Row)> = self.rows.range(uids).map(|(u, r)| (*u, r.clone())).collect();
        for (uid, row) in taken {
            self.append(user, row.seen[user]);
            self.rows.entry(self.next_uid - 1).and_modify(|new| new.shared = row.shared);
            if remove {
                self.rows.remove(&uid);
            }
        }
    }

    pub(crate) fn expunge(&mut self) {
        self.rows.retain(|_, row| !row.shared.contains(DELETED));
    }

    /// `\Seen` becomes everybody's as it is the owner's, or each user's own as it is everybody's.
    pub(crate) fn turn(&mut self, private: bool) {
        self.private = private;
        self.rows.values_mut().for_each(|row| row.seen = [row.seen[0]; 3]);
    }

    /// UIDs and flags as this user must see them.
    pub(crate) fn seen_by(&self, user: usize) -> BTreeMap<u64, Vec<String>> {
        let flags = |row: &Row| {
            let seen = row.seen[user].then(|| "\\Seen".to_owned());
            row.shared.iter().cloned().chain(seen).collect()
        };
        self.rows.iter().map(|(uid, row)| (*uid, flags(row))).collect()
    }
}
