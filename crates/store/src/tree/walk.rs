//! Walking the tree in UID order, skipping subtrees that hold nothing wanted.

use super::{Kids, Node, Summary, Tree};
use crate::flags::FlagSet;
use crate::message::Message;
use imap::number::{SeqNum, Uid};
use imap::set::UidSet;
use std::sync::Arc;

/// What a walk is after.
#[derive(Clone)]
enum Wanted<'a> {
    All,
    Uids(&'a UidSet),
    Numbers(&'a UidSet),
    ChangedSince(u64),
    ChangedSinceIn(u64, &'a UidSet),
    Deleted,
    Unseen,
}

impl Wanted<'_> {
    /// Whether the subtree, whose first message has number `seq`, may hold something wanted.
    fn subtree(&self, summary: &Summary, seq: u32) -> bool {
        match self {
            Self::All => true,
            Self::Uids(set) => summary.meets(set),
            Self::Numbers(set) => {
                let last_uid = seq + summary.count - 1;
                Summary { first_uid: seq, last_uid, ..*summary }.meets(set)
            }
            Self::ChangedSince(since) => summary.max_mod_seq > *since,
            Self::ChangedSinceIn(since, set) => summary.max_mod_seq > *since && summary.meets(set),
            Self::Deleted => summary.deleted > 0,
            Self::Unseen => summary.unseen > 0,
        }
    }

    /// What is left to ask of the messages of a leaf: a leaf that lies within one range of a set need not be compared
    /// message by message.
    fn within(&self, leaf: &Summary, seq: u32) -> Self {
        let covers = |set: &UidSet, low, high| {
            set.ranges_within(low, high).next().is_some_and(|range| range == (low, high))
        };
        match self {
            Self::Uids(set) if covers(set, leaf.first_uid, leaf.last_uid) => Self::All,
            Self::Numbers(set) if covers(set, seq, seq + leaf.count - 1) => Self::All,
            Self::ChangedSinceIn(since, set) if covers(set, leaf.first_uid, leaf.last_uid) => {
                Self::ChangedSince(*since)
            }
            other => other.clone(),
        }
    }

    fn message(&self, message: &Message, seq: u32) -> bool {
        match self {
            Self::All => true,
            Self::Uids(set) => set.contains(message.uid.value()),
            Self::Numbers(set) => set.contains(seq),
            Self::ChangedSince(since) => message.mod_seq.value() > *since,
            Self::ChangedSinceIn(since, set) => {
                message.mod_seq.value() > *since && set.contains(message.uid.value())
            }
            Self::Deleted => !message.flags.intersection(FlagSet::DELETED).is_empty(),
            Self::Unseen => message.flags.intersection(FlagSet::SEEN).is_empty(),
        }
    }
}

/// An iterator over numbers and messages, in rising order.
#[derive(Clone)]
pub struct Walk<'a> {
    wanted: Wanted<'a>,
    nodes: Vec<std::slice::Iter<'a, Arc<Node>>>,
    leaf: std::slice::Iter<'a, Message>,
    /// What is wanted of the leaf.
    here: Wanted<'a>,
    /// The number of the next message, wherever it stands.
    seq: u32,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a Tree, wanted: Wanted<'a>) -> Self {
        let root = tree.root.as_slice().iter();
        Self { here: Wanted::All, wanted, nodes: vec![root], leaf: [].iter(), seq: 1 }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (SeqNum, &'a Message);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for message in self.leaf.by_ref() {
                let seq = self.seq;
                self.seq += 1;
                if self.here.message(message, seq) {
                    return SeqNum::new(seq).map(|seq| (seq, message));
                }
            }
            let Some(node) = self.nodes.last_mut()?.next() else {
                self.nodes.pop();
                continue;
            };
            if !self.wanted.subtree(&node.summary, self.seq) {
                self.seq += node.summary.count;
                continue;
            }
            match &node.kids {
                Kids::Leaf(messages) => {
                    self.here = self.wanted.within(&node.summary, self.seq);
                    self.leaf = messages.iter();
                }
                Kids::Inner(nodes) => self.nodes.push(nodes.iter()),
            }
        }
    }
}

