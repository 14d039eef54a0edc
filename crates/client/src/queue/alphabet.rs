//! What a queue writes on its messages: twenty keywords, fixed once.
//!
//! | keywords | what they say |
//! | --- | --- |
//! | `$q0` … `$q9` | who holds the job: five of the ten |
//! | `$t0` … `$t3` | how many attempts have failed, in binary |
//! | `$qh` | toggled to renew a lease |
//! | `$done` | acknowledged; on the queue's own sentinel: drained |
//! | `$p1` … `$p3` | priority, three the most urgent |
//! | `$qw` | a worker's registration or the sentinel: no job |
//!
//! # Invariants
//! - No keyword is made for a worker, a job or a moment: servers keep every keyword for ever, and some stop at 26 or
//!   128 of them.
//! - An owner's code has weight five, so none contains another: a second claim by `+FLAGS` always changes something,
//!   and shows as a weight that is not five.
//! - What is not the queue's is a person's, and is carried along by every write.

use imap::command::SearchKey;
use imap::flag::{Flag, Keyword, SystemFlag};
use imap::response::FlagName;

const OWNER: [&str; 10] = ["$q0", "$q1", "$q2", "$q3", "$q4", "$q5", "$q6", "$q7", "$q8", "$q9"];
const ATTEMPTS: [&str; 4] = ["$t0", "$t1", "$t2", "$t3"];
const PRIORITY: [&str; 3] = ["$p1", "$p2", "$p3"];
const HEARTBEAT: &str = "$qh";
const DONE: &str = "$done";
const WORKER: &str = "$qw";

/// The flag of this name.
fn flag(name: &str) -> Option<Flag> {
    match FlagName::new(name) {
        FlagName::Flag(flag) => Some(flag),
        _ => None,
    }
}

/// Every keyword of the alphabet.
pub fn keywords() -> impl Iterator<Item = Flag> {
    let all = OWNER.iter().chain(&ATTEMPTS).chain(&PRIORITY);
    all.chain(&[HEARTBEAT, DONE, WORKER]).filter_map(|name| flag(name))
}

/// `$qh`, which alone renews a lease.
pub(super) fn heartbeat() -> Vec<Flag> {
    flag(HEARTBEAT).into_iter().collect()
}

/// `$done`
pub(super) fn done() -> Vec<Flag> {
    flag(DONE).into_iter().collect()
}

/// `KEYWORD $qw`
pub(super) fn worker_key() -> Vec<SearchKey> {
    flag(WORKER).and_then(keyword).map(SearchKey::Keyword).into_iter().collect()
}

/// `UNKEYWORD $done`
pub(super) fn not_done_key() -> Vec<SearchKey> {
    flag(DONE).and_then(keyword).map(SearchKey::NotKeyword).into_iter().collect()
}

fn keyword(flag: Flag) -> Option<Keyword> {
    match flag {
        Flag::Keyword(keyword) => Some(keyword),
        Flag::System(_) => None,
    }
}

/// Who holds a job: a choice of five of ten keywords, of which there are 252.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerCode(u16);

impl OwnerCode {
    /// How many there are.
    pub const COUNT: u32 = 252;
    const WEIGHT: u32 = 5;

    /// The code of the worker whose registration has this UID.
    #[must_use]
    pub fn of(number: u32) -> Self {
        let rank = usize::try_from(number % Self::COUNT).unwrap_or(0);
        let mut codes =
            (0..1 << OWNER.len()).filter(|bits: &u16| bits.count_ones() == Self::WEIGHT);
        Self(codes.nth(rank).unwrap_or(0b11111))
    }

    /// The keywords.
    #[must_use]
    pub fn flags(self) -> Vec<Flag> {
        named(self.0, &OWNER).collect()
    }

    /// The ten keywords as bits.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// Those names whose bits are set.
fn named(bits: u16, names: &[&'static str]) -> impl Iterator<Item = Flag> {
    let set = names.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
    set.filter_map(|(_, name)| flag(name))
}

/// A message's flags as the queue reads them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// Which of the owner's keywords are set: none, five, or a claim that was made twice.
    pub owner: u16,
    /// How many attempts have failed, 15 at most.
    pub attempts: u8,
    /// `$qh`
    pub heartbeat: bool,
    /// `$done`
    pub done: bool,
    /// `$qw`
    pub worker: bool,
    /// `\Deleted`
    pub deleted: bool,
    /// 0 to 3, three the most urgent.
    pub priority: u8,
    /// What people and other programs have set.
    pub others: Vec<Flag>,
}

impl Marks {
    /// The most that four keywords count to.
    pub const ATTEMPTS_MAX: u8 = 15;

