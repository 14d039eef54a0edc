//! The header fields that people search by, decoded and in lower case, one behind the other.

use super::{Part, Run};
use imap::message::searchable_field;
use imap::set::UidSet;
use memchr::memmem;

/// Fields that are remembered.
const NAMES: [&str; 5] = ["subject", "from", "to", "cc", "bcc"];

/// The fields of up to 256 messages.
#[derive(Clone, Debug, Default)]
pub(in crate::search) struct Fields {
    uids: Vec<u32>,
    columns: [Column; NAMES.len()],
}

/// One field of all messages, with a line end behind each value: no words that are looked for reach over it.
#[derive(Clone, Debug, Default)]
struct Column {
    text: String,
    /// Where each message's values end.
    ends: Vec<usize>,
}

/// Whether messages whose field contains these words can be told. Not for empty words, which ask whether the field
/// is there, nor for line ends.
pub(super) fn can_answer(name: &[u8], words: &str) -> bool {
    column(name).is_some() && !words.is_empty() && !words.contains('\n')
}

fn column(name: &[u8]) -> Option<usize> {
    NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

impl Run for Fields {
    const HEADER_ONLY: bool = true;

    fn push(&mut self, uid: u32, octets: &[u8]) {
        self.uids.push(uid);
        for (name, column) in NAMES.iter().zip(&mut self.columns) {
            for value in searchable_field(octets, name.as_bytes()) {
                column.text.push_str(&value.to_lowercase());
                column.text.push('\n');
            }
            column.ends.push(column.text.len());
        }
    }

    fn uids(&self) -> &[u32] {
        &self.uids
    }

    fn octets(&self) -> usize {
        let column =
            |column: &Column| column.text.capacity() + column.ends.capacity() * size_of::<usize>();
        self.uids.capacity() * size_of::<u32>() + self.columns.iter().map(column).sum::<usize>()
    }
}

impl Part<Fields> {
    /// The messages with the words in this field.
    pub(super) fn with(&self, name: &[u8], words: &str) -> UidSet {
        let Some(index) = column(name) else { return UidSet::new() };
        let finder = memmem::Finder::new(words);
        let mut found = Vec::new();
        for run in &self.runs {
            let Some(column) = run.columns.get(index) else { continue };
            let mut from = 0;
            while let Some(at) =
                column.text.as_bytes().get(from..).and_then(|rest| finder.find(rest))
            {
                let message = column.ends.partition_point(|end| *end <= from + at);
                found.extend(run.uids.get(message));
                from = column.ends.get(message).copied().unwrap_or(usize::MAX);
            }
        }
        UidSet::from_ranges(found.into_iter().map(|uid| (uid, uid)))
    }
}
