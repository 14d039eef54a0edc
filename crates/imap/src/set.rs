//! Sets of message numbers and UIDs: as a client types them, and as plain numbers.
//!
//! # Invariants
//! - A range is two numbers, never a list: the cost follows how many ranges were typed [S-116, S-174].
//! - A [`UidSet`] is ascending, without overlap, and neighbours are joined.
//!
//! # Standards
//! RFC 3501 §9 (`sequence-set`, erratum: `a:b` and `b:a` are the same), RFC 5182 (`$`), RFC 4315 (`uid-set`).

use crate::number::Uid;
use std::fmt;
use std::num::NonZeroU32;

/// One end of a range: a number or `*`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SetBound {
    /// A number.
    Number(NonZeroU32),
    /// `*`, the greatest number in use.
    Star,
}

/// `sequence-set` as typed: ranges in the client's order, either end may be `*` (RFC 3501 §9), or `$` (RFC 5182).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SequenceSet {
    /// One or more ranges; a single number is a range with equal ends.
    Ranges(Vec<(SetBound, SetBound)>),
    /// `$`, the result that the last `SEARCH RETURN (SAVE)` kept (RFC 5182).
    Saved,
}

impl SequenceSet {
    /// The numbers meant, with `*` standing for `greatest`; an ascending set, each number once [S-78].
    ///
    /// `None` for `$`. When `greatest` is 0 (nothing is numbered), `*` names nothing.
    #[must_use]
    pub fn resolve(&self, greatest: u32) -> Option<UidSet> {
        let Self::Ranges(ranges) = self else { return None };
        let number = |bound: &SetBound| match bound {
            SetBound::Number(n) => n.get(),
            SetBound::Star => greatest,
        };
        let plain = ranges.iter().filter_map(|(a, b)| {
            let (a, b) = (number(a), number(b));
            let (low, high) = (a.min(b), a.max(b));
            if high == 0 { None } else { Some((low.max(1), high)) }
        });
        Some(UidSet::from_ranges(plain))
    }

    /// The greatest number typed, `*` not counted; 0 when there is none.
    #[must_use]
    pub fn number_max(&self) -> u32 {
        let Self::Ranges(ranges) = self else { return 0 };
        let number = |bound: &SetBound| match bound {
            SetBound::Number(n) => n.get(),
            SetBound::Star => 0,
        };
        ranges.iter().map(|(a, b)| number(a).max(number(b))).max().unwrap_or(0)
    }

    /// Whether `*` was typed anywhere.
    #[must_use]
    pub fn has_star(&self) -> bool {
        let Self::Ranges(ranges) = self else { return false };
        ranges.iter().any(|(a, b)| *a == SetBound::Star || *b == SetBound::Star)
    }
}

impl fmt::Display for SequenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges(ranges) = self else { return f.write_str("$") };
        let bound = |bound: &SetBound, f: &mut fmt::Formatter<'_>| match bound {
            SetBound::Number(n) => write!(f, "{n}"),
            SetBound::Star => f.write_str("*"),
        };
        for (i, (a, b)) in ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            bound(a, f)?;
            if a != b {
                f.write_str(":")?;
                bound(b, f)?;
            }
        }
        Ok(())
    }
}

