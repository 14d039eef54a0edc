//! A message's flags as bits, and the mailbox's table that gives each keyword its bit.
//!
//! # Invariants
//! - Bits 0–4 are the system flags, bits 8–127 the mailbox's keywords in the order in which they first came.
//! - A keyword keeps its bit for as long as the mailbox lives.
//!
//! # Standards
//! RFC 3501 §2.3.2; `\Recent` is not a stored flag and never changes a mod-sequence [S-18].

use imap::flag::{Flag, Keyword, SystemFlag};
use std::sync::Arc;

/// The position of a flag in a [`FlagSet`], 0 ..= 127.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlagBit(u8);

impl FlagBit {
    /// The bit of a system flag.
    #[must_use]
    pub const fn system(flag: SystemFlag) -> Self {
        Self(match flag {
            SystemFlag::Answered => 0,
            SystemFlag::Flagged => 1,
            SystemFlag::Deleted => 2,
            SystemFlag::Seen => 3,
            SystemFlag::Draft => 4,
        })
    }

    /// The bit with this number, `None` above 127.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 128 { Some(Self(number)) } else { None }
    }

    /// The bit's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether the bit stands for a keyword.
    #[must_use]
    pub const fn is_keyword(self) -> bool {
        self.0 >= Keywords::FIRST_BIT
    }
}

/// A set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlagSet(pub u128);

impl FlagSet {
    /// No flags.
    pub const EMPTY: Self = Self(0);
    /// All bits that keywords can have.
    pub const KEYWORDS: Self = Self(u128::MAX << Keywords::FIRST_BIT);
    /// `\Seen` alone.
    pub const SEEN: Self = Self::of(SystemFlag::Seen);
    /// `\Deleted` alone.
    pub const DELETED: Self = Self::of(SystemFlag::Deleted);

    /// One system flag.
    #[must_use]
    pub const fn of(flag: SystemFlag) -> Self {
        Self(1 << FlagBit::system(flag).0)
    }

    /// Whether the flag is set.
    #[must_use]
    pub const fn contains(self, bit: FlagBit) -> bool {
        self.0 & (1 << bit.0) != 0
    }

    /// Whether the system flag is set.
    #[must_use]
    pub const fn has(self, flag: SystemFlag) -> bool {
        self.contains(FlagBit::system(flag))
    }

    /// The set with this flag.
    #[must_use]
    pub const fn with(self, bit: FlagBit) -> Self {
        Self(self.0 | (1 << bit.0))
    }

    /// Flags that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Flags that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Flags of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags in rising order of their bits.
    pub fn iter(self) -> impl Iterator<Item = FlagBit> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            u8::try_from(bit).ok().and_then(FlagBit::new)
        })
    }
}

/// The keywords of one mailbox. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Arc<Vec<Keyword>>,
    limit: usize,
}

impl Keywords {
    /// The bit of the first keyword.
    pub const FIRST_BIT: u8 = 8;
    /// The most keywords that a mailbox can have.
    pub const COUNT_MAX: usize = 120;

    /// An empty table that takes at most `limit` keywords.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { names: Arc::default(), limit: limit.min(Self::COUNT_MAX) }
    }

    /// How many keywords the table takes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The keywords in the order of their bits.
    pub fn names(&self) -> impl Iterator<Item = &Keyword> {
        self.names.iter()
    }

    /// Whether a new keyword would find a place; if not, `\*` is not among the PERMANENTFLAGS.
    #[must_use]
    pub fn room(&self) -> bool {
        self.names.len() < self.limit
    }

    /// The keyword's bit, if the mailbox knows it.
    #[must_use]
    pub fn bit(&self, keyword: &Keyword) -> Option<FlagBit> {
        let at = self.names.iter().position(|name| name == keyword)?;
        u8::try_from(at).ok().map(|at| FlagBit(at + Self::FIRST_BIT))
    }

    /// The flag's bit; `None` for a keyword that the mailbox does not know.
    #[must_use]
    pub fn bit_of(&self, flag: &Flag) -> Option<FlagBit> {
        match flag {
            Flag::System(flag) => Some(FlagBit::system(*flag)),
            Flag::Keyword(keyword) => self.bit(keyword),
        }
    }

    /// The flag that has this bit.
    #[must_use]
    pub fn name(&self, bit: FlagBit) -> Option<&str> {
        match bit.0.checked_sub(Self::FIRST_BIT) {
            Some(at) => self.names.get(usize::from(at)).map(Keyword::as_str),
            None => SystemFlag::ALL.get(usize::from(bit.0)).map(|flag| flag.as_str()),
        }
    }

    /// The names of the flags in the set.
    pub fn names_of(&self, flags: FlagSet) -> impl Iterator<Item = &str> {
        flags.iter().filter_map(|bit| self.name(bit))
    }

    /// Gives a new keyword its bit; `None` when there is no room. A known one keeps what it has.
    pub(crate) fn add(&mut self, keyword: &Keyword) -> Option<FlagBit> {
        if let Some(bit) = self.bit(keyword) {
            return Some(bit);
        }
        if !self.room() {
            return None;
        }
        Arc::make_mut(&mut self.names).push(keyword.clone());
        self.bit(keyword)
    }

    /// Adds what a delta or a page says, without regard to the limit.
    pub(crate) fn restore(&mut self, keyword: Keyword) {
        if self.names.len() < Self::COUNT_MAX && self.bit(&keyword).is_none() {
            Arc::make_mut(&mut self.names).push(keyword);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_keep_their_bits_and_end_at_the_limit() {
        let mut table = Keywords::new(2);
        let work = table.add(&Keyword::new("$Work").unwrap()).unwrap();
        assert_eq!(table.add(&Keyword::new("$WORK").unwrap()), Some(work));
        table.add(&Keyword::new("b").unwrap()).unwrap();
        assert_eq!(table.add(&Keyword::new("c").unwrap()), None);
        assert!(!table.room());
        let names: Vec<_> = table.names_of(FlagSet::SEEN.with(work)).collect();
        assert_eq!(names, ["\\Seen", "$Work"]);
        for flag in SystemFlag::ALL {
            assert_eq!(table.name(FlagBit::system(flag)), Some(flag.as_str()));
        }
    }
}
