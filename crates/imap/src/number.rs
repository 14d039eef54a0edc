//! The protocol's numbers as types of their own, so that a UID is never taken for a message number.
//!
//! # Standards
//! RFC 3501 §2.3.1 (UID, UIDVALIDITY, message sequence number), RFC 7162 §3.1 and §7 (mod-sequences).

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// A message's unique identifier in its mailbox: 1 ..= 2^32−1 (RFC 3501 §2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(NonZeroU32);

/// A message's position in one session's numbering: 1 ..= EXISTS (RFC 3501 §2.3.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNum(NonZeroU32);

/// The unique identifier validity value of a mailbox (RFC 3501 §2.3.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(NonZeroU32);

macro_rules! number_32 {
    ($name:ident) => {
        impl $name {
            /// The smallest value, 1.
            pub const MIN: Self = Self(NonZeroU32::MIN);
            /// The greatest value, 2^32−1.
            pub const MAX: Self = Self(NonZeroU32::MAX);

            /// The value, or `None` for 0.
            #[must_use]
            pub const fn new(value: u32) -> Option<Self> {
                match NonZeroU32::new(value) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The plain number.
            #[must_use]
            pub const fn value(self) -> u32 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number_32!(Uid);
number_32!(SeqNum);
number_32!(UidValidity);

/// A mod-sequence that something has: 1 ..= 2^63−1 by construction (RFC 7162 §7, `mod-sequence-value`) [S-8].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(NonZeroU64);

impl ModSeq {
    /// The smallest mod-sequence, 1.
    pub const MIN: Self = Self(NonZeroU64::MIN);
    /// The greatest mod-sequence, 2^63−1.
    pub const MAX: Self = match NonZeroU64::new(i64::MAX as u64) {
        Some(value) => Self(value),
        None => Self::MIN,
    };

    /// The value, or `None` outside 1 ..= 2^63−1.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(number) if value <= i64::MAX as u64 => Some(Self(number)),
            _ => None,
        }
    }

    /// The plain number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0.get()
    }

    /// The next greater mod-sequence, or `None` after 2^63−1.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::new(self.value() + 1)
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModSeq({})", self.0)
    }
}

/// A mod-sequence that a client compares with: 0 ..= 2^63−1 (RFC 7162 §7, `mod-sequence-valzer`).
///
/// 0 is a real value and never means "no modifier" [S-75].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModSeqOrZero(u64);

impl ModSeqOrZero {
    /// The value 0, which is below every mod-sequence.
    pub const ZERO: Self = Self(0);

    /// The value, or `None` above 2^63−1.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value <= i64::MAX as u64 { Some(Self(value)) } else { None }
    }

    /// The plain number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The mod-sequence, or `None` for 0.
    #[must_use]
    pub const fn get(self) -> Option<ModSeq> {
        ModSeq::new(self.0)
    }
}

impl From<ModSeq> for ModSeqOrZero {
    fn from(value: ModSeq) -> Self {
        Self(value.value())
    }
}

impl fmt::Display for ModSeqOrZero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_sequences_end_at_63_bits() {
        assert_eq!(ModSeq::new(0), None);
        assert_eq!(ModSeq::new(1), Some(ModSeq::MIN));
        assert_eq!(ModSeq::new((1 << 63) - 1), Some(ModSeq::MAX));
        assert_eq!(ModSeq::new(1 << 63), None);
        assert_eq!(ModSeq::MAX.next(), None);
        assert_eq!(ModSeqOrZero::new(0), Some(ModSeqOrZero::ZERO));
        assert_eq!(ModSeqOrZero::new(1 << 63), None);
        assert_eq!(ModSeqOrZero::ZERO.get(), None);
    }

    #[test]
    fn thirty_two_bit_numbers_are_never_zero() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(Uid::new(u32::MAX), Some(Uid::MAX));
    }
}
