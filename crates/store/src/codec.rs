//! The store's own compact encoding: variable-length numbers, length-prefixed octets, sets as gaps.
//!
//! # Invariants
//! - What does not decode whole is damaged: nothing is guessed, nothing is ignored.
//! - Decoding never allocates more than the input is long.

use crate::engine::EngineError;
use crate::flags::FlagSet;
use imap::number::{ModSeq, Uid};
use imap::set::UidSet;

/// Writes values to the end of a buffer.
#[derive(Default)]
pub(crate) struct Writer {
    /// What has been written.
    pub(crate) out: Vec<u8>,
}

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.out.push(value);
    }

    /// LEB128: seven bits an octet, the lowest first.
    pub(crate) fn number(&mut self, value: u64) {
        self.wide(u128::from(value));
    }

    pub(crate) fn wide(&mut self, mut value: u128) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                return self.out.push(low);
            }
            self.out.push(low | 0x80);
        }
    }

    /// A signed number: zigzag, so that small ones stay short.
    pub(crate) fn signed(&mut self, value: i64) {
        self.number((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
    }

    pub(crate) fn flags(&mut self, flags: FlagSet) {
        self.wide(flags.0);
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.number(octets.len() as u64);
        self.out.extend_from_slice(octets);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.octets(text.as_bytes());
    }

    /// A set as the gap before each range and the range's length.
    pub(crate) fn set(&mut self, set: &UidSet) {
        self.number(set.ranges().len() as u64);
        let mut before = 0;
        for &(low, high) in set.ranges() {
            self.number(u64::from(low - before));
            self.number(u64::from(high - low));
            before = high;
        }
    }
}

/// Reads values from the front of a buffer.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, EngineError>;

fn damaged(what: &str) -> EngineError {
    EngineError::Damaged(format!("a stored record is cut short or malformed at its {what}"))
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| damaged("octet"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn wide(&mut self) -> Read<u128> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("number"))
    }

    pub(crate) fn number(&mut self) -> Read<u64> {
        u64::try_from(self.wide()?).map_err(|_| damaged("number"))
    }

    pub(crate) fn number_32(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| damaged("number"))
    }

    pub(crate) fn signed(&mut self) -> Read<i64> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(crate) fn flags(&mut self) -> Read<FlagSet> {
        Ok(FlagSet(self.wide()?))
    }

    pub(crate) fn mod_seq(&mut self) -> Read<ModSeq> {
        ModSeq::new(self.number()?).ok_or_else(|| damaged("mod-sequence"))
    }

    pub(crate) fn uid(&mut self) -> Read<Uid> {
        Uid::new(self.number_32()?).ok_or_else(|| damaged("UID"))
    }

    pub(crate) fn octets(&mut self) -> Read<&'a [u8]> {
        let len = usize::try_from(self.number()?).map_err(|_| damaged("length"))?;
        let (octets, rest) = self.rest.split_at_checked(len).ok_or_else(|| damaged("octets"))?;
        self.rest = rest;
        Ok(octets)
    }

    pub(crate) fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.octets()?).map_err(|_| damaged("text"))
    }

    /// How many items follow; never more than octets are left.
    pub(crate) fn count(&mut self) -> Read<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| damaged("count"))?;
        if count > self.rest.len() { Err(damaged("count")) } else { Ok(count) }
    }

    pub(crate) fn set(&mut self) -> Read<UidSet> {
        let mut set = UidSet::new();
        let mut before = 0_u32;
        for _ in 0..self.count()? {
            let low = before.checked_add(self.number_32()?).ok_or_else(|| damaged("set"))?;
            let high = low.checked_add(self.number_32()?).ok_or_else(|| damaged("set"))?;
            set.push_range(low, high);
            before = high;
        }
        Ok(set)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Read<()> {
        if self.is_empty() { Ok(()) } else { Err(damaged("end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut w = Writer::default();
        let set = UidSet::from_ranges([(1, 3), (9, 9), (u32::MAX, u32::MAX)]);
        w.number(u64::MAX);
        w.wide(u128::MAX);
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            w.signed(n);
        }
        w.set(&set);
        w.text("ü");
        let mut r = Reader::new(&w.out);
        assert_eq!(r.number().unwrap(), u64::MAX);
        assert_eq!(r.wide().unwrap(), u128::MAX);
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(r.signed().unwrap(), n);
        }
        assert_eq!(r.set().unwrap(), set);
        assert_eq!(r.text().unwrap(), "ü");
        r.end().unwrap();
        for cut in 0..w.out.len() {
            let mut r = Reader::new(w.out.get(..cut).unwrap());
            let whole = r.number().is_ok()
                && r.wide().is_ok()
                && (0..5).all(|_| r.signed().is_ok())
                && r.set().is_ok()
                && r.text().is_ok();
            assert!(!whole, "cut at {cut}");
        }
    }
}