/// An ascending set of numbers ≥ 1, kept as ranges with both ends included. Used for UIDs and, where a
/// command names message numbers, for those too.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of one UID.
    #[must_use]
    pub fn one(uid: Uid) -> Self {
        Self { ranges: vec![(uid.value(), uid.value())] }
    }

    /// The set of all numbers in the ranges, which may come in any order and overlap; ends of 0 are left out.
    #[must_use]
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut list: Vec<(u32, u32)> =
            ranges.into_iter().filter(|(low, high)| *low > 0 && low <= high).collect();
        list.sort_unstable();
        let mut set = Self { ranges: Vec::with_capacity(list.len()) };
        for (low, high) in list {
            set.push_range(low, high);
        }
        set
    }

    /// Adds a number that is not below any number in the set already. Lower numbers are ignored.
    pub fn push(&mut self, number: u32) {
        self.push_range(number, number);
    }

    /// Adds a range whose low end is not below the low end of the last range; joins it with that one when they touch.
    pub fn push_range(&mut self, low: u32, high: u32) {
        if low == 0 || high < low {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => {
                if low >= last.0 {
                    last.1 = last.1.max(high);
                }
            }
            _ => self.ranges.push((low, high)),
        }
    }

    /// The ranges, ascending, both ends included.
    #[must_use]
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers the set has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(low, high)| u64::from(high - low) + 1).sum()
    }

    /// The smallest number.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|r| r.0)
    }

    /// The greatest number.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|r| r.1)
    }

    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let at = self.ranges.partition_point(|(_, high)| *high < number);
        self.ranges.get(at).is_some_and(|(low, _)| *low <= number)
    }

    /// What the set has from `low` to `high`, as ranges. Costs a search and the ranges there.
    pub fn ranges_within(&self, low: u32, high: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let at = self.ranges.partition_point(|range| range.1 < low);
        let here = self.ranges.get(at..).unwrap_or_default();
        let here = here.iter().take_while(move |range| range.0 <= high);
        here.map(move |range| (range.0.max(low), range.1.min(high)))
    }

    /// Every number, ascending. Only for sets that hold existing messages: a typed set may be astronomically long.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(low, high)| *low..=*high)
    }

    /// The numbers that are in both sets. Costs the number of ranges.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut out = Self::new();
        while let (Some(a), Some(b)) = (self.ranges.get(i), other.ranges.get(j)) {
            out.push_range(a.0.max(b.0), a.1.min(b.1));
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        out
    }

    /// The numbers of this set that are not in the other. Costs the number of ranges.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self::new();
        let mut j = 0;
        for &(low, high) in &self.ranges {
            let mut next = u64::from(low);
            while let Some(b) = other.ranges.get(j).filter(|b| b.1 < low) {
                let _ = b;
                j += 1;
            }
            let mut k = j;
            while let Some(&(b_low, b_high)) = other.ranges.get(k).filter(|b| b.0 <= high) {
                if u64::from(b_low) > next {
                    out.push_range(u32::try_from(next).unwrap_or(u32::MAX), b_low - 1);
                }
                next = next.max(u64::from(b_high) + 1);
                k += 1;
            }
            if next <= u64::from(high) {
                out.push_range(u32::try_from(next).unwrap_or(u32::MAX), high);
            }
        }
        out
    }

    /// The numbers that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges.iter().chain(&other.ranges).copied())
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<T: IntoIterator<Item = Uid>>(iter: T) -> Self {
        Self::from_ranges(iter.into_iter().map(|uid| (uid.value(), uid.value())))
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (low, high)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if low == high {
                write!(f, "{low}")?;
            } else {
                write!(f, "{low}:{high}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UidSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> UidSet {
        UidSet::from_ranges(text.split(',').filter(|t| !t.is_empty()).map(|t| {
            let (a, b) = t.split_once(':').unwrap_or((t, t));
            (a.parse().unwrap(), b.parse().unwrap())
        }))
    }

    #[test]
    fn ranges_are_sorted_joined_and_counted() {
        assert_eq!(set("5,1:3,2:4,9").to_string(), "1:5,9");
        assert_eq!(set("1:4294967295").len(), 4_294_967_295);
        assert!(set("3:5").contains(5) && !set("3:5").contains(6));
    }

    #[test]
    fn set_algebra() {
        assert_eq!(set("1:10").difference(&set("3,5:6,10:20")).to_string(), "1:2,4,7:9");
        assert_eq!(set("1:5,8:12").difference(&set("4:9")).to_string(), "1:3,10:12");
        assert_eq!(set("1:10,20").intersection(&set("5:20")).to_string(), "5:10,20");
        assert_eq!(set("1").union(&set("2,4")).to_string(), "1:2,4");
        assert_eq!(set("4294967295").difference(&set("1:4294967295")).to_string(), "");
    }

    #[test]
    fn star_means_the_greatest_and_names_it_always() {
        let n = |n| SetBound::Number(NonZeroU32::new(n).unwrap());
        let beyond = SequenceSet::Ranges(vec![(n(100), SetBound::Star)]);
        assert_eq!(beyond.resolve(15).unwrap().to_string(), "15:100");
        assert_eq!(beyond.to_string(), "100:*");
        assert!(
            SequenceSet::Ranges(vec![(SetBound::Star, SetBound::Star)])
                .resolve(0)
                .unwrap()
                .is_empty()
        );
    }
}
