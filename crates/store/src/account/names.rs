//! The names of an account in order, and what stands behind each: a copy shares what is not changed after it.
//!
//! # Invariants
//! - Names rise from chunk to chunk and within each; no chunk is empty or has more than [`CHUNK`] names.
//! - `mailboxes` counts the names that have a mailbox.

use super::MailboxEntry;
use std::sync::Arc;

/// Names in a chunk at most: a change copies that many pointers, and one for each other chunk.
const CHUNK: usize = 64;

#[derive(Clone, Debug)]
struct Item {
    name: String,
    entry: MailboxEntry,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    chunks: Vec<Arc<Vec<Arc<Item>>>>,
    mailboxes: usize,
}

impl Names {
    /// How many of the names have a mailbox.
    pub(super) fn mailboxes(&self) -> usize {
        self.mailboxes
    }

    pub(super) fn get(&self, name: &str) -> Option<&MailboxEntry> {
        let (chunk, at) = self.find(name).ok()?;
        self.chunks.get(chunk)?.get(at).map(|item| &item.entry)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &MailboxEntry)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|item| item.pair()))
    }

    /// Those from this one on, whether it is there or not.
    pub(super) fn from<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (&'a str, &'a MailboxEntry)> + use<'a> {
        let (chunk, at) = self.find(name).unwrap_or_else(|place| place);
        let begun = self.chunks.get(chunk).and_then(|chunk| chunk.get(at..)).unwrap_or_default();
        let rest = self.chunks.get(chunk + 1..).unwrap_or_default();
        begun.iter().chain(rest.iter().flat_map(|chunk| chunk.iter())).map(|item| item.pair())
    }

    /// Puts it there; what was there before.
    pub(super) fn insert(&mut self, name: &str, entry: MailboxEntry) -> Option<MailboxEntry> {
        self.mailboxes += usize::from(entry.id.is_some());
        let item = Arc::new(Item { name: name.to_owned(), entry });
        let old = match self.find(name) {
            Ok(place) => Some(std::mem::replace(self.slot(place)?, item)),
            Err((chunk, at)) => {
                self.add(chunk, at, item);
                None
            }
        };
        self.leaves(old)
    }

    /// Takes it away.
    pub(super) fn remove(&mut self, name: &str) -> Option<MailboxEntry> {
        let (at, within) = self.find(name).ok()?;
        let chunk = Arc::make_mut(self.chunks.get_mut(at)?);
        let old = chunk.remove(within);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.leaves(Some(old))
    }

    /// Changes what stands behind the name, but not whether that is a mailbox; nothing when there is no such name.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut MailboxEntry)) {
        if let Some(slot) = self.find(name).ok().and_then(|place| self.slot(place)) {
            change(&mut Arc::make_mut(slot).entry);
        }
    }

    /// Where it is, or where it would be.
    fn find(&self, name: &str) -> Result<(usize, usize), (usize, usize)> {
        let begins_after = |chunk: &Arc<Vec<Arc<Item>>>| {
            chunk.first().is_some_and(|first| first.name.as_str() <= name)
        };
        let chunk = self.chunks.partition_point(begins_after).saturating_sub(1);
        let names = self.chunks.get(chunk).map_or(&[][..], |chunk| chunk.as_slice());
        let found = names.binary_search_by(|item| item.name.as_str().cmp(name));
        found.map(|at| (chunk, at)).map_err(|at| (chunk, at))
    }

    fn slot(&mut self, (chunk, at): (usize, usize)) -> Option<&mut Arc<Item>> {
        Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(at)
    }

    fn add(&mut self, at: usize, within: usize, item: Arc<Item>) {
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(vec![item]));
            return;
        };
        let chunk = Arc::make_mut(chunk);
        chunk.insert(within, item);
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.chunks.insert(at + 1, Arc::new(upper));
        }
    }

    fn leaves(&mut self, old: Option<Arc<Item>>) -> Option<MailboxEntry> {
        let entry = Arc::unwrap_or_clone(old?).entry;
        self.mailboxes -= usize::from(entry.id.is_some());
        Some(entry)
    }
}

impl Item {
    fn pair(&self) -> (&str, &MailboxEntry) {
        (&self.name, &self.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{AccountId, MailboxId};
    use imap::number::UidValidity;
    use std::collections::BTreeMap;

    fn entry(number: u32) -> MailboxEntry {
        let id = (!number.is_multiple_of(5)).then_some(MailboxId { account: AccountId(1), number });
        MailboxEntry {
            id,
            uid_validity: UidValidity::MIN,
            special_use: vec![],
            acl: Arc::default(),
        }
    }

    /// Every name is put, replaced, changed and taken in a mixed order, beside a map of the standard library.
    #[test]
    fn it_is_an_ordered_map_whose_copies_keep_what_they_had() {
        let (mut names, mut model, mut copies) = (Names::default(), BTreeMap::new(), Vec::new());
        for step in 0..6000_u32 {
            let name = format!("n{}", step.wrapping_mul(2_654_435_761) % 700);
            if step % 3 == 2 {
                assert_eq!(names.remove(&name), model.remove(&name));
            } else {
                assert_eq!(names.insert(&name, entry(step)), model.insert(name, entry(step)));
            }
            if step % 97 == 0 {
                copies.push((names.clone(), model.clone()));
            }
        }
        names.change("nobody", |entry| entry.id = None);
        copies.push((names, model));
        for (names, model) in copies {
            let pairs = model.iter().map(|(name, entry)| (name.as_str(), entry));
            assert!(names.iter().eq(pairs));
            assert_eq!(names.mailboxes(), model.values().filter(|e| e.id.is_some()).count());
            assert!(names.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            for from in ["", "n3", "n35", "n351", "n999", "z"] {
                let after =
                    model.range(from.to_owned()..).map(|(name, entry)| (name.as_str(), entry));
                assert!(names.from(from).eq(after), "{from}");
                assert_eq!(names.get(from), model.get(from));
            }
        }
    }
}
