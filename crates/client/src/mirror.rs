//! One mailbox's state kept equal to the server's, without I/O.
//!
//! The mirror says which command comes next and is told every answer; whoever drives it, sends. It resynchronises
//! by QRESYNC, else by CONDSTORE, else by asking for everything, checks itself against EXISTS, and says why it fell
//! back when it did.
//!
//! ```
//! use client::mirror::{Abilities, Mirror, Step};
//! use client::imap::response::Response;
//!
//! let mut mirror = Mirror::new("INBOX");
//! // A connection drives it: `Step::Ask` is sent, its answer goes to `Mirror::take`.
//! let first = mirror.begin(Abilities::of(["IMAP4rev1", "CONDSTORE"]));
//! assert!(matches!(first, Step::Ask(_)));
//! ```
//!
//! # Invariants
//! - HIGHESTMODSEQ leaves only as a [`Checkpoint`], which only [`Delta::commit`] gives: what is stored with it is
//!   what was applied before [C-11].
//! - It moves at tagged answers only: to what HIGHESTMODSEQ said since the last one, even if that is lower, else to
//!   the greatest MODSEQ heard [C-12, C-13, C-14].
//! - VANISHED, EXPUNGE and FETCH are taken on every answer, asked for or not [C-30]: what else is asked on the
//!   connection is told to [`Mirror::take`], too.
//!
//! # Standards
//! RFC 7162 §3.2.5 and §6, RFC 4549.

mod drive;
mod link;
mod take;

use crate::answer::Answer;
use crate::store::{fetch_state, sequence};
use imap::command::{
    CommandBody, Fetch, FetchItem, MailboxName, QResync, Search, SearchKey, Select,
};
use imap::encode::Status;
use imap::number::{ModSeq, ModSeqOrZero, Uid, UidValidity};
use imap::response::{FlagName, Response};
use imap::set::UidSet;
use link::Link;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MessageState {
    /// Its flags, in order, without `\Recent`.
    pub flags: Vec<String>,
    /// Its mod-sequence, where the server has them.
    pub mod_seq: Option<ModSeq>,
}

impl MessageState {
    /// A state as it was stored: what a [`Delta`] told of the message last.
    #[must_use]
    pub const fn stored(flags: Vec<String>, mod_seq: Option<ModSeq>) -> Self {
        Self { flags, mod_seq }
    }
}

/// How far a state goes: what to store beside it, and to begin with next time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    uid_validity: UidValidity,
    mod_seq: Option<ModSeq>,
}

impl Checkpoint {
    /// A checkpoint as it was stored: both numbers of one [`Checkpoint`] given out before.
    #[must_use]
    pub const fn stored(uid_validity: UidValidity, mod_seq: Option<ModSeq>) -> Self {
        Self { uid_validity, mod_seq }
    }

    /// The mailbox's UIDVALIDITY.
    #[must_use]
    pub const fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// HIGHESTMODSEQ as RFC 7162 §6 computes it; `None` on servers without mod-sequences.
    #[must_use]
    pub const fn mod_seq(&self) -> Option<ModSeq> {
        self.mod_seq
    }
}

/// How the server lets a client catch up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Way {
    /// Everything is asked for.
    Plain,
    /// Changes by mod-sequence; what is gone by comparing.
    CondStore,
    /// Changes and what is gone.
    QResync,
}

/// Why the mirror took a slower way than the server offers, or began anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// UIDVALIDITY is another: everything known was void.
    UidValidityChanged,
    /// The mailbox has no mod-sequences: NOMODSEQ, HIGHESTMODSEQ 0, or none told.
    NoModSeqs,
    /// ENABLE QRESYNC was refused or passed over.
    NotEnabled,
    /// After catching up the number of messages was not EXISTS.
    CountDiffers,
    /// A message number came that stood for no known message.
    NumberUnknown,
    /// HIGHESTMODSEQ is below the one kept: the server was set back.
    ModSeqFell,
}

