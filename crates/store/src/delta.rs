//! What one change does to a mailbox: the record that is stored, and its encoding.
//!
//! Flag changes are kept as "these UIDs: set this, clear that", so ten thousand messages cost tens of octets,
//! and the log of deltas is the mailbox's history.

use crate::acl::Acl;
use crate::codec::{Reader, Writer};
use crate::engine::{AccountId, BodyId, EngineError};
use crate::flags::{FlagBit, FlagSet};
use crate::message::{Item, Items, Message};
use crate::private::MarkRun;
use imap::command::DateTime;
use imap::flag::Keyword;
use imap::number::{ModSeq, UidValidity};
use imap::set::UidSet;
use std::sync::Arc;

/// Flags really changed on some messages, all in the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FlagRun {
    /// The messages; each of them really changes.
    pub(crate) uids: UidSet,
    /// Flags that become set.
    pub(crate) set: FlagSet,
    /// Flags that become clear.
    pub(crate) clear: FlagSet,
}

/// One change of a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Delta {
    /// The mod-sequence of everything in it, and HIGHESTMODSEQ after it.
    pub(crate) mod_seq: ModSeq,
    /// UIDNEXT after it.
    pub(crate) uid_next: u32,
    /// UIDs up to here are not `\Recent`.
    pub(crate) recent: u32,
    /// Set by the first delta of a mailbox, and when what clients know of it no longer holds.
    pub(crate) uid_validity: Option<UidValidity>,
    /// A change of the setting `conflicts`.
    pub(crate) conflicts_by_message: Option<bool>,
    /// The new access control list.
    pub(crate) acl: Option<Acl>,
    /// `\Seen` becomes each user's own, or everybody's.
    pub(crate) private_seen: Option<bool>,
    /// Keywords new to the mailbox, in the order of their bits.
    pub(crate) keywords: Vec<Keyword>,
    /// Flag changes.
    pub(crate) flags: Vec<FlagRun>,
    /// `\Seen` of single users.
    pub(crate) marks: Vec<MarkRun>,
    /// Messages expunged.
    pub(crate) expunged: UidSet,
    /// Messages that arrive, by UID.
    pub(crate) arrivals: Vec<Message>,
}

const VERSION: u8 = 1;
const UID_VALIDITY: u8 = 1;
const CONFLICTS: u8 = 2;
const KEYWORD: u8 = 3;
const FLAGS: u8 = 4;
const EXPUNGED: u8 = 5;
const ARRIVAL: u8 = 6;
const ACL: u8 = 7;
const PRIVATE_SEEN: u8 = 8;
const MARKS: u8 = 9;

impl Delta {
    /// A delta that changes nothing yet.
    pub(crate) fn new(mod_seq: ModSeq, uid_next: u32, recent: u32) -> Self {
        Self {
            mod_seq,
            uid_next,
            recent,
            uid_validity: None,
            conflicts_by_message: None,
            acl: None,
            private_seen: None,
            keywords: Vec::new(),
            flags: Vec::new(),
            marks: Vec::new(),
            expunged: UidSet::new(),
            arrivals: Vec::new(),
        }
    }

    /// Whether it concerns nobody but those who marked messages for themselves.
    pub(crate) fn is_private(&self) -> bool {
        let nothing_else = || Self {
            marks: self.marks.clone(),
            ..Self::new(self.mod_seq, self.uid_next, self.recent)
        };
        !self.marks.is_empty() && *self == nothing_else()
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.byte(VERSION);
        w.number(self.mod_seq.value());
        w.number(u64::from(self.uid_next));
        w.number(u64::from(self.recent));
        if let Some(value) = self.uid_validity {
            w.byte(UID_VALIDITY);
            w.number(u64::from(value.value()));
        }
        if let Some(value) = self.conflicts_by_message {
            w.byte(CONFLICTS);
            w.byte(u8::from(value));
        }
        if let Some(acl) = &self.acl {
            w.byte(ACL);
            acl.encode(&mut w);
        }
        if let Some(value) = self.private_seen {
            w.byte(PRIVATE_SEEN);
            w.byte(u8::from(value));
        }
        for keyword in &self.keywords {
            w.byte(KEYWORD);
            w.text(keyword.as_str());
        }
        for run in &self.flags {
            w.byte(FLAGS);
            w.flags(run.set);
            w.flags(run.clear);
            w.set(&run.uids);
        }
        for run in &self.marks {
            w.byte(MARKS);
            w.number(run.user.0);
            w.byte(u8::from(run.seen));
            w.set(&run.uids);
        }
        if !self.expunged.is_empty() {
            w.byte(EXPUNGED);
            w.set(&self.expunged);
        }
        for message in &self.arrivals {
            w.byte(ARRIVAL);
            write_message(&mut w, message);
        }
        w.out
    }

