//! What PostgreSQL's errors mean here, and what to do about them.

use std::fmt;

use store::engine::EngineError;
use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

/// Why a database could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The URL cannot be used.
    Url(String),
    /// A certificate or key cannot be read.
    Tls(String),
    /// No server answers, or none that can be written to.
    Connect {
        /// Host and port of each server that was tried.
        place: String,
        /// What it said.
        why: String,
    },
    /// The server answers and cannot be used.
    Server {
        /// Host and port of each server that was tried.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// What was said of the place for bodies cannot be used.
    BodiesUrl(String),
    /// The place for bodies cannot be used, or is another one than before.
    Bodies {
        /// Its address.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The database belongs to another program, or to a newer release.
    Foreign {
        /// Host, port and name.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "the URL of the database cannot be used: {why}"),
            Self::Tls(why) => write!(f, "TLS to the database cannot be set up: {why}"),
            Self::BodiesUrl(why) => write!(f, "--bodies: {why}"),
            Self::Bodies { place, why } => {
                write!(f, "message bodies at {place} cannot be used: {why}")
            }
            Self::Connect { place, why } => {
                write!(f, "PostgreSQL cannot be reached at {place}: {why}")
            }
            Self::Server { place, why } | Self::Foreign { place, why } => {
                write!(f, "PostgreSQL at {place} cannot be used: {why}")
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// What went wrong in a conversation with the server.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server has refused a statement; the connection is whole.
    Refused(EngineError),
    /// The connection is gone, or was given up.
    Lost(String),
}

impl Fault {
    /// The error for one who knows that nothing was done.
    pub(crate) fn nothing_done(self) -> EngineError {
        match self {
            Self::Refused(error) => error,
            Self::Lost(why) => EngineError::Unavailable(why),
        }
    }

    /// What was wrong, for one who says himself what could not be done.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Refused(
                EngineError::Full(why)
                | EngineError::Broken(why)
                | EngineError::Damaged(why)
                | EngineError::Unavailable(why)
                | EngineError::Unknown(why),
            )
            | Self::Lost(why) => why,
            Self::Refused(EngineError::Behind) => EngineError::Behind.to_string(),
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::Refused(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else { return Self::Lost(text(&error)) };
        let code = said.code();
        let why = text(&error);
        let table = said.table().unwrap_or_default();
        let class = code.code().get(..2).unwrap_or_default();
        if matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
            return Self::Lost(why);
        }
        Self::Refused(match code {
            &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            | &SqlState::READ_ONLY_SQL_TRANSACTION => return Self::Lost(why),
            &SqlState::DISK_FULL => {
                EngineError::Full(format!("the disk of the PostgreSQL server is full: {why}"))
            }
            &SqlState::PROGRAM_LIMIT_EXCEEDED => EngineError::Full(why),
            &SqlState::UNIQUE_VIOLATION if ["log", "delta", "account"].contains(&table) => {
                EngineError::Behind
            }
            &SqlState::UNIQUE_VIOLATION if table == "body" => {
                EngineError::Damaged(format!("a body is in the database already: {why}"))
            }
            &SqlState::CHECK_VIOLATION if table == "body" => EngineError::Damaged(format!(
                "a body would lose more references than it has: {why}"
            )),
            &SqlState::DIVISION_BY_ZERO => {
                EngineError::Damaged("a body that is referred to is not in the database".into())
            }
            &SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION => EngineError::Unavailable(
                "the octets of a message that waited for a day were removed: send it again".into(),
            ),
            &SqlState::LOCK_NOT_AVAILABLE => {
                EngineError::Unavailable("others write to the mailbox for too long".into())
            }
            &SqlState::INSUFFICIENT_PRIVILEGE => EngineError::Unavailable(format!(
                "{why}: give the role the rights of the owner of the schema `highwater`"
            )),
            &SqlState::QUERY_CANCELED
            | &SqlState::T_R_DEADLOCK_DETECTED
            | &SqlState::T_R_SERIALIZATION_FAILURE => EngineError::Unavailable(why),
            _ if ["53", "57", "08"].contains(&class) => EngineError::Unavailable(why),
            _ => EngineError::Damaged(why),
        })
    }
}

/// The whole of an error: what it is and what the server or the system said.
pub(crate) fn text(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail} [SQLSTATE {}]", said.message(), said.code().code());
    }
    chain(error)
}

/// An error and what it comes from, each word of it once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !all.contains(&more) {
            all = format!("{all}: {more}");
        }
        source = inner.source();
    }
    all
}
