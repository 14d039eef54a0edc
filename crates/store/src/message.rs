//! One message of a mailbox as it is held in memory, and the mod-sequences of its single flags.
//!
//! # Invariants
//! - `mod_seq` is the greatest of `arrival` and all items: a message's mod-sequence never falls.
//! - At most [`ITEMS_MAX`] items; when there would be more, the oldest cleared keyword (or, if none is
//!   cleared, the oldest keyword) folds into `floor`. Folding can make a condition fail that need not have
//!   failed, never pass one that must fail.
//!
//! # Standards
//! RFC 7162 §3.1 (a mod-sequence per metadata item is allowed) [S-17] and §3.1.12.

use crate::engine::BodyId;
use crate::flags::{FlagBit, FlagSet};
use imap::command::DateTime;
use imap::number::{ModSeq, Uid};
use std::sync::Arc;

/// The most items that a message keeps.
pub const ITEMS_MAX: usize = 16;

/// The mod-sequence of one flag's last real change since the message arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// The flag.
    pub bit: FlagBit,
    /// When it last was really set or really cleared.
    pub mod_seq: ModSeq,
}

/// The items of a message, and the floor that stands for those folded away.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Items {
    /// Flags changed since arrival, in no order.
    pub list: Vec<Item>,
    /// The greatest mod-sequence folded away; 0 when nothing was.
    pub floor: u64,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: FlagSet,
    /// Its mod-sequence: the greatest over all its items.
    pub mod_seq: ModSeq,
    /// The mod-sequence with which it arrived in this mailbox.
    pub arrival: ModSeq,
    /// Flags changed since arrival; `None` while there are none.
    pub items: Option<Arc<Items>>,
    /// The internal date (RFC 3501 §2.3.3).
    pub internal_date: DateTime,
    /// When it came into this mailbox, seconds since 1970 (RFC 8514).
    pub save_date: i64,
    /// The length of its body in octets (RFC 3501 §2.3.4).
    pub size: u64,
    /// Its body.
    pub body: BodyId,
}

impl Message {
    /// The mod-sequence of one flag: that of its last real change on this message, else of the arrival [S-91].
    ///
    /// A keyword that may have been folded away answers the floor if that is greater.
    #[must_use]
    pub fn item(&self, bit: FlagBit) -> ModSeq {
        let Some(items) = &self.items else { return self.arrival };
        if let Some(item) = items.list.iter().find(|item| item.bit == bit) {
            return item.mod_seq;
        }
        let floor = if bit.is_keyword() { ModSeq::new(items.floor) } else { None };
        floor.map_or(self.arrival, |floor| floor.max(self.arrival))
    }

    /// The greatest item of all keywords: they are one domain, since two claims must conflict [S-62, S-79].
    #[must_use]
    pub fn keyword_item(&self) -> ModSeq {
        let Some(items) = &self.items else { return self.arrival };
        let changed =
            items.list.iter().filter(|item| item.bit.is_keyword()).map(|item| item.mod_seq);
        let floor = ModSeq::new(items.floor);
        changed.chain(floor).fold(self.arrival, ModSeq::max)
    }

    /// Whether the keyword may ever have been set on this message since it came here [S-74].
    #[must_use]
    pub fn may_have_had(&self, bit: FlagBit) -> bool {
        self.flags.contains(bit)
            || self.items.as_ref().is_some_and(|items| {
                items.floor > 0 || items.list.iter().any(|item| item.bit == bit)
            })
    }

    /// The message after the flags in `set` were set and those in `clear` cleared with `mod_seq`.
    ///
    /// Only what really changes gets an item; the caller has made sure that something does [S-12, S-13].
    #[must_use]
    pub(crate) fn with_flags(&self, set: FlagSet, clear: FlagSet, mod_seq: ModSeq) -> Self {
        let flags = self.flags.without(clear).union(set);
        let changed = FlagSet(flags.0 ^ self.flags.0);
        let mut items = self.items.as_deref().cloned().unwrap_or_default();
        for bit in changed.iter() {
            match items.list.iter_mut().find(|item| item.bit == bit) {
                Some(item) => item.mod_seq = mod_seq,
                None => items.list.push(Item { bit, mod_seq }),
            }
        }
        fold(&mut items, flags);
        Self { flags, mod_seq, items: Some(Arc::new(items)), ..self.clone() }
    }
}

