//! Why something did not go as asked.
//!
//! # Invariants
//! - A text says what was wrong and where, and what to do if that is not plain; no text holds a password or a token.

use crate::answer::Answer;
use crate::conversation::Progress;
use crate::place::PlaceError;
use crate::sasl::SaslError;
use crate::tls::TlsError;
use imap::command_encode::EncodeError;
use imap::response::ResponseCode;
use std::fmt;
use std::io;

/// Why a command, or the whole connection, failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server answered NO or BAD. Nothing was done, as far as the server says.
    Refused(Box<Answer>),
    /// The server refused a token.
    TokenRefused {
        /// What it says about the token: JSON with `status` and perhaps `scope` (RFC 7628 §3.2.2).
        complaint: String,
        /// The answer to AUTHENTICATE.
        answer: Box<Answer>,
    },
    /// The login came to nothing on this side: above all, the server did not prove that it is the one.
    Sasl(SaslError),
    /// The server ended the conversation with BYE; commands without an answer may have been done or not.
    Bye(String),
    /// The connection broke; commands without an answer may have been done or not.
    Io(io::Error),
    /// The server was silent for too long; the connection is of no use any more.
    TimedOut,
    /// The server sent what is not IMAP.
    Protocol(String),
    /// A message that went over in pieces was cut off; nothing of it counts.
    CutOff {
        /// It was being appended, and was not added; otherwise it was being fetched.
        appending: bool,
        /// How far it got.
        progress: Progress,
        /// What cut it off.
        cause: Box<Self>,
    },
    /// What the program itself gave to read a message from, or to write one to, failed.
    Local(io::Error),
    /// An APPEND was left before its last octet, and lacks so many: nothing else can be sent on this connection.
    Unfinished(u64),
    /// The wire cannot say what was asked for; nothing was sent.
    Encode(EncodeError),
    /// The server lacks a capability that is needed; nothing was sent.
    Lacks(&'static str),
    /// TLS failed; a certificate that nobody vouches for is trusted by [`Tls::only`](crate::Tls::only).
    Tls(TlsError),
    /// The address is not one.
    Place(PlaceError),
}

impl Error {
    /// The server's response code, if it refused with one.
    #[must_use]
    pub fn code(&self) -> Option<&ResponseCode> {
        match self {
            Self::Refused(answer) | Self::TokenRefused { answer, .. } => answer.code.as_ref(),
            _ => None,
        }
    }

    /// Whether the connection is of no use any more: connect anew.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Bye(_)
            | Self::Io(_)
            | Self::TimedOut
            | Self::Protocol(_)
            | Self::Sasl(_)
            | Self::Unfinished(_) => true,
            Self::CutOff { appending, cause, .. } => *appending || cause.is_fatal(),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(answer) => {
                write!(f, "the server answered {}: {}", answer.status.as_str(), answer.text)
            }
            Self::TokenRefused { complaint, answer } => {
                write!(f, "the server refused the token: {} ({complaint})", answer.text)
            }
            Self::Sasl(error) => error.fmt(f),
            Self::Bye(text) => write!(f, "the server said goodbye: {text}"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::TimedOut => f.write_str("the server did not answer in time: connect anew"),
            Self::Protocol(what) => write!(f, "the server does not speak IMAP: {what}"),
            Self::CutOff { appending: true, progress: Progress { done, of }, cause } => {
                let so_far = format_args!("after {done} of {of} octets");
                write!(f, "the message was cut off {so_far} and not added: {cause}")
            }
            Self::CutOff { progress: Progress { done, of }, cause, .. } => {
                let so_far = format_args!("after {done} of {of} octets");
                write!(f, "the message was cut off {so_far}, fetch it anew: {cause}")
            }
            Self::Local(error) => write!(f, "this side's reader or writer failed: {error}"),
            Self::Unfinished(left) => {
                write!(f, "an APPEND was left with {left} octets to go: connect anew")
            }
            Self::Encode(error) => error.fmt(f),
            Self::Lacks(what) => write!(f, "the server lacks {what}, which this needs"),
            Self::Tls(error) => error.fmt(f),
            Self::Place(error) => error.fmt(f),
        }
    }
}

/// The text of an error says all that is known. Its source is therefore what lies below the cause that the text names:
/// who prints a chain of sources reads nothing twice.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sasl(error) => error.source(),
            Self::Io(error) | Self::Local(error) => error.source(),
            Self::CutOff { cause, .. } => cause.source(),
            Self::Encode(error) => error.source(),
            Self::Tls(error) => error.source(),
            Self::Place(error) => error.source(),
            _ => None,
        }
    }
}

impl From<SaslError> for Error {
    fn from(error: SaslError) -> Self {
        Self::Sasl(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<PlaceError> for Error {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}