/// What the server can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// `QRESYNC`
    pub qresync: bool,
    /// `CONDSTORE`
    pub condstore: bool,
}

impl Abilities {
    /// What a server can do that lists these capabilities.
    pub fn of<'a>(capabilities: impl IntoIterator<Item = &'a str>) -> Self {
        let mut abilities = Self::default();
        for name in capabilities {
            abilities.qresync |= name.eq_ignore_ascii_case("QRESYNC");
            abilities.condstore |= name.eq_ignore_ascii_case("CONDSTORE");
        }
        abilities
    }
}

/// What comes next.
#[must_use = "the mirror waits for what it asks for"]
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Send this, and give the answer to [`Mirror::take`].
    Ask(CommandBody),
    /// The mirror is level with the server: apply the delta, then commit it.
    Level(Delta),
    /// The server refuses or contradicts itself; the text says how. Begin anew, or leave it.
    Stuck(String),
}

/// What has changed since the last delta that was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "apply it, then commit it"]
pub struct Delta {
    /// Everything known before is void: only what stands here is there.
    pub anew: bool,
    /// Messages that are new or changed.
    pub changed: BTreeMap<Uid, MessageState>,
    /// Messages that are gone.
    pub gone: UidSet,
    checkpoint: Checkpoint,
    seal: Seal,
}

impl Delta {
    /// Says that the delta was applied; what this answers belongs to the state as it is now.
    ///
    /// What is dropped instead comes again with the next delta.
    pub fn commit(self) -> Checkpoint {
        drop(self.seal.open());
        self.checkpoint
    }
}

/// Holds what a delta has told until it is committed. All seals are equal: they say nothing of what is sealed.
#[derive(Clone, Debug)]
struct Seal(Arc<Mutex<Option<Told>>>);

impl Seal {
    fn new(told: Told) -> Self {
        Self(Arc::new(Mutex::new(Some(told))))
    }

    /// What was told, unless the delta was committed.
    fn open(&self) -> Option<Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PartialEq for Seal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Seal {}

/// What a delta has told.
#[derive(Debug)]
struct Told {
    changed: BTreeSet<u32>,
    anew: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Mirror {
    mailbox: String,
    checkpoint: Option<Checkpoint>,
    messages: BTreeMap<u32, MessageState>,
    /// What the caller has not been told yet.
    changed: BTreeSet<u32>,
    /// The last delta's.
    told: Option<Seal>,
    anew: bool,
    reasons: Vec<Reason>,
    link: Link,
}

impl Mirror {
    /// A mirror that knows nothing yet.
    #[must_use]
    pub fn new(mailbox: &str) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            checkpoint: None,
            messages: BTreeMap::new(),
            changed: BTreeSet::new(),
            told: None,
            anew: false,
            reasons: Vec::new(),
            link: Link::default(),
        }
    }

    /// A mirror that goes on from a state that was stored with this checkpoint.
    #[must_use]
    pub fn resume(
        mailbox: &str,
        checkpoint: Checkpoint,
        messages: impl IntoIterator<Item = (Uid, MessageState)>,
    ) -> Self {
        let messages = messages.into_iter().map(|(uid, state)| (uid.value(), state)).collect();
        Self { checkpoint: Some(checkpoint), messages, ..Self::new(mailbox) }
    }

    /// The messages as the server had them when the mirror was last level.
    pub fn messages(&self) -> impl Iterator<Item = (Uid, &MessageState)> {
        self.messages.iter().filter_map(|(uid, state)| Some((Uid::new(*uid)?, state)))
    }

    /// Why slower ways were taken, in the order in which it happened.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The way in use.
    #[must_use]
    pub fn way(&self) -> Way {
        self.link.way
    }

