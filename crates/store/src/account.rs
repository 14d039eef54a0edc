//! An account's own state: the names of its mailboxes, their special uses, its subscriptions.
//!
//! # Invariants
//! - A mailbox's number and UIDVALIDITY come from allocators that only rise, so a name used again never
//!   shows an old UIDVALIDITY [S-158].
//! - A name between the root and a mailbox that is no mailbox itself is there without being stored:
//!   it comes with its first inferior and goes with its last.
//! - RENAME keeps number, UIDVALIDITY, UIDs, mod-sequences and history together [S-156].
//!
//! # Standards
//! RFC 3501 §6.3.3–§6.3.9, RFC 6154 (special uses).

mod delta;
mod names;

pub(crate) use delta::AccountDelta;

use crate::acl::{Acl, Grantee};
use crate::codec::{Reader, Writer};
use crate::directory::{Directory, GrantKey};
use crate::engine::{AccountId, EngineError, MailboxId};
use crate::quota::Quota;
use delta::{read_mailbox, write_mailbox};
use imap::acl::{Rights, RightsChange};
use imap::number::UidValidity;
use names::Names;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The hierarchy delimiter.
pub const DELIMITER: char = '/';
/// The name of the mailbox that every account has.
pub const INBOX: &str = "INBOX";

/// A special use of a mailbox (RFC 6154 §2, RFC 8457 §3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All special uses.
    pub const ALL: [Self; 8] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Important,
        Self::Junk,
        Self::Sent,
        Self::Trash,
    ];

    /// The attribute as LIST shows it, backslash included.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Important => "\\Important",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The special use with this name, with or without backslash, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let bare = name.strip_prefix('\\').unwrap_or(name);
        Self::ALL
            .into_iter()
            .find(|u| u.as_str().strip_prefix('\\').is_some_and(|n| n.eq_ignore_ascii_case(bare)))
    }

    fn bit(self) -> u64 {
        1 << Self::ALL.iter().position(|u| *u == self).unwrap_or(0)
    }
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What stands behind a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxEntry {
    /// The mailbox, or `None` for a name that only has inferiors (`\Noselect`).
    pub id: Option<MailboxId>,
    /// Its UIDVALIDITY; meaningless without a mailbox.
    pub uid_validity: UidValidity,
    /// Its special uses.
    pub special_use: Vec<SpecialUse>,
    /// The mailbox's own entries, here so that listing names need not open mailboxes.
    pub acl: Arc<Acl>,
}

/// An account at one instant.
#[derive(Clone, Debug)]
pub struct AccountState {
    pub(crate) id: AccountId,
    /// The number of the last delta.
    pub(crate) seq: u64,
    pub(crate) next_number: u32,
    pub(crate) next_uid_validity: u32,
    names: Names,
    subscriptions: Arc<BTreeSet<String>>,
    pub(crate) quota: Quota,
    pub(crate) directory: Arc<Directory>,
}

/// A change that a user or the administrator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccountChange {
    /// CREATE; superiors appear by themselves.
    Create {
        /// The name, without trailing delimiter.
        name: String,
        /// Its special uses.
        special_use: Vec<SpecialUse>,
    },
    /// DELETE; inferiors stay.
    Delete {
        /// The name.
        name: String,
    },
    /// RENAME; inferiors go along. Of INBOX it moves the messages to a new mailbox [S-157].
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// SUBSCRIBE; the mailbox need not exist.
    Subscribe {
        /// The name.
        name: String,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// The name.
        name: String,
    },
    /// SETACL and DELETEACL.
    SetAcl {
        /// The mailbox's name.
        name: String,
        /// Whom the entry is about.
        grantee: Grantee,
        /// Whether it is the entry that takes rights away.
        negative: bool,
        /// What becomes of the rights.
        rights: RightsChange,
        /// The owner's name, by which others will find the account; nothing for [`AccountId::SHARED`].
        owner: String,
    },
    /// Makes `\Seen` each user's own, or everybody's again. UIDVALIDITY changes when this does.
    SetPrivateSeen {
        /// The mailbox's name.
        name: String,
        /// Whether each user has their own.
        private: bool,
    },
    /// Replaces the limits.
    SetQuota(Quota),
    /// Puts a user into a group, or takes them out; of [`AccountId::SHARED`] only.
    SetMember {
        /// The group, without `$`.
        group: String,
        /// The user.
        account: AccountId,
        /// The user's name.
        name: String,
        /// Whether the user belongs to it.
        member: bool,
    },
}

