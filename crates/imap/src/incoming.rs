//! Octets received and not used yet, from which lines and pieces are taken.
//!
//! # Invariants
//! - No octet is looked at twice in search of a line's end, however the input is cut.
//! - Empty, it holds no memory.

use bytes::{Buf as _, BytesMut};

/// What has been received and not used.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    octets: BytesMut,
    /// How much of it is known to hold no LF.
    scanned: usize,
}

impl Incoming {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// All of it, left where it is.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes a line, its end included, if there is a whole one.
    pub(crate) fn take_line(&mut self) -> Option<BytesMut> {
        let fresh = self.octets.get(self.scanned..).unwrap_or_default();
        let Some(at) = fresh.iter().position(|b| *b == b'\n') else {
            self.scanned = self.octets.len();
            return None;
        };
        Some(self.take(self.scanned + at + 1))
    }

    /// Takes so many octets, or all if there are fewer.
    pub(crate) fn take(&mut self, count: usize) -> BytesMut {
        let taken = self.octets.split_to(count.min(self.octets.len()));
        self.scanned = 0;
        if self.octets.is_empty() {
            self.octets = BytesMut::new();
        }
        taken
    }

    /// Drops octets from the front without forgetting that the rest holds no LF.
    pub(crate) fn skip_scanned(&mut self, count: usize) {
        let count = count.min(self.octets.len());
        self.octets.advance(count);
        self.scanned = self.scanned.saturating_sub(count);
    }
}
