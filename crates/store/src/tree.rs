//! The messages of a mailbox as a persistent tree: cloning is O(1), every change copies one path.
//!
//! The same type is a mailbox's state and a session's numbering of it; while they are equal they are the
//! same memory.
//!
//! # Invariants
//! - UIDs rise from left to right; all leaves have the same depth; no node but an empty root is empty.
//! - Each node carries count, first and last UID, greatest mod-sequence, unseen, deleted and octet totals of
//!   its subtree, so number look-up is O(log n) and "changed since" skips what did not change [H5].

mod edit;
mod walk;

use crate::message::Message;
use imap::flag::SystemFlag;
use imap::number::{SeqNum, Uid};
use imap::set::UidSet;
use std::sync::Arc;
pub use walk::Walk;

/// What a subtree holds, added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Messages.
    pub count: u32,
    /// The first UID; 0 when empty.
    pub first_uid: u32,
    /// The last UID; 0 when empty.
    pub last_uid: u32,
    /// The greatest mod-sequence; 0 when empty.
    pub max_mod_seq: u64,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Octets of all bodies.
    pub size: u64,
}

impl Summary {
    fn of(message: &Message) -> Self {
        Self {
            count: 1,
            first_uid: message.uid.value(),
            last_uid: message.uid.value(),
            max_mod_seq: message.mod_seq.value(),
            unseen: u32::from(!message.flags.has(SystemFlag::Seen)),
            deleted: u32::from(message.flags.has(SystemFlag::Deleted)),
            size: message.size,
        }
    }

    fn join(self, right: Self) -> Self {
        if self.count == 0 {
            return right;
        }
        Self {
            count: self.count + right.count,
            first_uid: self.first_uid,
            last_uid: right.last_uid,
            max_mod_seq: self.max_mod_seq.max(right.max_mod_seq),
            unseen: self.unseen + right.unseen,
            deleted: self.deleted + right.deleted,
            size: self.size + right.size,
        }
    }

    /// Whether a number of the set lies between the first and the last UID.
    fn meets(&self, set: &UidSet) -> bool {
        let ranges = set.ranges();
        let at = ranges.partition_point(|(_, high)| *high < self.first_uid);
        ranges.get(at).is_some_and(|(low, _)| *low <= self.last_uid)
    }
}

#[derive(Debug)]
struct Node {
    summary: Summary,
    kids: Kids,
}

#[derive(Debug)]
enum Kids {
    Leaf(Vec<Message>),
    Inner(Vec<Arc<Node>>),
}

impl Node {
    fn leaf(messages: Vec<Message>) -> Self {
        let summary = messages.iter().map(Summary::of).fold(Summary::default(), Summary::join);
        Self { summary, kids: Kids::Leaf(messages) }
    }

    fn inner(nodes: Vec<Arc<Self>>) -> Self {
        let summary = nodes.iter().map(|n| n.summary).fold(Summary::default(), Summary::join);
        Self { summary, kids: Kids::Inner(nodes) }
    }
}

/// A mailbox's messages in UID order.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Option<Arc<Node>>,
}

impl Tree {
    /// The tree without messages.
    #[must_use]
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// The totals.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.root.as_ref().map(|root| root.summary).unwrap_or_default()
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.summary().count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The greatest UID.
    #[must_use]
    pub fn last_uid(&self) -> Option<Uid> {
        Uid::new(self.summary().last_uid)
    }

    /// The greatest mod-sequence of any message; 0 when there are none.
    #[must_use]
    pub fn max_mod_seq(&self) -> u64 {
        self.summary().max_mod_seq
    }

    /// Whether both are the same memory, hence equal.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }

    /// The message with this UID.
    #[must_use]
    pub fn get(&self, uid: Uid) -> Option<&Message> {
        self.find(uid).map(|(_, message)| message)
    }

    /// The number of the message with this UID.
    #[must_use]
    pub fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        self.find(uid).and_then(|(seq, _)| SeqNum::new(seq))
    }

    /// The message with this number.
    #[must_use]
    pub fn at(&self, seq: SeqNum) -> Option<&Message> {
        let mut node = self.root.as_deref()?;
        let mut index = seq.value() - 1;
        loop {
            match &node.kids {
                Kids::Leaf(messages) => return messages.get(index as usize),
                Kids::Inner(nodes) => {
                    node = nodes.iter().find(|n| {
                        let here = index < n.summary.count;
                        if !here {
                            index -= n.summary.count;
                        }
                        here
                    })?;
                }
            }
        }
    }

    /// The UID of the message with this number.
    #[must_use]
    pub fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        self.at(seq).map(|message| message.uid)
    }

    /// How many messages have a UID ≤ `uid`.
    #[must_use]
    pub fn count_up_to(&self, uid: u32) -> u32 {
        let mut node = match self.root.as_deref() {
            Some(root) => root,
            None => return 0,
        };
        let mut count = 0;
        loop {
            match &node.kids {
                Kids::Leaf(messages) => {
                    let here = messages.partition_point(|m| m.uid.value() <= uid);
                    return count + u32::try_from(here).unwrap_or(u32::MAX);
                }
                Kids::Inner(nodes) => {
                    let at = nodes.partition_point(|n| n.summary.last_uid <= uid);
                    count += nodes.iter().take(at).map(|n| n.summary.count).sum::<u32>();
                    match nodes.get(at) {
                        Some(next) => node = next,
                        None => return count,
                    }
                }
            }
        }
    }

    fn find(&self, uid: Uid) -> Option<(u32, &Message)> {
        let seq = self.count_up_to(uid.value());
        let message = self.at(SeqNum::new(seq)?)?;
        (message.uid == uid).then_some((seq, message))
    }
}

#[cfg(test)]
mod tests;