impl AccountState {
    /// An account before its first delta.
    pub(crate) fn unborn(id: AccountId) -> Self {
        Self {
            id,
            seq: 0,
            next_number: 1,
            next_uid_validity: 1,
            names: Names::default(),
            subscriptions: Arc::default(),
            quota: Quota::default(),
            directory: Arc::default(),
        }
    }

    /// Which account this is.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// What stands behind the name; also for names that only have inferiors.
    #[must_use]
    pub fn mailbox(&self, name: &str) -> Option<&MailboxEntry> {
        self.names.get(name)
    }

    /// All names in order, those that only have inferiors included.
    pub fn mailboxes(&self) -> impl Iterator<Item = (&str, &MailboxEntry)> {
        self.names.iter()
    }

    /// How many mailboxes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.mailboxes()
    }

    /// Whether the name is subscribed.
    #[must_use]
    pub fn is_subscribed(&self, name: &str) -> bool {
        self.subscriptions.contains(name)
    }

    /// The subscribed names in order, whether they exist or not (RFC 3501 §6.3.6).
    pub fn subscriptions(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.iter().map(String::as_str)
    }

    /// The limits.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Groups, and who shares with whom: of [`AccountId::SHARED`].
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What this user may do with the mailbox of this name; everything for the account's own user.
    #[must_use]
    pub fn rights(&self, name: &str, user: AccountId, directory: &Directory) -> Rights {
        if user == self.id {
            return Rights::ALL;
        }
        self.names.get(name).map_or(Rights::NONE, |entry| entry.acl.rights(user, directory))
    }

    /// The nearest mailbox above the name (RFC 4314 §4, CREATE).
    #[must_use]
    pub fn parent<'a>(&self, name: &'a str) -> Option<&'a str> {
        let mut rest = name;
        while let Some((superior, _)) = rest.rsplit_once(DELIMITER) {
            if self.names.get(superior).is_some_and(|entry| entry.id.is_some()) {
                return Some(superior);
            }
            rest = superior;
        }
        None
    }

    /// By what others find this account in the directory.
    pub(crate) fn grants(&self) -> BTreeSet<GrantKey> {
        let grantees = self.names.iter().flat_map(|(_, entry)| entry.acl.grantees());
        grantees.map(GrantKey::from).collect()
    }

    /// Whether the name has inferiors.
    #[must_use]
    pub fn has_children(&self, name: &str) -> bool {
        self.inferiors(name).next().is_some()
    }

    /// The names below this one.
    pub fn inferiors(&self, name: &str) -> impl Iterator<Item = (&str, &MailboxEntry)> {
        let prefix = format!("{name}{DELIMITER}");
        let names = self.names.from(&prefix);
        names.take_while(move |(name, _)| name.starts_with(&prefix))
    }

    /// The state after the delta; pure, so that replay gives what was before.
    pub(crate) fn advance(&self, delta: &AccountDelta, seq: u64) -> Self {
        let mut next = self.clone();
        next.seq = seq;
        match delta {
            AccountDelta::Begin { uid_validity } => next.next_uid_validity = *uid_validity,
            AccountDelta::Create { name, number, uid_validity, special_use } => {
                next.next_number = next.next_number.max(number.saturating_add(1));
                next.next_uid_validity =
                    next.next_uid_validity.max(uid_validity.value().saturating_add(1));
                let id = Some(MailboxId { account: self.id, number: *number });
                let (special_use, acl) = (special_use.clone(), Arc::default());
                next.put(name, MailboxEntry { id, uid_validity: *uid_validity, special_use, acl });
            }
            AccountDelta::Delete { name } => {
                next.take(name);
            }
            AccountDelta::Rename { from, to } => next.rename(from, to),
            AccountDelta::Subscribe { name } => {
                Arc::make_mut(&mut next.subscriptions).insert(name.clone());
            }
            AccountDelta::Unsubscribe { name } => {
                Arc::make_mut(&mut next.subscriptions).remove(name);
            }
            AccountDelta::Acl { name, acl } => {
                let acl = Arc::new(acl.clone());
                next.names.change(name, |entry| entry.acl = acl);
            }
            AccountDelta::Revalidate { name, uid_validity } => {
                next.next_uid_validity =
                    next.next_uid_validity.max(uid_validity.value().saturating_add(1));
                next.names.change(name, |entry| entry.uid_validity = *uid_validity);
            }
            AccountDelta::Quota(quota) => next.quota = *quota,
            AccountDelta::Member { .. }
            | AccountDelta::Grant { .. }
            | AccountDelta::Forget { .. } => {
                next.directory = Arc::new(delta.on(next.directory.as_ref().clone()));
            }
        }
        next
    }

    fn put(&mut self, name: &str, entry: MailboxEntry) {
        for (at, _) in name.match_indices(DELIMITER) {
            let superior = name.get(..at).unwrap_or(name);
            if self.names.get(superior).is_none() {
                self.names.insert(superior, no_mailbox());
            }
        }
        self.names.insert(name, entry);
    }

    fn take(&mut self, name: &str) -> Option<MailboxEntry> {
        let taken = if self.has_children(name) {
            self.names.insert(name, no_mailbox())
        } else {
            self.names.remove(name)
        };
        let mut rest = name;
        while let Some((superior, _)) = rest.rsplit_once(DELIMITER) {
            let bare = self.names.get(superior).is_some_and(|entry| entry.id.is_none());
            if bare && !self.has_children(superior) {
                self.names.remove(superior);
            }
            rest = superior;
        }
        taken
    }

    fn rename(&mut self, from: &str, to: &str) {
        let inferiors: Vec<String> =
            self.inferiors(from).map(|(name, _)| name.to_owned()).collect();
        let moved: Vec<_> = inferiors
            .iter()
            .rev()
            .map(String::as_str)
            .chain([from])
            .filter_map(|name| {
                let entry = self.take(name).filter(|entry| entry.id.is_some())?;
                Some((format!("{to}{}", name.strip_prefix(from)?), entry))
            })
            .collect();
        for (name, entry) in moved {
            self.put(&name, entry);
        }
    }

    /// The state as one page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.byte(PAGE_VERSION);
        w.number(self.seq);
        w.number(u64::from(self.next_number));
        w.number(u64::from(self.next_uid_validity));
        let stored = || self.names.iter().filter_map(|(name, e)| e.id.map(|id| (name, id, e)));
        w.number(stored().count() as u64);
        for (name, id, entry) in stored() {
            write_mailbox(&mut w, name, id.number, entry.uid_validity, &entry.special_use);
        }
        w.number(self.subscriptions.len() as u64);
        self.subscriptions.iter().for_each(|name| w.text(name));
        let shared = || self.names.iter().filter(|(_, entry)| !entry.acl.is_empty());
        w.number(shared().count() as u64);
        for (name, entry) in shared() {
            w.text(name);
            entry.acl.encode(&mut w);
        }
        self.quota.encode(&mut w);
        self.directory.encode(&mut w);
        w.out
    }

    /// Reads what [`AccountState::encode`] wrote.
    pub(crate) fn decode(id: AccountId, octets: &[u8]) -> Result<Self, EngineError> {
        let mut r = Reader::new(octets);
        let format = r.byte()?;
        if format > PAGE_VERSION {
            return Err(EngineError::Damaged(format!(
                "an account's page has format {format}, this program knows {PAGE_VERSION}: use a newer release"
            )));
        }
        let mut state = Self::unborn(id);
        state.seq = r.number()?;
        state.next_number = r.number_32()?;
        state.next_uid_validity = r.number_32()?;
        for _ in 0..r.count()? {
            let (name, number, uid_validity, special_use) = read_mailbox(&mut r)?;
            let id = Some(MailboxId { account: id, number });
            let acl = Arc::default();
            state.put(&name, MailboxEntry { id, uid_validity, special_use, acl });
        }
        for _ in 0..r.count()? {
            Arc::make_mut(&mut state.subscriptions).insert(r.text()?.to_owned());
        }
        if format >= 2 {
            for _ in 0..r.count()? {
                let (name, acl) = (r.text()?, Arc::new(Acl::decode(&mut r)?));
                state.names.change(name, |entry| entry.acl = acl);
            }
            state.quota = Quota::decode(&mut r)?;
            state.directory = Arc::new(Directory::decode(&mut r)?);
        }
        r.end()?;
        Ok(state)
    }
}

