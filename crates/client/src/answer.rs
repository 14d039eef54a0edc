//! What a command was answered with.
//!
//! # Invariants
//! - What a server tells untagged is kept in the order told, asked for or not [C-30].
//! - Sets stay ranges: no answer costs memory by how wide a range in it is.
//!
//! # Standards
//! RFC 3501 §7, RFC 7162 §3.1.3 and §3.2.10, RFC 4315 (APPENDUID), RFC 4731 (ESEARCH).

use crate::error::Error;
use imap::command::{MailboxName, StatusItem};
use imap::encode::{Code, Status};
use imap::number::{ModSeq, Uid, UidValidity};
use imap::response::{FetchData, FlagName, Response, ResponseCode};
use imap::set::UidSet;

/// A command's tagged answer, and the untagged responses that came before it and after the answer to the command
/// before.
///
/// A server says untagged what others did, too: responses here need not be about this command.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// OK, NO or BAD.
    pub status: Status,
    /// The tagged response code.
    pub code: Option<ResponseCode>,
    /// The tagged text, for people.
    pub text: String,
    /// The untagged responses, in the order received.
    pub untagged: Vec<Response>,
}

/// What a FETCH response says of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// The UID.
    pub uid: Uid,
    /// FLAGS, if told.
    pub flags: Option<Vec<FlagName>>,
    /// MODSEQ, if told.
    pub mod_seq: Option<ModSeq>,
    /// All items.
    pub items: Vec<FetchData>,
}

impl Answer {
    /// The answer, if it is OK.
    ///
    /// # Errors
    /// [`Error::Refused`] with what the server says.
    pub fn ok(self) -> Result<Self, Error> {
        if self.status == Status::Ok { Ok(self) } else { Err(Error::Refused(Box::new(self))) }
    }

    /// The codes of the tagged answer and of untagged status responses, the tagged one first.
    ///
    /// HIGHESTMODSEQ is not among them. It is neither the condition of a write, which is the MODSEQ at which its
    /// message was seen ([`Fetched::mod_seq`]), nor a point to go on from before everything up to it was applied: that
    /// is what the [mirror](crate::mirror)'s checkpoints are [C-11].
    pub fn codes(&self) -> impl Iterator<Item = &Code> {
        self.all_codes().filter(|code| !matches!(code, Code::HighestModSeq(_)))
    }

    /// Likewise, HIGHESTMODSEQ among them.
    pub(crate) fn all_codes(&self) -> impl Iterator<Item = &Code> {
        let untagged = self.untagged.iter().filter_map(|response| match response {
            Response::Status { tag: None, code, .. } => code.as_ref(),
            _ => None,
        });
        self.code.iter().chain(untagged).filter_map(|code| match code {
            ResponseCode::Known(code) => Some(code),
            ResponseCode::Other { .. } => None,
        })
    }

    /// MODIFIED: what a conditional STORE left alone because it had changed (RFC 7162 §3.1.3).
    #[must_use]
    pub fn modified(&self) -> UidSet {
        let mut codes = self.codes();
        let modified = codes.find_map(|code| match code {
            Code::Modified(set) => Some(set.clone()),
            _ => None,
        });
        modified.unwrap_or_default()
    }

    /// APPENDUID: where an APPEND has put its messages (RFC 4315).
    #[must_use]
    pub fn append_uid(&self) -> Option<(UidValidity, UidSet)> {
        self.codes().find_map(|code| match code {
            Code::AppendUid(uid_validity, uids) => Some((*uid_validity, uids.clone())),
            _ => None,
        })
    }

    /// The FETCH responses that name a UID, in the order received.
    pub fn fetched(&self) -> impl Iterator<Item = Fetched> + '_ {
        self.untagged.iter().filter_map(|response| match response {
            Response::Fetch { items, .. } => fetched(items),
            _ => None,
        })
    }

    /// The UIDs that VANISHED names.
    #[must_use]
    pub fn vanished(&self) -> UidSet {
        let sets = self.untagged.iter().filter_map(|response| match response {
            Response::Vanished { uids, .. } => Some(uids),
            _ => None,
        });
        sets.fold(UidSet::new(), |all, uids| all.union(uids))
    }

    /// What STATUS told, mailbox by mailbox: asked for, or by NOTIFY. Items that are NIL are left out.
    pub fn statuses(&self) -> impl Iterator<Item = (&MailboxName, Vec<(StatusItem, u64)>)> {
        self.untagged.iter().filter_map(|response| match response {
            Response::MailboxStatus { mailbox, items } => {
                let known = items.iter().filter_map(|(item, value)| Some((*item, (*value)?)));
                Some((mailbox, known.collect()))
            }
            _ => None,
        })
    }

    /// What SEARCH or ESEARCH found: UIDs or numbers, as was asked.
    #[must_use]
    pub fn found(&self) -> UidSet {
        // Ranges stay ranges: how wide they are is for the server to say, and costs nothing here.
        let mut ranges = Vec::new();
        for response in &self.untagged {
            match response {
                Response::Search { numbers, .. } => ranges.extend(numbers.iter().map(|n| (*n, *n))),
                Response::ESearch(result) => {
                    ranges.extend(result.all.iter().flat_map(|set| set.ranges().iter().copied()));
                }
                _ => {}
            }
        }
        UidSet::from_ranges(ranges)
    }
}

/// The message that the items are about, if they name its UID.
pub(crate) fn fetched(items: &[FetchData]) -> Option<Fetched> {
    let (mut uid, mut flags, mut mod_seq) = (None, None, None);
    for item in items {
        match item {
            FetchData::Uid(value) => uid = Some(*value),
            FetchData::Flags(value) => flags = Some(value.clone()),
            FetchData::ModSeq(value) => mod_seq = Some(*value),
            _ => {}
        }
    }
    uid.map(|uid| Fetched { uid, flags, mod_seq, items: items.to_vec() })
}
