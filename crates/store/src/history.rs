//! The history of expunges: which UIDs vanished after a mod-sequence, and how far back that is known.
//!
//! # Invariants
//! - An answer is whole, or it is said that it cannot be: what was forgotten is never taken for nothing [H6].
//!
//! # Standards
//! RFC 7162 §3.2.6 and §5.3.

use crate::change::Error;
use crate::delta::decode_history;
use crate::engine::{EngineError, LogId, MailboxId};
use crate::store::Store;
use imap::set::UidSet;

impl Store {
    /// Forgets which messages were expunged longer than `keep_seconds` ago; answers how many records are gone.
    /// Who comes back from before them is told of every UID that is not there [S-130]. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unavailable`] or [`Error::Broken`].
    pub fn forget_history(&self, keep_seconds: i64) -> Result<u64, Error> {
        Ok(self.engine().forget_history(self.now().saturating_sub(keep_seconds))?)
    }

    /// The UIDs of the set expunged with a mod-sequence greater than `after` [S-128]; `None` when what has been
    /// forgotten may hold some of them [S-130, H6], and when more than `records_max` records would have to be
    /// read. Memory follows the ranges of the answer, not the history.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Unavailable`].
    pub async fn expunged_since(
        &self,
        mailbox: MailboxId,
        after: u64,
        within: UidSet,
        records_max: usize,
    ) -> Result<Option<UidSet>, Error> {
        let store = self.clone();
        let read = move || {
            let (mut found, mut records) = (Gathered::default(), 0);
            let add = &mut |_, octets: &[u8]| {
                records += 1;
                if records > records_max {
                    // Only to end the reading: it is seen by the count below.
                    return Err(EngineError::Behind);
                }
                found.add(&decode_history(octets)?.intersection(&within));
                Ok(())
            };
            let read = store.engine().history(LogId::from(mailbox), after, add);
            if records > records_max {
                return Ok(None);
            }
            Ok((read? <= after).then(|| found.set()))
        };
        self.blocking(read).await
    }
}

/// Ranges in the order in which they come, joined whenever they have doubled: what is held stays in proportion
/// to the set, and each range is sorted a logarithmic number of times.
#[derive(Default)]
struct Gathered {
    ranges: Vec<(u32, u32)>,
    joined: usize,
}

impl Gathered {
    const JOIN_MIN: usize = 65_536;

    fn add(&mut self, more: &UidSet) {
        self.ranges.extend_from_slice(more.ranges());
        if self.ranges.len() >= Self::JOIN_MIN.max(self.joined * 2) {
            self.ranges = UidSet::from_ranges(self.ranges.drain(..)).ranges().to_vec();
            self.joined = self.ranges.len();
        }
    }

    fn set(self) -> UidSet {
        UidSet::from_ranges(self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_ranges_are_joined_in_any_order() {
        let mut found = Gathered::default();
        let mut sorted = 0_u64;
        // Every other number, far from sorted, so that nothing joins until the second half comes.
        for n in 0..200_000_u32 {
            let uid = n.wrapping_mul(7919) % 200_000 * 2 + 1;
            let joined = found.joined;
            found.add(&UidSet::from_ranges([(uid, uid)]));
            sorted += if found.joined == joined { 0 } else { found.joined as u64 };
        }
        assert_eq!(found.ranges.len(), 200_000);
        assert!(sorted <= 400_000, "{sorted} ranges were sorted for 200000");
        for n in 0..200_000 {
            found.add(&UidSet::from_ranges([(n * 2 + 2, n * 2 + 2)]));
        }
        assert!(found.ranges.len() < 2 * 200_000);
        assert_eq!(found.set(), UidSet::from_ranges([(1, 400_000)]));
    }
}
