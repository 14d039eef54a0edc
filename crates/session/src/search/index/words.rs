//! Filters of all sequences of three octets in a message's text: most of what lacks the words is told without reading it.

use super::{Part, Run};
use imap::message::searchable_text;
use imap::set::UidSet;
use std::sync::Arc;
use xorf::{BinaryFuse8, Filter as _};

/// A text with more different sequences than this is always read.
const SEQUENCES_MAX: usize = 1 << 16;

/// The filters of up to 256 messages.
#[derive(Clone, Debug, Default)]
pub(in crate::search) struct Words {
    uids: Vec<u32>,
    /// Of the message's own header, and of all else.
    filters: Vec<[Sieve; 2]>,
}

/// Says what a text lacks.
#[derive(Clone, Debug)]
enum Sieve {
    /// It has at most these, and one of 256 others.
    Some(Arc<BinaryFuse8>),
    /// It may have anything.
    Any,
}

/// Whether the words are long enough; a line end may stand between a header field and the next.
pub(super) fn can_answer(words: &str) -> bool {
    words.len() >= 3 && !words.contains('\n')
}

/// Every sequence of three octets.
fn sequences(text: &[u8]) -> impl Iterator<Item = u64> + '_ {
    text.windows(3).map(|three| three.iter().fold(0, |key, octet| key << 8 | u64::from(*octet)))
}

impl Sieve {
    fn of(text: &str) -> Self {
        let mut keys: Vec<u64> = sequences(text.as_bytes()).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > SEQUENCES_MAX {
            return Self::Any;
        }
        BinaryFuse8::try_from(keys).map_or(Self::Any, |filter| Self::Some(Arc::new(filter)))
    }

    fn may_have(&self, sequences: &[u64]) -> bool {
        match self {
            Self::Some(filter) => sequences.iter().all(|key| filter.contains(key)),
            Self::Any => true,
        }
    }

    fn octets(&self) -> usize {
        match self {
            Self::Some(filter) => size_of::<BinaryFuse8>() + filter.fingerprints.len(),
            Self::Any => 0,
        }
    }
}

impl Run for Words {
    const HEADER_ONLY: bool = false;

    fn push(&mut self, uid: u32, octets: &[u8]) {
        let all = searchable_text(octets, true).to_lowercase();
        let body = searchable_text(octets, false).to_lowercase();
        // The message's own header comes first (RFC 3501 §6.4.4: TEXT is header and body).
        let header = all.strip_suffix(body.as_str()).unwrap_or(&all);
        self.uids.push(uid);
        self.filters.push([Sieve::of(header), Sieve::of(&body)]);
    }

    fn uids(&self) -> &[u32] {
        &self.uids
    }

    fn octets(&self) -> usize {
        let filters = self.filters.iter().flatten();
        let row = size_of::<u32>() + size_of::<[Sieve; 2]>();
        self.uids.len() * row + filters.map(Sieve::octets).sum::<usize>()
    }
}

impl Part<Words> {
    /// The messages that may have the words in their body, or with `header` anywhere.
    pub(super) fn may_have(&self, words: &str, header: bool) -> UidSet {
        let wanted: Vec<u64> = sequences(words.as_bytes()).collect();
        let may =
            |[head, body]: &[Sieve; 2]| body.may_have(&wanted) || header && head.may_have(&wanted);
        let mut found = Vec::new();
        for run in &self.runs {
            let pairs = run.uids.iter().zip(&run.filters);
            found.extend(pairs.filter(|(_, filters)| may(filters)).map(|(uid, _)| (*uid, *uid)));
        }
        UidSet::from_ranges(found)
    }
}