impl Message {
    /// The message with this item instead of its own, and a mod-sequence no lower.
    #[must_use]
    pub(crate) fn with_item(&self, bit: FlagBit, mod_seq: ModSeq) -> Self {
        let mut items = self.items.as_deref().cloned().unwrap_or_default();
        items.list.retain(|item| item.bit != bit);
        items.list.push(Item { bit, mod_seq });
        Self { mod_seq: self.mod_seq.max(mod_seq), items: Some(Arc::new(items)), ..self.clone() }
    }
}

/// Folds the oldest keywords away until the limit holds, cleared ones first.
fn fold(items: &mut Items, flags: FlagSet) {
    while items.list.len() > ITEMS_MAX {
        let keywords = items.list.iter().enumerate().filter(|(_, item)| item.bit.is_keyword());
        let oldest = keywords.min_by_key(|(_, item)| (flags.contains(item.bit), item.mod_seq));
        let Some((at, _)) = oldest else { return };
        let item = items.list.swap_remove(at);
        items.floor = items.floor.max(item.mod_seq.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::flag::SystemFlag;

    fn message() -> Message {
        Message {
            uid: Uid::MIN,
            flags: FlagSet::EMPTY,
            mod_seq: ModSeq::new(5).unwrap(),
            arrival: ModSeq::new(5).unwrap(),
            items: None,
            internal_date: DateTime { unix: 0, zone_minutes: 0 },
            save_date: 0,
            size: 0,
            body: BodyId(1),
        }
    }

    fn keyword(n: u8) -> FlagBit {
        FlagBit::new(8 + n).unwrap()
    }

    #[test]
    fn an_item_is_the_last_real_change_else_the_arrival() {
        // [S-17]
        let m = message();
        let seen = FlagBit::system(SystemFlag::Seen);
        assert_eq!(m.item(seen).value(), 5);
        let m = m.with_flags(FlagSet::SEEN, FlagSet::EMPTY, ModSeq::new(9).unwrap());
        assert_eq!(m.item(seen).value(), 9);
        assert_eq!(m.item(FlagBit::system(SystemFlag::Draft)).value(), 5);
        assert_eq!(m.keyword_item().value(), 5);
        assert_eq!(m.mod_seq.value(), 9);
    }

    #[test]
    fn a_flag_that_stays_as_it_is_keeps_its_item() {
        // [S-13] [S-17]
        let seen = FlagBit::system(SystemFlag::Seen);
        let m = message().with_flags(FlagSet::SEEN, FlagSet::EMPTY, ModSeq::new(9).unwrap());
        let both = FlagSet::SEEN.union(FlagSet::DELETED);
        let m = m.with_flags(both, FlagSet::EMPTY, ModSeq::new(12).unwrap());
        assert_eq!((m.item(seen).value(), m.mod_seq.value()), (9, 12));
        assert_eq!(m.item(FlagBit::system(SystemFlag::Deleted)).value(), 12);
    }

    #[test]
    fn folding_keeps_the_greatest_keyword_item_and_what_is_set() {
        let mut m = message();
        let mut n = 10;
        for k in 0..30 {
            let one = FlagSet::EMPTY.with(keyword(k));
            let clear = if k > 0 { FlagSet::EMPTY.with(keyword(k - 1)) } else { FlagSet::EMPTY };
            m = m.with_flags(one, clear, ModSeq::new(n).unwrap());
            n += 1;
        }
        assert_eq!(m.items.as_ref().unwrap().list.len(), ITEMS_MAX);
        assert_eq!(m.keyword_item().value(), n - 1);
        assert!(m.may_have_had(keyword(0)) && m.may_have_had(keyword(29)));
        assert!(m.may_have_had(keyword(60)), "a floor makes every keyword suspect");
        assert!(m.item(keyword(0)) > m.arrival);
    }
}
