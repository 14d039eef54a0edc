//! What went over a connection and when, for those who must show it.
//!
//! # Invariants
//! - Nothing is kept unless it was asked for, and nothing that was said before that: a login is in no record.

use std::time::Instant;

/// Octets that went one way at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passage {
    /// When they were handed to the system, or taken from it.
    pub at: Instant,
    /// Whether this side sent them.
    pub sent: bool,
    /// The octets, without TLS.
    pub octets: Vec<u8>,
}

/// What was said since it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Record {
    passages: Option<Vec<Passage>>,
}

impl Record {
    /// Begins anew.
    pub(crate) fn begin(&mut self) {
        self.passages.get_or_insert_default().clear();
    }

    /// What there is.
    pub(crate) fn passages(&self) -> &[Passage] {
        self.passages.as_deref().unwrap_or_default()
    }

    /// Keeps the octets, if anybody wants them.
    pub(crate) fn keep(&mut self, sent: bool, octets: &[u8]) {
        if let Some(passages) = self.passages.as_mut().filter(|_| !octets.is_empty()) {
            passages.push(Passage { at: Instant::now(), sent, octets: octets.to_vec() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_kept() {
        let mut record = Record::default();
        record.keep(true, b"h1 LOGIN me secret\r\n");
        assert!(record.passages().is_empty());
        record.begin();
        record.keep(true, b"h2 NOOP\r\n");
        record.keep(false, b"");
        record.keep(false, b"h2 OK\r\n");
        let said: Vec<_> = record.passages().iter().map(|p| (p.sent, &*p.octets)).collect();
        assert_eq!(said, [(true, &b"h2 NOOP\r\n"[..]), (false, &b"h2 OK\r\n"[..])]);
        record.begin();
        assert!(record.passages().is_empty());
    }
}