    /// A connection is there, logged in, with nothing selected. What the last one had told by halves comes again.
    pub fn begin(&mut self, abilities: Abilities) -> Step {
        self.link = Link::new(abilities);
        if self.link.way == Way::QResync {
            return Step::Ask(CommandBody::Enable(vec!["QRESYNC".into()]));
        }
        self.select()
    }

    /// As [`Mirror::begin`], on a connection where QRESYNC is enabled already: some servers list it only once.
    pub fn begin_enabled(&mut self) -> Step {
        self.link = Link::new(Abilities { qresync: true, condstore: true });
        self.select()
    }

    /// EXAMINE, which makes the server tell HIGHESTMODSEQ [C-4]; with QRESYNC from what is kept, all of it [C-35], and
    /// without a mod-sequence that was kept, from nothing [C-10].
    fn select(&mut self) -> Step {
        let way = self.link.way;
        let from = self.checkpoint.and_then(|c| Some((c.uid_validity, c.mod_seq?)));
        let qresync = from.filter(|_| way == Way::QResync).map(|(uid_validity, mod_seq)| QResync {
            uid_validity,
            mod_seq: ModSeqOrZero::from(mod_seq),
            known_uids: None,
            match_data: None,
        });
        self.link.selecting();
        Step::Ask(CommandBody::Select(Select {
            mailbox: MailboxName(self.mailbox.clone()),
            read_only: true,
            condstore: way != Way::Plain,
            qresync,
        }))
    }

    /// Takes an answer, with all that came before it, and says what comes next. Answers to other commands than the
    /// mirror's belong here as well, while it is level.
    pub fn take(&mut self, answer: &Answer) -> Step {
        let needed = !(self.link.is_enabling() || self.link.is_level());
        self.take_answer(answer);
        if answer.status != Status::Ok && needed {
            return Step::Stuck(answer.text.clone());
        }
        self.next()
    }

    /// Takes what came without being asked for, as during IDLE, and says what comes next.
    pub fn hear(&mut self, responses: &[Response]) -> Step {
        responses.iter().for_each(|response| self.take_response(response));
        self.next()
    }

    /// Everything that the server has, flags and mod-sequences; never to `*`, which some take for less [C-25].
    fn ask_everything(&mut self) -> Step {
        self.link.asked_everything();
        let all = UidSet::from_ranges([(1, u32::MAX)]);
        self.ask_fetch(&all, None)
    }

    fn ask_fetch(&mut self, uids: &UidSet, changed_since: Option<ModSeq>) -> Step {
        let Some(set) = sequence(uids) else { return self.next() };
        let mut items = vec![FetchItem::Uid, FetchItem::Flags];
        // [C-2]
        if self.link.way != Way::Plain {
            items.push(FetchItem::ModSeq);
        }
        Step::Ask(match changed_since {
            None if self.link.way != Way::Plain => fetch_state(set),
            _ => CommandBody::Fetch(Fetch {
                uid: true,
                set,
                items,
                changed_since: changed_since.map(ModSeqOrZero::from),
                vanished: false,
            }),
        })
    }

    fn ask_uids(&mut self) -> Step {
        self.link.asked_uids();
        let keys = vec![SearchKey::All];
        let returns = None;
        Step::Ask(CommandBody::Search(Search { uid: true, charset: None, keys, returns }))
    }
}

/// The flags as text, sorted, `\Recent` left out.
fn flag_texts(flags: &[FlagName]) -> Vec<String> {
    let mut texts: Vec<String> = flags
        .iter()
        .filter_map(|flag| match flag {
            FlagName::Flag(flag) => Some(flag.to_string()),
            FlagName::Other(text) => Some(text.clone()),
            FlagName::Recent | FlagName::Any => None,
        })
        .collect();
    texts.sort_unstable_by_key(|text| text.to_ascii_lowercase());
    texts.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    texts
}

/// The set of UIDs above this one.
fn above(uid: u32) -> UidSet {
    UidSet::from_ranges([(uid.saturating_add(1), u32::MAX)])
}

#[cfg(test)]
mod tests;
