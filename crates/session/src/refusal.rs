//! Answers that refuse, and the one place where a store's error becomes a response code.
//!
//! # Standards
//! RFC 3501 §7.1, RFC 5530 (response codes).

use crate::account::AuthFailure;
use crate::shared::Closed;
use imap::encode::Code;
use std::borrow::Cow;

/// How a command is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Tagged NO: understood and not done.
    No,
    /// Tagged BAD: not understood, or out of place.
    Bad,
    /// Untagged BYE and the end, without a tagged answer: the outcome is unknown [H1].
    Bye,
}

/// An answer that refuses.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    pub(crate) code: Option<Code>,
    pub(crate) text: Cow<'static, str>,
}

impl Refusal {
    /// NO without a code.
    pub(crate) fn no(text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::No, code: None, text: text.into() }
    }

    /// NO with a code.
    pub(crate) fn coded(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::No, code: Some(code), text: text.into() }
    }

    /// BAD.
    pub(crate) fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Bad, code: None, text: text.into() }
    }

    /// BAD because no mailbox is selected.
    pub(crate) fn unselected() -> Self {
        Self::bad("No mailbox is selected: SELECT or EXAMINE one first")
    }

    /// NO because the mailbox was opened with EXAMINE [S-83].
    pub(crate) fn read_only() -> Self {
        Self::no("The mailbox was opened with EXAMINE and cannot be changed")
    }

    /// NO because of the mailbox's access control list.
    pub(crate) fn no_permission() -> Self {
        Self::coded(Code::NoPerm, "The mailbox's access control list does not allow this")
    }

    /// The same refusal for a command that names where messages should go: a mailbox that is not there is
    /// one that the client may create (RFC 3501 §6.3.11, §6.4.7).
    pub(crate) fn for_target(self) -> Self {
        match self.code {
            Some(Code::NonExistent) => Self { code: Some(Code::TryCreate), ..self },
            _ => self,
        }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        use store::Error;
        match error {
            Error::NonExistent => Self::coded(Code::NonExistent, "No such mailbox"),
            Error::AlreadyExists => Self::coded(Code::AlreadyExists, "The mailbox exists already"),
            Error::Full(why) | Error::Unavailable(why) => Self::coded(Code::Unavailable, why),
            Error::Limit(what) => Self::coded(Code::Limit, what),
            Error::OverQuota(what) => Self::coded(Code::OverQuota, what),
            Error::NoPermission => Self::no_permission(),
            Error::Cannot(what) => Self::coded(Code::Cannot, what),
            Error::HasChildren => Self::coded(
                Code::HasChildren,
                "The mailbox holds only others: delete those below it first",
            ),
            Error::Damaged(why) => Self::coded(Code::ServerBug, why),
            Error::ShuttingDown => {
                Self { kind: Kind::Bye, code: None, text: "The server is shutting down".into() }
            }
            Error::Broken(why) => Self {
                kind: Kind::Bye,
                code: None,
                text: format!(
                    "Storage failed, whether the last command was done is unknown: {why}"
                )
                .into(),
            },
        }
    }
}

impl From<AuthFailure> for Refusal {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Credentials => {
                Self::coded(Code::AuthenticationFailed, "Wrong name or password")
            }
            AuthFailure::Malformed(what) => Self::bad(what),
            AuthFailure::Unavailable(why) => Self::coded(Code::Unavailable, why),
            AuthFailure::NotHere(why) => Self::coded(Code::AuthorizationFailed, why),
        }
    }
}

/// Why a command's code stopped before its answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Answer with this.
    Refused(Refusal),
    /// Nobody is there to answer.
    Closed,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}
