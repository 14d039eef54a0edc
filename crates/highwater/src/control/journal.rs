//! What imports have taken, so that an import that is repeated takes nothing twice.
//!
//! One file per account. Before a batch is handed to the store its messages are written down with the
//! mailbox's UIDNEXT, durably; after it, that it is done. If the process ends in between, the next import
//! looks into the mailbox whether the batch is there.
//!
//! # Invariants
//! - A batch is handed to the store only after its line is durable.
//! - A line that ends in the middle was never acted upon.
//! - One process at a time has it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use store::{AccountId, MailboxId};

use crate::auth::credentials::sha256;

/// The directory in the data directory.
const DIRECTORY: &str = "imports";

/// What tells a message from all others.
pub(crate) type Key = [u8; 16];

/// A message of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Its key in its mailbox.
    pub(crate) key: Key,
    /// A hash of its octets.
    pub(crate) content: Key,
}

/// A batch of which it is not known whether it was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Intent {
    /// The mailbox's number.
    pub(crate) mailbox: u32,
    /// Its UIDVALIDITY.
    pub(crate) uid_validity: u32,
    /// Its UIDNEXT before.
    pub(crate) uid_next: u32,
    /// The messages, in their order.
    pub(crate) entries: Vec<Entry>,
}

/// An account's journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    taken: HashSet<Key>,
    open: Option<Intent>,
}

/// The first 16 octets of the hash of these parts, each with its length.
pub(crate) fn key(parts: &[&[u8]]) -> Key {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    let mut key = [0; 16];
    key.iter_mut().zip(sha256(&all)).for_each(|(to, from)| *to = from);
    key
}

/// A source's key as it counts in this mailbox: a mailbox made anew takes everything anew.
pub(crate) fn key_in(mailbox: MailboxId, uid_validity: u32, source: &str) -> Key {
    key(&[&mailbox.number.to_be_bytes(), &uid_validity.to_be_bytes(), source.as_bytes()])
}

impl Journal {
    /// Opens the account's journal. Blocks.
    pub(crate) fn open(data: &Path, account: AccountId) -> io::Result<Self> {
        let directory = data.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let path = directory.join(account.0.to_string());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        // A command beside the server, over a database, is another process.
        if let Err(error) = file.try_lock() {
            let why = format!("another import for this account is under way: {error}");
            return Err(io::Error::other(why));
        }
        File::open(&directory)?.sync_all()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let mut journal = Self { file, taken: HashSet::new(), open: None };
        for line in text.get(..whole).unwrap_or_default().lines() {
            journal.replay(line).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("the line `{line}` is damaged"))
            })?;
        }
        Ok(journal)
    }

    /// Removes the account's journal; none there is as good.
    pub(crate) fn remove(data: &Path, account: AccountId) -> io::Result<()> {
        match std::fs::remove_file(data.join(DIRECTORY).join(account.0.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn replay(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "done" => self.settle(true),
            "not-done" => self.settle(false),
            "batch" => {
                let (mailbox, uid_validity, uid_next) = (
                    words.next()?.parse().ok()?,
                    words.next()?.parse().ok()?,
                    words.next()?.parse().ok()?,
                );
                let entries = words
                    .map(|word| {
                        let (key, content) = word.split_once(':')?;
                        Some(Entry { key: from_hex(key)?, content: from_hex(content)? })
                    })
                    .collect::<Option<Vec<_>>>()?;
                self.open = Some(Intent { mailbox, uid_validity, uid_next, entries });
            }
            _ => return None,
        }
        Some(())
    }

    fn settle(&mut self, done: bool) {
        if let Some(intent) = self.open.take().filter(|_| done) {
            self.taken.extend(intent.entries.iter().map(|entry| entry.key));
        }
    }

    /// The batch of which it is not known whether it was stored.
    pub(crate) fn unsettled(&self) -> Option<&Intent> {
        self.open.as_ref()
    }

    /// Whether a message was taken before.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.taken.contains(key)
    }

    /// Notes, durably, that a batch is about to be stored. Blocks.
    pub(crate) fn begin(&mut self, intent: Intent) -> io::Result<()> {
        let mut line =
            format!("batch {} {} {}", intent.mailbox, intent.uid_validity, intent.uid_next);
        for entry in &intent.entries {
            line.push(' ');
            to_hex(&mut line, &entry.key);
            line.push(':');
            to_hex(&mut line, &entry.content);
        }
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.open = Some(intent);
        Ok(())
    }

    /// Notes whether the batch was stored. If this is lost, the mailbox is looked into.
    pub(crate) fn end(&mut self, stored: bool) -> io::Result<()> {
        self.file.write_all(if stored { b"done\n" } else { b"not-done\n" })?;
        self.settle(stored);
        Ok(())
    }
}

fn to_hex(out: &mut String, key: &Key) {
    for octet in key {
        // Writing to a String cannot fail.
        let _ = write!(out, "{octet:02x}");
    }
}

/// The key in hex.
pub(crate) fn hex(key: &Key) -> String {
    let mut out = String::with_capacity(32);
    to_hex(&mut out, key);
    out
}

fn from_hex(text: &str) -> Option<Key> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId(3);

    fn intent(keys: &[u8]) -> Intent {
        let entries = keys.iter().map(|k| Entry { key: [*k; 16], content: [9; 16] }).collect();
        Intent { mailbox: 1, uid_validity: 2, uid_next: 3, entries }
    }

    #[test]
    fn what_was_done_is_known_after_reopening() {
        let data = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(data.path(), ACCOUNT).unwrap();
        journal.begin(intent(&[1, 2])).unwrap();
        journal.end(true).unwrap();
        journal.begin(intent(&[3])).unwrap();
        journal.end(false).unwrap();
        journal.begin(intent(&[4])).unwrap();
        assert!(
            Journal::open(data.path(), ACCOUNT)
                .is_err_and(|why| why.to_string().contains("under way"))
        );
        drop(journal);
        let journal = Journal::open(data.path(), ACCOUNT).unwrap();
        assert!(journal.has(&[1; 16]) && journal.has(&[2; 16]));
        assert!(!journal.has(&[3; 16]) && !journal.has(&[4; 16]));
        assert_eq!(journal.unsettled(), Some(&intent(&[4])));
        Journal::remove(data.path(), ACCOUNT).unwrap();
        assert!(!Journal::open(data.path(), ACCOUNT).unwrap().has(&[1; 16]));
    }

    #[test]
    fn a_line_cut_short_is_as_if_never_written() {
        let data = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(data.path(), ACCOUNT).unwrap();
        journal.begin(intent(&[1])).unwrap();
        journal.end(true).unwrap();
        journal.file.write_all(b"batch 1 2 3 0101").unwrap();
        drop(journal);
        let mut journal = Journal::open(data.path(), ACCOUNT).unwrap();
        assert!(journal.has(&[1; 16]) && journal.unsettled().is_none());
        journal.begin(intent(&[5])).unwrap();
        journal.end(true).unwrap();
        drop(journal);
        assert!(Journal::open(data.path(), ACCOUNT).unwrap().has(&[5; 16]));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_eq!(from_hex(&hex(&[7; 16])), Some([7; 16]));
    }
}
