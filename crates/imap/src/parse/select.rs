//! SELECT and EXAMINE with their parameters.

use super::{Cursor, DecodeError, Parsed, mod_seq_or_zero};
use crate::command::{QResync, Select};
use crate::number::UidValidity;
use crate::set::{SequenceSet, SetBound};

/// `select = "SELECT" SP mailbox [select-params]; select-params = SP "(" select-param *(SP select-param) ")"` [S-40]
pub(super) fn select(c: &mut Cursor<'_>, read_only: bool) -> Parsed<Select> {
    let mailbox = c.spaced_mailbox()?;
    let mut select = Select { mailbox, read_only, condstore: false, qresync: None };
    if !c.take(b' ') {
        return Ok(select);
    }
    c.byte(b'(', "( and a parameter")?;
    loop {
        let at = c.at();
        // A parameter given twice is an error [S-41].
        let name = c.atom("CONDSTORE or QRESYNC")?;
        if name.eq_ignore_ascii_case(b"CONDSTORE") && !select.condstore {
            select.condstore = true;
        } else if name.eq_ignore_ascii_case(b"QRESYNC") && select.qresync.is_none() {
            c.space()?;
            select.qresync = Some(qresync(c)?);
        } else {
            return Err(DecodeError::new(at, "CONDSTORE or QRESYNC, each at most once"));
        }
        if c.take(b')') {
            return Ok(select);
        }
        c.space()?;
    }
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"` (RFC 7162 §7) [S-114]
fn qresync(c: &mut Cursor<'_>) -> Parsed<QResync> {
    c.byte(b'(', "( and the last known UIDVALIDITY")?;
    let at = c.at();
    let uid_validity = UidValidity::new(c.number_not_zero()?.get())
        .ok_or_else(|| DecodeError::new(at, "a UIDVALIDITY from 1"))?;
    c.space()?;
    let mod_seq = mod_seq_or_zero(c)?;
    let mut parsed = QResync { uid_validity, mod_seq, known_uids: None, match_data: None };
    let mut more = c.take(b' ');
    if more && c.peek() != Some(b'(') {
        parsed.known_uids = Some(plain_set(c)?);
        more = c.take(b' ');
    }
    if more {
        c.byte(b'(', "( and sequence match data")?;
        let at = c.at();
        let numbers = plain_set(c)?;
        c.space()?;
        let uids = plain_set(c)?;
        c.byte(b')', ")")?;
        // Both sets ascend and have equally many elements [S-116, C-23].
        match (ascending(&numbers), ascending(&uids)) {
            (Some(a), Some(b)) if a == b => parsed.match_data = Some((numbers, uids)),
            _ => return Err(DecodeError::new(at, "two ascending sets of equally many elements")),
        }
    }
    c.byte(b')', ")")?;
    Ok(parsed)
}

/// A set without `*` and without `$`.
fn plain_set(c: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let at = c.at();
    let set = c.sequence_set()?;
    if set.has_star() || set == SequenceSet::Saved {
        return Err(DecodeError::new(at, "a set of numbers without *"));
    }
    Ok(set)
}

/// How many elements the set has, if each is greater than the one before.
fn ascending(set: &SequenceSet) -> Option<u64> {
    let SequenceSet::Ranges(ranges) = set else { return None };
    let mut count = 0;
    let mut last = 0;
    for range in ranges {
        let (SetBound::Number(low), SetBound::Number(high)) = range else { return None };
        let (low, high) = (low.get(), high.get());
        if low <= last || high < low {
            return None;
        }
        count += u64::from(high - low) + 1;
        last = high;
    }
    Some(count)
}