fn no_mailbox() -> MailboxEntry {
    MailboxEntry {
        id: None,
        uid_validity: UidValidity::MIN,
        special_use: Vec::new(),
        acl: Arc::default(),
    }
}

/// Pages of format 1 end after the subscriptions.
const PAGE_VERSION: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> AccountState {
        names.iter().enumerate().fold(AccountState::unborn(AccountId(1)), |state, (i, name)| {
            let n = u32::try_from(i).unwrap() + 1;
            let uid_validity = UidValidity::new(n).unwrap();
            let name = (*name).to_owned();
            let create =
                AccountDelta::Create { name, number: n, uid_validity, special_use: vec![] };
            state.advance(&create, u64::from(n))
        })
    }

    fn names(state: &AccountState) -> String {
        let show = |(name, e): (&str, &MailboxEntry)| {
            format!("{name}{}", if e.id.is_some() { "" } else { "!" })
        };
        state.mailboxes().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn superiors_come_and_go_with_their_inferiors() {
        let state = with(&["INBOX", "a/b/c"]);
        assert_eq!(names(&state), "INBOX a! a/b! a/b/c");
        let state = state.advance(&AccountDelta::Delete { name: "a/b/c".into() }, 9);
        assert_eq!(names(&state), "INBOX");
    }

    #[test]
    fn deleting_a_superior_keeps_inferiors() {
        let state = with(&["a", "a/b"]).advance(&AccountDelta::Delete { name: "a".into() }, 9);
        assert_eq!(names(&state), "a! a/b");
    }

    #[test]
    fn rename_takes_inferiors_along_and_keeps_ids() {
        let state = with(&["a", "a/b", "a-c", "a/d/e"]);
        let rename = AccountDelta::Rename { from: "a".into(), to: "x/y".into() };
        let renamed = state.advance(&rename, 9);
        assert_eq!(names(&renamed), "a-c x! x/y x/y/b x/y/d! x/y/d/e");
        assert_eq!(renamed.mailbox("x/y/b").unwrap().id, state.mailbox("a/b").unwrap().id);
        let below = AccountDelta::Rename { from: "a".into(), to: "a/z".into() };
        assert_eq!(names(&state.advance(&below, 9)), "a! a-c a/z a/z/b a/z/d! a/z/d/e");
    }

    #[test]
    fn the_page_and_the_deltas_come_back() {
        let state =
            with(&["INBOX", "Ü/x"]).advance(&AccountDelta::Subscribe { name: "q".into() }, 9);
        let back = AccountState::decode(AccountId(1), &state.encode()).unwrap();
        assert_eq!(names(&back), names(&state));
        assert!(back.is_subscribed("q"));
        let rename = AccountDelta::Rename { from: "a".into(), to: "b".into() };
        assert_eq!(AccountDelta::decode(&rename.encode()).unwrap(), rename);
    }
}
