//! A session's view of its mailbox: which numbers messages have for this client, and what it has been told.
//!
//! The view is a *numbering* and three numbers. The numbering is a persistent tree, shared with the mailbox
//! while both are equal: a sent EXISTS appends to it, and only a *sent* EXPUNGE or VANISHED removes from it.
//!
//! # Invariants
//! - Every flag change ≤ `told` has been sent [S-149]; every expunge ≤ `expunges_told` too [S-148].
//! - A message that is numbered but gone keeps its number and its record until its EXPUNGE is sent.
//! - Messages that came and went between two sync points are never announced [S-144].
//! - Nothing is sent from a state whose own access control list does not give `r` to this user.
//!
//! # Standards
//! RFC 3501 §7.4.1 (when EXPUNGE may be sent), RFC 7162 §3.2.10 and §6.

mod sync;

pub(crate) use sync::{Line, write_vanished};

use crate::refusal::{Kind, Refusal};
use imap::acl::Rights;
use imap::encode::Code;
use imap::number::{ModSeq, SeqNum, Uid};
use imap::set::{SequenceSet, UidSet};
use std::sync::Arc;
use store::{Account, AccountId, AccountState, Changed, Mailbox, MailboxState, Message, Tree};

/// How a session speaks of changes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Voice {
    /// A CONDSTORE-enabling command was given: MODSEQ and UID in every unsolicited FETCH [S-24, S-31].
    pub(crate) aware: bool,
    /// ENABLE CONDSTORE was given, and ENABLED has said so [S-110].
    pub(crate) condstore: bool,
    /// ENABLE QRESYNC was given: VANISHED instead of EXPUNGE [S-113].
    pub(crate) qresync: bool,
}

/// The selected mailbox as this client knows it.
pub(crate) struct View {
    /// The mailbox.
    pub(crate) mailbox: Mailbox,
    /// Opened with EXAMINE.
    pub(crate) read_only: bool,
    /// What this user may do, by the newest state that was looked at.
    pub(crate) rights: Rights,
    user: AccountId,
    directory: Account,
    /// The groups by which `rights` were found.
    groups: Arc<AccountState>,
    /// What `$` stands for (RFC 5182).
    pub(crate) saved: UidSet,
    /// The state of the last sync point.
    state: Arc<MailboxState>,
    numbering: Tree,
    /// The greatest UID that EXISTS may have counted.
    announced: u32,
    told: u64,
    expunges_told: u64,
    /// What a client computes as its HIGHESTMODSEQ (RFC 7162 §6), as of the last tagged answer.
    computed: u64,
    /// The greatest MODSEQ sent since the last tagged answer.
    sent: u64,
    /// The UIDs that are `\Recent` in this session.
    recent: UidSet,
    /// How many keywords the client has heard of, and the rights that it was told of with them.
    lists_told: (usize, Rights),
    /// Messages that are gone and still numbered: what a lagging client makes the server remember.
    held_back: u64,
}

impl View {
    /// Opens the view, if the user has `r`: everything in it belongs to one state [S-39].
    pub(crate) fn open(
        mailbox: Mailbox,
        read_only: bool,
        user: AccountId,
        directory: Account,
    ) -> Result<Self, Refusal> {
        let state = mailbox.state();
        let groups = directory.state();
        let rights = state.rights(user, groups.directory());
        if !rights.contains(Rights::READ) {
            return Err(Refusal::no_permission());
        }
        let highest = state.highest_mod_seq().value();
        let announced = state.uid_next().saturating_sub(1);
        let recent_after =
            if read_only { mailbox.peek_recent() } else { mailbox.take_recent(announced) };
        let recent = UidSet::from_ranges([(recent_after.saturating_add(1), announced)]);
        Ok(Self {
            read_only,
            rights,
            user,
            directory,
            groups,
            saved: UidSet::new(),
            numbering: state.tree().clone(),
            announced,
            told: highest,
            expunges_told: highest,
            computed: highest,
            sent: 0,
            recent,
            lists_told: (state.keywords().names().count(), rights),
            held_back: 0,
            mailbox,
            state,
        })
    }

    /// The newest state, if the client may still have it.
    pub(crate) fn newest(&mut self) -> Result<Arc<MailboxState>, Refusal> {
        let state = self.mailbox.state();
        self.accept(&state)
    }

