//! Mail in files: mbox and Maildir, read for import and written for export.
//!
//! # Invariants
//! - One message at a time is in memory, and none longer than the limit.
//! - A message that cannot be read is named with its position; the ones after it are read all the same.

pub(crate) mod maildir;
pub(crate) mod mbox;
pub(crate) mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use imap::command::DateTime;
use imap::flag::Keyword;

/// One message out of a file, with what the file says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FiledMessage {
    /// The folder below the one that was named, levels separated by `/`; empty for that one itself.
    pub(crate) folder: String,
    /// What tells it from every other message of the source: file and position, or file name.
    pub(crate) position: String,
    /// Flags and keywords as IMAP writes them.
    pub(crate) flags: Vec<String>,
    /// When it arrived.
    pub(crate) date: Option<DateTime>,
    /// Its octets, lines ended by CRLF.
    pub(crate) octets: Vec<u8>,
}

/// A message, or a whole file, that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadMessage {
    /// Where.
    pub(crate) position: String,
    /// Why.
    pub(crate) why: String,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.why)
    }
}

/// An mbox file or a Maildir.
pub(crate) enum Source {
    /// One file with many messages.
    Mbox(mbox::MboxReader),
    /// A directory with a file per message.
    Maildir(maildir::MaildirReader),
}

impl Source {
    /// Opens what is at the path: a file is an mbox, a directory a Maildir.
    ///
    /// # Errors
    /// When nothing is there, or it is neither.
    pub(crate) fn open(
        path: &Path,
        quoting: mbox::Quoting,
        len_max: u64,
    ) -> Result<Self, BadMessage> {
        let bad = |why: String| BadMessage { position: path.display().to_string(), why };
        let path = path.canonicalize().map_err(|error| bad(error.to_string()))?;
        if path.is_dir() {
            maildir::MaildirReader::open(&path, len_max).map(Self::Maildir)
        } else {
            mbox::MboxReader::open(&path, quoting, len_max).map(Self::Mbox)
        }
    }

    /// The next message; `None` at the end.
    pub(crate) fn next_message(&mut self) -> Option<Result<FiledMessage, BadMessage>> {
        match self {
            Self::Mbox(mbox) => mbox.next_message(),
            Self::Maildir(maildir) => maildir.next_message(),
        }
    }

    /// Octets to read in all.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Mbox(mbox) => mbox.len(),
            Self::Maildir(maildir) => maildir.len(),
        }
    }

    /// Octets read so far.
    pub(crate) fn done(&self) -> u64 {
        match self {
            Self::Mbox(mbox) => mbox.done(),
            Self::Maildir(maildir) => maildir.done(),
        }
    }
}

/// Where a message stands: `file:position`.
fn at(file: &Path, position: impl fmt::Display) -> String {
    format!("{}:{position}", PathBuf::from(file).display())
}

/// The octets with every line ended by CRLF, as IMAP wants them.
fn with_crlf(octets: Vec<u8>) -> Vec<u8> {
    let bare = octets
        .iter()
        .scan(0, |last, &octet| {
            let bare = octet == b'\n' && *last != b'\r';
            *last = octet;
            Some(bare)
        })
        .filter(|bare| *bare)
        .count();
    if bare == 0 {
        return octets;
    }
    let mut out = Vec::with_capacity(octets.len() + bare);
    let mut last = 0;
    for octet in octets {
        if octet == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(octet);
        last = octet;
    }
    out
}

/// The keyword, unless it cannot be one in IMAP.
fn keyword(text: &str) -> Option<String> {
    Keyword::new(text).map(|keyword| keyword.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_crlf() {
        assert_eq!(with_crlf(b"a\nb\r\nc\n\n".to_vec()), b"a\r\nb\r\nc\r\n\r\n");
        assert_eq!(with_crlf(b"a\r\n".to_vec()), b"a\r\n");
        assert_eq!(with_crlf(b"\n".to_vec()), b"\r\n");
    }
}
