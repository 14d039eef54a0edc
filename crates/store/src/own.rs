//! A mailbox as one user sees it when `\Seen` is private: the same messages, that user's `\Seen` and numbers.
//!
//! The view is a [`MailboxState`] with a tree of its own, so whoever reads a mailbox need not know. It is made
//! once when a user opens the mailbox, O(messages), and then follows by what changed.
//!
//! # Invariants
//! - HIGHESTMODSEQ is the greater of the last shared change and the user's own last private one: what others did
//!   for themselves is never shown, and never counted.
//! - A view of a later state never shows a lower number.
//!
//! # Standards
//! RFC 7162 §3.1 [S-19, S-21].

use crate::engine::AccountId;
use crate::flags::{FlagBit, FlagSet};
use crate::mailbox::MailboxState;
use crate::message::Message;
use crate::private::{Mark, Own};
use crate::tree::Tree;
use imap::flag::SystemFlag;
use imap::number::ModSeq;
use imap::set::UidSet;
use std::borrow::Cow;
use std::sync::Arc;

/// Whose view a state is, and what it is a view of.
#[derive(Debug)]
pub(crate) struct Lens {
    user: AccountId,
    pub(crate) base: Arc<MailboxState>,
}

/// What STATUS says that differs between users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// HIGHESTMODSEQ.
    pub highest: ModSeq,
    /// Messages without `\Seen`.
    pub unseen: u32,
}

impl MailboxState {
    /// The message as this user sees it.
    pub(crate) fn own_message<'a>(
        &self,
        user: Option<AccountId>,
        message: &'a Message,
    ) -> Cow<'a, Message> {
        let mark = self.own(user).and_then(|own| own.get(message.uid.value()));
        mark.map_or(Cow::Borrowed(message), |mark| Cow::Owned(marked(message, mark)))
    }

    /// The user's marks; `None` without a user, where nothing is private, and before the first mark.
    fn own(&self, user: Option<AccountId>) -> Option<&Own> {
        self.private.as_ref()?.of(user?)
    }

    /// What STATUS says to this user, without making a view.
    #[must_use]
    pub fn glance(&self, user: AccountId) -> Glance {
        if self.lens.is_some() || self.private.is_none() {
            return Glance { highest: self.highest, unseen: self.unseen() };
        }
        let own = self.own(Some(user));
        let seen_more = own.map_or(0, Own::seen_more);
        let unseen = i64::from(self.unseen()) - seen_more;
        let highest = self.own_highest(own);
        Glance { highest, unseen: u32::try_from(unseen).unwrap_or(0) }
    }

    fn own_highest(&self, own: Option<&Own>) -> ModSeq {
        let last = own.and_then(|own| ModSeq::new(own.highest));
        last.map_or(self.shared_highest, |last| last.max(self.shared_highest))
    }

    /// What this state is a view of, or itself.
    pub(crate) fn base(self: &Arc<Self>) -> &Arc<Self> {
        self.lens.as_ref().map_or(self, |lens| &lens.base)
    }

    /// The state as this user sees it; from `before`, an earlier view of theirs, it costs what has changed.
    pub(crate) fn seen_by(
        self: &Arc<Self>,
        user: AccountId,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        if self.private.is_none() {
            return Arc::clone(self);
        }
        let own = self.own(Some(user));
        let earlier = before.filter(|view| self.follows(view, user));
        let tree = match earlier.and_then(|view| view.lens.as_ref().map(|lens| (view, lens))) {
            Some((view, lens)) => self.followed(view, &lens.base, own),
            None => self.made(own),
        };
        let lens = Some(Arc::new(Lens { user, base: Arc::clone(self) }));
        let highest = self.own_highest(own);
        Arc::new(Self { tree, highest, lens, ..self.as_ref().clone() })
    }

    fn follows(&self, view: &Self, user: AccountId) -> bool {
        let same = |lens: &Arc<Lens>| {
            lens.user == user
                && lens.base.highest <= self.highest
                && lens.base.uid_validity == self.uid_validity
        };
        view.lens.as_ref().is_some_and(same)
    }

    fn made(&self, own: Option<&Own>) -> Tree {
        let Some(own) = own else { return self.tree.clone() };
        let marked_ever = own.changed_since(0);
        self.tree.with_updated(&marked_ever, &mut |message| owned(message, own))
    }

    /// The tree of `view`, brought from its base to this state.
    fn followed(&self, view: &Self, base: &Self, own: Option<&Own>) -> Tree {
        let since = base.highest.value();
        let gone = base.tree.removed_in(&self.tree);
        let (mut changed, mut came) = (UidSet::new(), Vec::new());
        let last = base.uid_next.saturating_sub(1);
        for (_, message) in self.tree.changed_since(since) {
            if message.uid.value() > last {
                came.push(own.map_or_else(|| message.clone(), |own| owned(message, own)));
            } else {
                changed.push(message.uid.value());
            }
        }
        let marked_since = own.map(|own| own.changed_since(since)).unwrap_or_default();
        let changed = changed.union(&marked_since);
        let renew = &mut |old: &Message| match self.tree.get(old.uid) {
            Some(message) => own.map_or_else(|| message.clone(), |own| owned(message, own)),
            None => old.clone(),
        };
        view.tree.without(&gone).with_updated(&changed, renew).with_appended(&came)
    }
}

fn owned(message: &Message, own: &Own) -> Message {
    own.get(message.uid.value()).map_or_else(|| message.clone(), |mark| marked(message, mark))
}

/// The message with the user's `\Seen` and the greater of both mod-sequences.
fn marked(message: &Message, mark: &Mark) -> Message {
    let mut own = message.with_item(FlagBit::system(SystemFlag::Seen), mark.mod_seq);
    own.flags = message.flags.without(FlagSet::SEEN);
    if mark.seen {
        own.flags = own.flags.union(FlagSet::SEEN);
    }
    own
}
