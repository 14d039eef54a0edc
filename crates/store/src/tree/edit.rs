//! Changing the tree: every operation answers a new tree that shares what did not change.

use super::{Kids, Node, Tree};
use crate::message::Message;
use imap::set::UidSet;
use std::sync::Arc;

/// Messages in a leaf, at most.
pub(super) const LEAF_MAX: usize = 128;
/// Nodes in an inner node, at most.
pub(super) const INNER_MAX: usize = 64;

impl Tree {
    /// The tree that has exactly these leaves, none of them empty.
    #[must_use]
    pub(crate) fn from_leaves(leaves: Vec<Vec<Message>>) -> Self {
        raise(leaves.into_iter().map(|messages| Arc::new(Node::leaf(messages))).collect())
    }

    /// The tree with these messages behind the present ones; their UIDs rise and are greater than all here.
    #[must_use]
    pub fn with_appended(&self, messages: &[Message]) -> Self {
        if messages.is_empty() {
            return self.clone();
        }
        raise(match &self.root {
            Some(root) => append(root, messages),
            None => leaves(messages),
        })
    }

    /// The tree without the messages whose UID is in the set.
    #[must_use]
    pub fn without(&self, uids: &UidSet) -> Self {
        let mut root = self.root.as_ref().and_then(|root| remove(root, uids));
        while let Some(Kids::Inner(nodes)) = root.as_deref().map(|root| &root.kids) {
            match nodes.as_slice() {
                [only] => root = Some(Arc::clone(only)),
                _ => break,
            }
        }
        Self { root }
    }

    /// The tree with each message of the set replaced by what `change` makes of it.
    #[must_use]
    pub(crate) fn with_updated(
        &self,
        uids: &UidSet,
        change: &mut impl FnMut(&Message) -> Message,
    ) -> Self {
        Self { root: self.root.as_ref().map(|root| update(root, uids, change)) }
    }
}

/// Puts inner nodes over nodes of one height until one root is left.
fn raise(mut level: Vec<Arc<Node>>) -> Tree {
    while level.len() > 1 {
        level = level.chunks(INNER_MAX).map(|c| Arc::new(Node::inner(c.to_vec()))).collect();
    }
    Tree { root: level.pop() }
}

fn leaves(messages: &[Message]) -> Vec<Arc<Node>> {
    messages.chunks(LEAF_MAX).map(|c| Arc::new(Node::leaf(c.to_vec()))).collect()
}

/// The nodes, of the same height, that take the place of `node` once the messages are behind it.
fn append(node: &Arc<Node>, messages: &[Message]) -> Vec<Arc<Node>> {
    match &node.kids {
        Kids::Leaf(present) => {
            let (fill, rest) =
                messages.split_at(messages.len().min(LEAF_MAX - present.len().min(LEAF_MAX)));
            let first = if fill.is_empty() {
                Arc::clone(node)
            } else {
                Arc::new(Node::leaf([present.as_slice(), fill].concat()))
            };
            std::iter::once(first).chain(leaves(rest)).collect()
        }
        Kids::Inner(nodes) => {
            let Some((last, front)) = nodes.split_last() else { return leaves(messages) };
            let all: Vec<_> = front.iter().cloned().chain(append(last, messages)).collect();
            all.chunks(INNER_MAX).map(|c| Arc::new(Node::inner(c.to_vec()))).collect()
        }
    }
}

fn update(
    node: &Arc<Node>,
    uids: &UidSet,
    change: &mut impl FnMut(&Message) -> Message,
) -> Arc<Node> {
    if !node.summary.meets(uids) {
        return Arc::clone(node);
    }
    match &node.kids {
        Kids::Leaf(messages) => {
            if !messages.iter().any(|m| uids.contains(m.uid.value())) {
                return Arc::clone(node);
            }
            let change = |m: &Message| {
                if uids.contains(m.uid.value()) { change(m) } else { m.clone() }
            };
            Arc::new(Node::leaf(messages.iter().map(change).collect()))
        }
        Kids::Inner(nodes) => {
            Arc::new(Node::inner(nodes.iter().map(|n| update(n, uids, change)).collect()))
        }
    }
}

fn remove(node: &Arc<Node>, uids: &UidSet) -> Option<Arc<Node>> {
    if !node.summary.meets(uids) {
        return Some(Arc::clone(node));
    }
    match &node.kids {
        Kids::Leaf(messages) => {
            let gone = |m: &&Message| !uids.contains(m.uid.value());
            let left: Vec<_> = messages.iter().filter(gone).cloned().collect();
            if left.len() == messages.len() {
                return Some(Arc::clone(node));
            }
            (!left.is_empty()).then(|| Arc::new(Node::leaf(left)))
        }
        Kids::Inner(nodes) => {
            let left = nodes.iter().filter_map(|n| remove(n, uids)).collect();
            let left = join_small(left);
            (!left.is_empty()).then(|| Arc::new(Node::inner(left)))
        }
    }
}

/// Joins neighbours that together fill no more than half a node, so that emptied nodes do not pile up.
fn join_small(nodes: Vec<Arc<Node>>) -> Vec<Arc<Node>> {
    let mut out: Vec<Arc<Node>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let joined = out.last().and_then(|last| match (&last.kids, &node.kids) {
            (Kids::Leaf(a), Kids::Leaf(b)) if a.len() + b.len() <= LEAF_MAX / 2 => {
                Some(Node::leaf([a.as_slice(), b.as_slice()].concat()))
            }
            (Kids::Inner(a), Kids::Inner(b)) if a.len() + b.len() <= INNER_MAX / 2 => {
                Some(Node::inner([a.as_slice(), b.as_slice()].concat()))
            }
            _ => None,
        });
        match joined {
            Some(joined) => {
                out.pop();
                out.push(Arc::new(joined));
            }
            None => out.push(node),
        }
    }
    out
}
