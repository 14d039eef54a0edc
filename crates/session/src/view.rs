//! A session's view of its mailbox: which numbers messages have for this client, and what it has been told.
//!
//! The view is a *numbering* and three numbers. The numbering is a persistent tree, shared with the mailbox
//! while both are equal: a sent EXISTS appends to it, and only a *sent* EXPUNGE or VANISHED removes from it.
//!
//! # Invariants
//! - Every flag change ≤ `told` has been sent [S-149]; every expunge ≤ `expunges_told` too [S-148].
//! - A message that is numbered but gone keeps its number and its record until its EXPUNGE is sent.
//! - Messages that came and went between two sync points are never announced [S-144].
//!
//! # Standards
//! RFC 3501 §7.4.1 (when EXPUNGE may be sent), RFC 7162 §3.2.10 and §6.

mod sync;

pub(crate) use sync::{Line, write_vanished};

use imap::number::{ModSeq, SeqNum, Uid};
use imap::set::{SequenceSet, UidSet};
use std::sync::Arc;
use store::{Mailbox, MailboxState, Message, Tree};

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
    keywords_told: usize,
    /// Messages that are gone and still numbered: what a lagging client makes the server remember.
    held_back: u64,
}

impl View {
    /// Opens the view: everything in it belongs to one state [S-39].
    pub(crate) fn open(mailbox: Mailbox, read_only: bool) -> Self {
        let state = mailbox.state();
        let highest = state.highest_mod_seq().value();
        let announced = state.uid_next().saturating_sub(1);
        let recent_after =
            if read_only { mailbox.peek_recent() } else { mailbox.take_recent(announced) };
        let recent = UidSet::from_ranges([(recent_after.saturating_add(1), announced)]);
        Self {
            read_only,
            saved: UidSet::new(),
            numbering: state.tree().clone(),
            announced,
            told: highest,
            expunges_told: highest,
            computed: highest,
            sent: 0,
            recent,
            keywords_told: state.keywords().names().count(),
            held_back: 0,
            mailbox,
            state,
        }
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
        let exists = self.numbering.len();
        if set.number_max() > exists || (set.has_star() && exists == 0) {
            return None;
        }
        // `$` stands in every set [S-54, S-86].
        match set.resolve(exists) {
            Some(numbers) => Some(self.numbering.uids_of_seqs(&numbers)),
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