impl Tree {
    /// All messages.
    #[must_use]
    pub fn iter(&self) -> Walk<'_> {
        Walk::new(self, Wanted::All)
    }

    /// The messages whose UID is in the set; costs what is found, not what the set spans [H5].
    #[must_use]
    pub fn iter_uids<'a>(&'a self, uids: &'a UidSet) -> Walk<'a> {
        Walk::new(self, Wanted::Uids(uids))
    }

    /// The messages whose number is in the set.
    #[must_use]
    pub fn iter_seqs<'a>(&'a self, numbers: &'a UidSet) -> Walk<'a> {
        Walk::new(self, Wanted::Numbers(numbers))
    }

    /// The messages with a mod-sequence greater than `since`: O(changes · log n) [S-43, H5].
    #[must_use]
    pub fn changed_since(&self, since: u64) -> Walk<'_> {
        Walk::new(self, Wanted::ChangedSince(since))
    }

    /// Those of [`Tree::changed_since`] whose UID is in the set.
    #[must_use]
    pub fn changed_since_in<'a>(&'a self, since: u64, uids: &'a UidSet) -> Walk<'a> {
        Walk::new(self, Wanted::ChangedSinceIn(since, uids))
    }

    /// The messages with `\Deleted`.
    #[must_use]
    pub fn iter_deleted(&self) -> Walk<'_> {
        Walk::new(self, Wanted::Deleted)
    }

    /// The messages without `\Seen`.
    #[must_use]
    pub fn iter_unseen(&self) -> Walk<'_> {
        Walk::new(self, Wanted::Unseen)
    }

    /// For each range of numbers the UIDs from its first message to its last. Here they name the same messages, and so
    /// they do in any later state: nothing ever arrives between two messages. The cost follows the ranges of the
    /// set, not how many messages there are [H5].
    #[must_use]
    pub fn spans_of_seqs(&self, numbers: &UidSet) -> UidSet {
        let uid_at = |number| SeqNum::new(number).and_then(|seq| self.uid_at(seq)).map(Uid::value);
        let here = numbers.ranges_within(1, self.len());
        UidSet::from_ranges(here.filter_map(|(low, high)| uid_at(low).zip(uid_at(high))))
    }

    /// The numbers of the messages with these UIDs; the cost follows the ranges of the set.
    #[must_use]
    pub fn seqs_of_uids(&self, uids: &UidSet) -> UidSet {
        let before = |uid| self.count_up_to(uid);
        let numbers = uids.ranges().iter().map(|(low, high)| (before(low - 1) + 1, before(*high)));
        UidSet::from_ranges(numbers.filter(|(low, high)| low <= high))
    }

    /// The UIDs of the set that are here. A subtree without gaps is one range: the cost follows the ranges of
    /// the set and the gaps between the messages, not how many messages there are [H5].
    #[must_use]
    pub fn existing(&self, uids: &UidSet) -> UidSet {
        let mut found = UidSet::new();
        let mut stack: Vec<&Arc<Node>> = self.root.iter().collect();
        while let Some(node) = stack.pop() {
            let Summary { first_uid, last_uid, count, .. } = node.summary;
            if !node.summary.meets(uids) {
                continue;
            }
            if last_uid - first_uid + 1 == count {
                uids.ranges_within(first_uid, last_uid)
                    .for_each(|(low, high)| found.push_range(low, high));
                continue;
            }
            match &node.kids {
                Kids::Inner(nodes) => stack.extend(nodes.iter().rev()),
                Kids::Leaf(messages) => {
                    let here = messages.iter().map(|message| message.uid.value());
                    here.filter(|uid| uids.contains(*uid)).for_each(|uid| found.push(uid));
                }
            }
        }
        found
    }

    /// The UIDs that are here and not in `newer`; what both share is skipped, so the cost follows the change.
    #[must_use]
    pub fn removed_in(&self, newer: &Self) -> UidSet {
        let mut removed = UidSet::new();
        let mut old = Pieces::new(self);
        let mut new = Pieces::new(newer);
        while let Some(left) = old.next() {
            let Some(right) = new.next() else {
                left.each_uid(&mut |uid| removed.push(uid));
                continue;
            };
            match compare(left, right) {
                Step::Same => {}
                Step::Left => {
                    left.each_uid(&mut |uid| removed.push(uid));
                    new.put_back(right);
                }
                Step::Right => old.put_back(left),
                Step::Expand => {
                    old.expand(left);
                    new.expand(right);
                }
                Step::Merge(a, b) => {
                    let (a, b) = merge(a, b, &mut removed);
                    old.put_back(Piece::Part(a));
                    new.put_back(Piece::Part(b));
                }
            }
        }
        removed
    }
}

/// A subtree or what is left of a leaf.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Tree(&'a Arc<Node>),
    Part(&'a [Message]),
}