    /// Reads the stored form.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, EngineError> {
        let mut r = Reader::new(octets);
        version(&mut r)?;
        let mut delta = Self::new(r.mod_seq()?, r.number_32()?, r.number_32()?);
        while !r.is_empty() {
            match r.byte()? {
                UID_VALIDITY => delta.uid_validity = Some(uid_validity(&mut r)?),
                CONFLICTS => delta.conflicts_by_message = Some(r.byte()? != 0),
                KEYWORD => delta.keywords.push(keyword(&mut r)?),
                FLAGS => {
                    let (set, clear) = (r.flags()?, r.flags()?);
                    delta.flags.push(FlagRun { set, clear, uids: r.set()? });
                }
                ACL => delta.acl = Some(Acl::decode(&mut r)?),
                PRIVATE_SEEN => delta.private_seen = Some(r.byte()? != 0),
                MARKS => {
                    let (user, seen) = (AccountId(r.number()?), r.byte()? != 0);
                    delta.marks.push(MarkRun { user, seen, uids: r.set()? });
                }
                EXPUNGED => delta.expunged = r.set()?,
                ARRIVAL => delta.arrivals.push(read_message(&mut r)?),
                other => {
                    return Err(EngineError::Damaged(format!("unknown part {other} in a change")));
                }
            }
        }
        Ok(delta)
    }

    /// The part that outlives folds: the UIDs expunged [S-172].
    pub(crate) fn history(&self) -> Option<Vec<u8>> {
        if self.expunged.is_empty() {
            return None;
        }
        let mut w = Writer::default();
        w.set(&self.expunged);
        Some(w.out)
    }
}

/// Reads what [`Delta::history`] wrote.
pub(crate) fn decode_history(octets: &[u8]) -> Result<UidSet, EngineError> {
    let mut r = Reader::new(octets);
    let set = r.set()?;
    r.end()?;
    Ok(set)
}

pub(crate) fn version(r: &mut Reader<'_>) -> Result<(), EngineError> {
    match r.byte()? {
        VERSION => Ok(()),
        other => Err(EngineError::Damaged(format!(
            "a record has format {other}, this program knows {VERSION}: use a newer release"
        ))),
    }
}

pub(crate) fn uid_validity(r: &mut Reader<'_>) -> Result<UidValidity, EngineError> {
    UidValidity::new(r.number_32()?).ok_or_else(|| EngineError::Damaged("UIDVALIDITY 0".into()))
}

pub(crate) fn keyword(r: &mut Reader<'_>) -> Result<Keyword, EngineError> {
    Keyword::new(r.text()?).ok_or_else(|| EngineError::Damaged("a keyword is not an atom".into()))
}

pub(crate) fn write_message(w: &mut Writer, message: &Message) {
    w.number(u64::from(message.uid.value()));
    w.flags(message.flags);
    w.number(message.arrival.value());
    w.number(message.mod_seq.value() - message.arrival.value());
    w.signed(message.internal_date.unix);
    w.signed(i64::from(message.internal_date.zone_minutes));
    w.signed(message.save_date);
    w.number(message.size);
    w.number(message.body.0);
    let none = Items::default();
    let items = message.items.as_deref().unwrap_or(&none);
    w.number(items.floor);
    w.number(items.list.len() as u64);
    for item in &items.list {
        w.byte(item.bit.number());
        w.number(item.mod_seq.value());
    }
}

pub(crate) fn read_message(r: &mut Reader<'_>) -> Result<Message, EngineError> {
    let bad = || EngineError::Damaged("a message record is malformed".into());
    let (uid, flags, arrival) = (r.uid()?, r.flags()?, r.mod_seq()?);
    let mod_seq = arrival.value().checked_add(r.number()?).and_then(ModSeq::new).ok_or_else(bad)?;
    let unix = r.signed()?;
    let zone_minutes = i16::try_from(r.signed()?).map_err(|_| bad())?;
    let (save_date, size, body) = (r.signed()?, r.number()?, BodyId(r.number()?));
    let mut items = Items { floor: r.number()?, list: Vec::new() };
    for _ in 0..r.count()? {
        let bit = FlagBit::new(r.byte()?).ok_or_else(bad)?;
        items.list.push(Item { bit, mod_seq: r.mod_seq()? });
    }
    let items = (items != Items::default()).then(|| Arc::new(items));
    let internal_date = DateTime { unix, zone_minutes };
    Ok(Message { uid, flags, mod_seq, arrival, items, internal_date, save_date, size, body })
}