    /// Reads a message's flags.
    #[must_use]
    pub fn read(flags: &[FlagName]) -> Self {
        let mut marks = Self::default();
        for name in flags {
            let FlagName::Flag(flag) = name else { continue };
            let Flag::Keyword(keyword) = flag else {
                match flag {
                    Flag::System(SystemFlag::Deleted) => marks.deleted = true,
                    _ => marks.others.push(flag.clone()),
                }
                continue;
            };
            let is = |name: &str| keyword.as_str().eq_ignore_ascii_case(name);
            let text = keyword.as_str();
            if let Some(at) = OWNER.iter().position(|name| is(name)) {
                marks.owner |= 1 << at;
            } else if let Some(at) = ATTEMPTS.iter().position(|name| is(name)) {
                marks.attempts |= 1 << at;
            } else if let Some((_, level)) = PRIORITY.iter().zip(1..).find(|(name, _)| is(name)) {
                marks.priority = marks.priority.max(level);
            } else if text.eq_ignore_ascii_case(HEARTBEAT) {
                marks.heartbeat = true;
            } else if text.eq_ignore_ascii_case(DONE) {
                marks.done = true;
            } else if text.eq_ignore_ascii_case(WORKER) {
                marks.worker = true;
            } else {
                marks.others.push(flag.clone());
            }
        }
        marks
    }

    /// All flags that the message is to have.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        let mut flags = self.others.clone();
        flags.extend(self.deleted.then_some(Flag::System(SystemFlag::Deleted)));
        flags.extend(named(self.owner, &OWNER));
        flags.extend(named(u16::from(self.attempts), &ATTEMPTS));
        let level = usize::from(self.priority);
        flags.extend(PRIORITY.get(level.wrapping_sub(1)).and_then(|name| flag(name)));
        for (set, name) in [(self.heartbeat, HEARTBEAT), (self.done, DONE), (self.worker, WORKER)] {
            flags.extend(set.then(|| flag(name)).flatten());
        }
        flags
    }

    /// Whether this owner holds it, and nobody else has tried to.
    #[must_use]
    pub fn is_held_by(&self, code: OwnerCode) -> bool {
        self.owner == code.0
    }

    /// Whether this owner has marked it, perhaps not alone.
    #[must_use]
    pub fn names(&self, code: OwnerCode) -> bool {
        self.owner & code.0 == code.0
    }

    /// As this, held by that owner.
    #[must_use]
    pub fn held(&self, code: OwnerCode) -> Self {
        Self { owner: code.0, ..self.clone() }
    }

    /// As this, held by nobody.
    #[must_use]
    pub fn freed(&self) -> Self {
        Self { owner: 0, ..self.clone() }
    }

    /// As this, with one more attempt that has failed.
    #[must_use]
    pub fn failed_once_more(&self) -> Self {
        let attempts = (self.attempts + 1).min(Self::ATTEMPTS_MAX);
        // Toggled so that the write changes something even where attempts cannot rise.
        Self { attempts, heartbeat: !self.heartbeat, ..self.clone() }
    }

    /// As this, with nothing left of the queue but the priority: as a job that was just put.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { priority: self.priority, others: self.others.clone(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names(flags: &[Flag]) -> Vec<FlagName> {
        flags.iter().cloned().map(FlagName::Flag).collect()
    }

    #[test]
    fn no_code_contains_another() {
        let all: BTreeSet<u16> = (0..OwnerCode::COUNT).map(|n| OwnerCode::of(n).bits()).collect();
        assert_eq!(all.len(), 252);
        for a in &all {
            assert_eq!(a.count_ones(), 5);
            assert!(all.iter().all(|b| a == b || a & b != *a));
        }
        assert_eq!(OwnerCode::of(252), OwnerCode::of(0));
        assert_eq!(OwnerCode::of(u32::MAX).flags().len(), 5);
    }

    #[test]
    fn every_state_comes_back_from_its_flags() {
        let others = vec![Flag::System(SystemFlag::Seen), flag("$Forwarded").unwrap()];
        for seed in 0..1 << 14_u32 {
            let bit = |at: u32| seed >> at & 1 == 1;
            let marks = Marks {
                owner: u16::try_from(seed % 1024).unwrap(),
                attempts: u8::try_from(seed % 16).unwrap(),
                heartbeat: bit(10),
                done: bit(11),
                worker: bit(12),
                deleted: bit(13),
                priority: u8::try_from(seed % 4).unwrap(),
                others: others.clone(),
            };
            assert_eq!(Marks::read(&names(&marks.flags())), marks);
        }
    }

    #[test]
    fn the_alphabet_stays_within_what_a_maildir_can_hold() {
        let all: Vec<Flag> = keywords().collect();
        assert_eq!(all.len(), 20);
        let marks = Marks::read(&names(&all));
        assert_eq!((marks.owner, marks.attempts, marks.priority), (1023, 15, 3));
        assert!(marks.others.is_empty());
    }

    #[test]
    fn names_are_read_without_regard_to_case_and_recent_is_nobodys() {
        let marks = Marks::read(&[FlagName::new("$DONE"), FlagName::new("$Q3"), FlagName::Recent]);
        assert_eq!((marks.done, marks.owner), (true, 8));
        assert_eq!(marks.flags().len(), 2);
    }

    #[test]
    fn a_failed_attempt_always_changes_something() {
        for attempts in 0..=15 {
            let before = Marks { attempts, ..Marks::default() };
            let after = before.failed_once_more();
            assert_ne!(before, after);
            assert!(after.attempts >= before.attempts && after.attempts <= 15);
        }
    }
}