    /// A state that an outcome has brought, or the newest, as this user sees it; the end of the conversation when
    /// the mailbox is gone or the user has lost `r`.
    pub(crate) fn accept(
        &mut self,
        state: &Arc<MailboxState>,
    ) -> Result<Arc<MailboxState>, Refusal> {
        let bye = |code, text: &'static str| {
            Err(Refusal { kind: Kind::Bye, code: Some(code), text: text.into() })
        };
        if self.mailbox.is_deleted() {
            return bye(Code::NonExistent, "The selected mailbox was deleted");
        }
        // Read after the state, so that no group is older than what it gives rights to.
        self.groups = self.directory.state();
        self.rights = state.rights(self.user, self.groups.directory());
        if !self.rights.contains(Rights::READ) {
            return bye(Code::NoPerm, "The selected mailbox may no longer be read by you");
        }
        if state.uid_validity() != self.state.uid_validity() {
            // What the client knows is void, and no response says so while it is selected (RFC 3501 §2.3.1.1).
            return bye(
                Code::Unavailable,
                "The selected mailbox has a new UIDVALIDITY: select it again",
            );
        }
        Ok(self.mailbox.as_seen(state, Some(&self.state)))
    }

    /// Ready when there is something to tell, or when groups have changed that rights may come from.
    pub(crate) fn changed(&self) -> Changed {
        let changed = self.mailbox.changed(&self.state);
        if self.is_own() { changed } else { changed.or(self.directory.changed(&self.groups)) }
    }

    /// Who looks at it.
    pub(crate) fn user(&self) -> AccountId {
        self.user
    }

    /// Whether the mailbox is the user's own.
    fn is_own(&self) -> bool {
        self.mailbox.id().account == self.user
    }

    /// Whether a client may be told READ-WRITE (RFC 4314 §5.2).
    pub(crate) fn is_writable(&self) -> bool {
        let write = Rights::INSERT.union(Rights::EXPUNGE);
        let flags = Rights::WRITE.union(Rights::DELETE_MESSAGES);
        // A `\Seen` of one's own is no shared flag.
        let seen = if self.state.has_private_seen() { Rights::NONE } else { Rights::SEEN };
        let any = write.union(flags).union(seen);
        !self.read_only && !self.rights.intersection(any).is_empty()
    }

    /// The state of the last sync point: what the client is told comes from here.
    pub(crate) fn state(&self) -> &Arc<MailboxState> {
        &self.state
    }

    /// The numbers as the client knows them. Records in it may be old: see [`View::current`].
    pub(crate) fn numbering(&self) -> &Tree {
        &self.numbering
    }

    /// EXISTS as the client knows it.
    pub(crate) fn exists(&self) -> u32 {
        self.numbering.len()
    }

    /// How many messages of the numbering are `\Recent` here.
    pub(crate) fn recent_count(&self) -> u32 {
        let up_to = |uid| self.numbering.count_up_to(uid);
        self.recent.ranges().iter().map(|(low, high)| up_to(*high) - up_to(low - 1)).sum()
    }

    /// Whether the message is `\Recent` in this session.
    pub(crate) fn is_recent(&self, uid: Uid) -> bool {
        self.recent.contains(uid.value())
    }

    /// The message's newest record as of the last sync point; for a message that is gone and still
    /// numbered, the record that the numbering kept.
    pub(crate) fn current<'a>(&'a self, numbered: &'a Message) -> &'a Message {
        if self.is_level() {
            numbered
        } else {
            self.state.tree().get(numbered.uid).unwrap_or(numbered)
        }
    }

    /// Whether the numbering is the state's own tree: nothing is held back.
    fn is_level(&self) -> bool {
        self.numbering.ptr_eq(self.state.tree())
    }

    /// The mod-sequence up to which this client has been told everything.
    pub(crate) fn settled(&self) -> ModSeq {
        let value = if self.is_level() { self.told } else { self.expunges_told };
        ModSeq::new(value).unwrap_or(ModSeq::MIN)
    }

    /// How many messages are gone and still numbered.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }

    /// Notes that a MODSEQ goes out, for [`View::settle`].
    pub(crate) fn note_sent(&mut self, mod_seq: ModSeq) {
        self.sent = self.sent.max(mod_seq.value());
    }

    /// Notes that HIGHESTMODSEQ was sent with [`View::settled`].
    pub(crate) fn note_settled(&mut self) {
        self.computed = self.settled().value();
        self.sent = 0;
    }

    /// What HIGHESTMODSEQ must say with the tagged answer, if anything: a value that the client can rely on
    /// when it would compute one that is too high, because a change below it is held back [S-148], or too
    /// low, because something without a MODSEQ was told [S-150].
    pub(crate) fn settle(&mut self) -> Option<ModSeq> {
        let settled = self.settled().value();
        let computed = self.computed.max(self.sent);
        let says = if self.is_level() { settled > computed } else { self.sent > settled };
        self.computed = if says { settled } else { computed };
        self.sent = 0;
        if says { ModSeq::new(settled) } else { None }
    }

    /// The flags as FETCH writes them, `\Recent` included.
    pub(crate) fn flag_names(&self, message: &Message) -> impl Iterator<Item = &str> {
        let recent = self.is_recent(message.uid).then_some("\\Recent");
        self.state.keywords().names_of(message.flags).chain(recent)
    }

    /// The UIDs that a set of message numbers names, or `None` when it names a number above EXISTS [S-72].
    pub(crate) fn uids_of_numbers(&self, set: &SequenceSet) -> Option<UidSet> {
        let spans = self.spans_of_numbers(set)?;
        Some(if *set == SequenceSet::Saved { spans } else { self.numbering.existing(&spans) })
    }

    /// As [`View::uids_of_numbers`], with the UIDs in between that no message has: it costs what the ranges of the set
    /// cost, and is for what looks only at messages that are there.
    pub(crate) fn spans_of_numbers(&self, set: &SequenceSet) -> Option<UidSet> {
        let exists = self.numbering.len();
        if set.number_max() > exists || (set.has_star() && exists == 0) {
            return None;
        }
        // `$` stands in every set [S-54, S-86].
        match set.resolve(exists) {
            Some(numbers) => Some(self.numbering.spans_of_seqs(&numbers)),
            None => Some(self.saved.clone()),
        }
    }

    /// The UIDs that a set of UIDs names; `*` is the last message (RFC 3501 §6.4.8). Nothing is expanded.
    pub(crate) fn uids_of_uids(&self, set: &SequenceSet) -> UidSet {
        let newest = self.numbering.last_uid().map_or(0, Uid::value);
        set.resolve(newest).unwrap_or_else(|| self.saved.clone())
    }

    /// The number that this client has for the message.
    pub(crate) fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        self.numbering.seq_of(uid)
    }
}