impl Piece<'_> {
    fn each_uid(&self, visit: &mut impl FnMut(u32)) {
        match self {
            Self::Tree(node) => match &node.kids {
                Kids::Leaf(messages) => Piece::Part(messages).each_uid(visit),
                Kids::Inner(nodes) => nodes.iter().for_each(|n| Piece::Tree(n).each_uid(visit)),
            },
            Self::Part(messages) => messages.iter().for_each(|m| visit(m.uid.value())),
        }
    }

    fn ends(&self) -> (u32, u32) {
        match self {
            Self::Tree(node) => (node.summary.first_uid, node.summary.last_uid),
            Self::Part(messages) => {
                let uid = |m: Option<&Message>| m.map_or(0, |m| m.uid.value());
                (uid(messages.first()), uid(messages.last()))
            }
        }
    }
}

enum Step<'a> {
    Same,
    Left,
    Right,
    Expand,
    Merge(&'a [Message], &'a [Message]),
}

fn compare<'a>(left: Piece<'a>, right: Piece<'a>) -> Step<'a> {
    match (left, right) {
        (Piece::Tree(a), Piece::Tree(b)) if Arc::ptr_eq(a, b) => return Step::Same,
        (Piece::Part(a), Piece::Part(b)) => return Step::Merge(a, b),
        _ => {}
    }
    let ((left_first, left_last), (right_first, right_last)) = (left.ends(), right.ends());
    if left_last < right_first {
        Step::Left
    } else if right_last < left_first {
        Step::Right
    } else {
        Step::Expand
    }
}

/// Compares two leaves until one of them ends; answers what is left of both.
fn merge<'a>(
    mut a: &'a [Message],
    mut b: &'a [Message],
    removed: &mut UidSet,
) -> (&'a [Message], &'a [Message]) {
    while let (Some((x, a_rest)), Some((y, b_rest))) = (a.split_first(), b.split_first()) {
        if x.uid < y.uid {
            removed.push(x.uid.value());
        }
        if x.uid <= y.uid {
            a = a_rest;
        }
        if y.uid <= x.uid {
            b = b_rest;
        }
    }
    (a, b)
}

/// The pieces of a tree from left to right, expanded where they must be looked into.
struct Pieces<'a> {
    stack: Vec<Piece<'a>>,
}

impl<'a> Pieces<'a> {
    fn new(tree: &'a Tree) -> Self {
        Self { stack: tree.root.iter().map(Piece::Tree).collect() }
    }

    fn next(&mut self) -> Option<Piece<'a>> {
        self.stack.pop()
    }

    fn put_back(&mut self, piece: Piece<'a>) {
        if !matches!(piece, Piece::Part([])) {
            self.stack.push(piece);
        }
    }

    fn expand(&mut self, piece: Piece<'a>) {
        match piece {
            Piece::Part(_) => self.stack.push(piece),
            Piece::Tree(node) => match &node.kids {
                Kids::Leaf(messages) => self.stack.push(Piece::Part(messages)),
                Kids::Inner(nodes) => self.stack.extend(nodes.iter().rev().map(Piece::Tree)),
            },
        }
    }
}

/// A leaf as it is stored: its first UID and its messages.
pub(crate) type Leaf<'a> = (Uid, &'a [Message]);

impl Tree {
    /// The leaves that `older` does not share, and the first UIDs of leaves that are no more.
    pub(crate) fn leaves_changed_since(&self, older: &Self) -> (Vec<Leaf<'_>>, Vec<u32>) {
        let mut before = std::collections::HashMap::new();
        let mut changed = Vec::new();
        older.each_leaf(&mut |node| {
            before.insert(node.summary.first_uid, Arc::as_ptr(node));
        });
        self.each_leaf(&mut |node| {
            let known = before.remove(&node.summary.first_uid);
            if known == Some(Arc::as_ptr(node)) {
                return;
            }
            if let (Some(uid), Kids::Leaf(messages)) =
                (Uid::new(node.summary.first_uid), &node.kids)
            {
                changed.push((uid, messages.as_slice()));
            }
        });
        (changed, before.into_keys().collect())
    }

    fn each_leaf<'a>(&'a self, visit: &mut impl FnMut(&'a Arc<Node>)) {
        let mut stack: Vec<&Arc<Node>> = self.root.iter().collect();
        while let Some(node) = stack.pop() {
            match &node.kids {
                Kids::Leaf(_) => visit(node),
                Kids::Inner(nodes) => stack.extend(nodes.iter().rev()),
            }
        }
    }
}
