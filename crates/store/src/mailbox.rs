//! A mailbox's state at one instant, and how a delta carries it to the next.
//!
//! # Invariants
//! - A state never changes; `advance` makes the next one, and the same delta always makes the same [H2].
//! - `highest` strictly grows with each delta and is ≥ 1 from the first [H3, S-22]. It feeds flag changes,
//!   arrivals, expunges and settings alike [S-16], private ones too. In a state as one user sees it (see
//!   `own`) it is what that user may know.
//! - UIDNEXT never falls.
//!
//! # Standards
//! RFC 7162 §3.1.2.1 (HIGHESTMODSEQ), RFC 3501 §2.3.1.1 (UIDs).

use crate::acl::Acl;
use crate::delta::Delta;
use crate::directory::Directory;
use crate::engine::{AccountId, EngineError, MailboxId};
use crate::flags::{FlagSet, Keywords};
use crate::own::Lens;
use crate::private::Private;
use crate::tree::Tree;
use imap::acl::Rights;
use imap::number::{ModSeq, Uid, UidValidity};
use std::sync::Arc;

/// A mailbox at one instant.
#[derive(Clone, Debug)]
pub struct MailboxState {
    pub(crate) id: MailboxId,
    pub(crate) uid_validity: UidValidity,
    pub(crate) uid_next: u32,
    pub(crate) highest: ModSeq,
    /// UIDs up to here are no longer `\Recent`, as far as this was written down.
    pub(crate) recent: u32,
    pub(crate) conflicts_by_message: bool,
    pub(crate) acl: Arc<Acl>,
    /// Each user's own `\Seen`, when it is private.
    pub(crate) private: Option<Arc<Private>>,
    /// The last change that everybody may know of.
    pub(crate) shared_highest: ModSeq,
    pub(crate) keywords: Keywords,
    pub(crate) tree: Tree,
    /// Whose view this is, when it is not everybody's.
    pub(crate) lens: Option<Arc<Lens>>,
}

impl MailboxState {
    /// A mailbox as it is before its first delta.
    pub(crate) fn unborn(id: MailboxId, keywords_max: usize) -> Self {
        Self {
            id,
            uid_validity: UidValidity::MIN,
            uid_next: 1,
            highest: ModSeq::MIN,
            recent: 0,
            conflicts_by_message: false,
            acl: Arc::default(),
            private: None,
            shared_highest: ModSeq::MIN,
            keywords: Keywords::new(keywords_max),
            tree: Tree::new(),
            lens: None,
        }
    }

    /// Which mailbox this is.
    #[must_use]
    pub fn id(&self) -> MailboxId {
        self.id
    }

    /// UIDVALIDITY.
    #[must_use]
    pub fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// UIDNEXT: greater than every UID ever given out.
    #[must_use]
    pub fn uid_next(&self) -> u32 {
        self.uid_next
    }

    /// HIGHESTMODSEQ: at least the mod-sequence of every message and of every expunge [S-20, S-21].
    #[must_use]
    pub fn highest_mod_seq(&self) -> ModSeq {
        self.highest
    }

    /// The messages.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The keywords.
    #[must_use]
    pub fn keywords(&self) -> &Keywords {
        &self.keywords
    }

    /// How many messages.
    #[must_use]
    pub fn exists(&self) -> u32 {
        self.tree.len()
    }

    /// How many without `\Seen`.
    #[must_use]
    pub fn unseen(&self) -> u32 {
        self.tree.summary().unseen
    }

    /// How many with `\Deleted`.
    #[must_use]
    pub fn deleted(&self) -> u32 {
        self.tree.summary().deleted
    }

    /// Octets of all messages.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.summary().size
    }

    /// The first message without `\Seen`.
    #[must_use]
    pub fn first_unseen(&self) -> Option<Uid> {
        self.tree.iter_unseen().next().map(|(_, message)| message.uid)
    }

    /// Whether every condition compares with the message's own mod-sequence (`conflicts = message`).
    #[must_use]
    pub fn conflicts_by_message(&self) -> bool {
        self.conflicts_by_message
    }

    /// The entries that say who may do what.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// What this user may do with the mailbox; everything for its owner.
    #[must_use]
    pub fn rights(&self, user: AccountId, directory: &Directory) -> Rights {
        if user == self.id.account { Rights::ALL } else { self.acl.rights(user, directory) }
    }

    /// Whether each user has a `\Seen` of their own.
    #[must_use]
    pub fn has_private_seen(&self) -> bool {
        self.private.is_some()
    }

    /// The state after the delta.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when the delta does not follow this state.
    pub(crate) fn advance(&self, delta: &Delta) -> Result<Self, EngineError> {
        if let Some(why) = self.misfit(delta) {
            return Err(EngineError::Damaged(format!(
                "the change {} of mailbox {}/{} {why}",
                delta.mod_seq, self.id.account.0, self.id.number
            )));
        }
        let mut next = self.clone();
        next.highest = delta.mod_seq;
        if !delta.is_private() {
            next.shared_highest = delta.mod_seq;
        }
        next.uid_next = delta.uid_next;
        next.recent = self.recent.max(delta.recent);
        next.uid_validity = delta.uid_validity.unwrap_or(self.uid_validity);
        next.conflicts_by_message = delta.conflicts_by_message.unwrap_or(self.conflicts_by_message);
        delta.acl.iter().for_each(|acl| next.acl = Arc::new(acl.clone()));
        delta.keywords.iter().for_each(|keyword| next.keywords.restore(keyword.clone()));
        for run in &delta.flags {
            next.tree = next.tree.with_updated(&run.uids, &mut |message| {
                message.with_flags(run.set, run.clear, delta.mod_seq)
            });
        }
        if !delta.expunged.is_empty() {
            next.tree = next.tree.without(&delta.expunged);
        }
        next.tree = next.tree.with_appended(&delta.arrivals);
        next.advance_private(delta);
        Ok(next)
    }

    /// The part of [`MailboxState::advance`] that is about private items; the tree is the new one already.
    fn advance_private(&mut self, delta: &Delta) {
        match delta.private_seen {
            Some(true) if self.private.is_none() => self.private = Some(Arc::default()),
            Some(false) => self.private = None,
            _ => {}
        }
        let Some(private) = &self.private else { return };
        if !delta.marks.is_empty() {
            let flags = |uid| Uid::new(uid).and_then(|uid| self.tree.get(uid)).map(|m| m.flags);
            let flags = |uid| flags(uid).unwrap_or(FlagSet::EMPTY);
            self.private = Some(Arc::new(private.marked(&delta.marks, delta.mod_seq, flags)));
        } else if !delta.expunged.is_empty() {
            self.private = Some(Arc::new(private.without(&delta.expunged)));
        }
    }

    /// Why the delta cannot follow this state, if it cannot.
    fn misfit(&self, delta: &Delta) -> Option<&'static str> {
        let born = delta.uid_validity.is_some() && self.tree.is_empty();
        if delta.mod_seq <= self.highest && !born {
            return Some("has a mod-sequence that is not greater than the one before");
        }
        if delta.uid_next < self.uid_next {
            return Some("lowers UIDNEXT");
        }
        let mut last = self.uid_next.saturating_sub(1);
        for message in &delta.arrivals {
            if message.uid.value() <= last || message.uid.value() >= delta.uid_next {
                return Some("adds a message with a UID out of order");
            }
            last = message.uid.value();
        }
        None
    }
}
