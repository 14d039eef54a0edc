//! Quick resynchronisation: `SELECT … (QRESYNC (…))` and `UID FETCH … (CHANGEDSINCE n VANISHED)`.
//!
//! # Invariants
//! - VANISHED (EARLIER) names UIDs below UIDNEXT that are not in the mailbox, and nothing else [S-131].
//! - Its cost follows what was expunged and how many ranges were typed, never how wide they are [S-174].
//!
//! # Standards
//! RFC 7162 §3.2.5, §3.2.6 and §3.2.10.1.

use crate::refusal::Stop;
use crate::session::Session;
use crate::shared::{Event, Sink, relieve};
use crate::view::{Line, write_vanished};
use imap::command::QResync;
use imap::number::SeqNum;
use imap::set::UidSet;
use std::sync::Arc;

/// Records of history that are read to tell a client exactly what vanished, or as many as there are messages if
/// that is more. To name all that are not there costs no more than the gaps between the messages: whoever has
/// missed still more expunges is told that, as if they had been forgotten.
const RECORDS_MAX: usize = 65_536;

/// The UID up to which the client knows every expunge: that of the last pair of the leading run that still
/// matches (RFC 7162 §3.2.5.2) [S-124]. A number beyond EXISTS is a mismatch, not an error [S-125].
///
/// Both sets rise. Where a number and a UID rise together, the UID found can only run ahead of the one typed,
/// so each range costs its two ends and a search, however wide it is [S-116, S-174].
fn known_up_to(uid_at: impl Fn(u32) -> Option<u32>, numbers: &UidSet, uids: &UidSet) -> u32 {
    let mut known = 0;
    for (number, uid, count) in pairs(numbers, uids) {
        let matches = |i: u32| uid_at(number + i) == Some(uid + i);
        if !matches(0) {
            return known;
        }
        // The last that matches, between one that does and one that does not.
        let (mut low, mut high) = (0, count);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if matches(middle) { low = middle } else { high = middle }
        }
        known = uid + low;
        if high < count {
            return known;
        }
    }
    known
}

/// The pairs of two sets of equally many elements, as runs: the first number, the first UID, how many.
fn pairs(numbers: &UidSet, uids: &UidSet) -> impl Iterator<Item = (u32, u32, u32)> {
    let (mut numbers, mut uids) = (numbers.ranges().iter(), uids.ranges().iter());
    let (mut number, mut uid) = (None, None);
    std::iter::from_fn(move || {
        let (number_low, number_high) = number.take().or_else(|| numbers.next().copied())?;
        let (uid_low, uid_high) = uid.take().or_else(|| uids.next().copied())?;
        let last = (number_high - number_low).min(uid_high - uid_low);
        number = (number_low + last < number_high).then(|| (number_low + last + 1, number_high));
        uid = (uid_low + last < uid_high).then(|| (uid_low + last + 1, uid_high));
        // One set of all 2^32−1 numbers is as many as a count holds.
        Some((number_low, uid_low, last + 1))
    })
}

impl Session {
    /// Tells a client that selected the mailbox before what it has missed.
    pub(crate) async fn resync<S: Sink>(
        &mut self,
        qresync: &QResync,
        sink: &mut S,
    ) -> Result<(), Stop> {
        let view = self.selected()?;
        let state = Arc::clone(view.state());
        if state.uid_validity() != qresync.uid_validity {
            // Everything that the client has is void [S-118].
            return Ok(());
        }
        let view = self.selected()?;
        let last = state.uid_next().saturating_sub(1);
        let everything = UidSet::from_ranges([(1, last)]);
        // Only those that the client says it knows [S-121].
        let known = match &qresync.known_uids {
            Some(set) => set.resolve(0).unwrap_or_default().intersection(&everything),
            None => everything,
        };
        let mut within = known.clone();
        if let Some((numbers, uids)) = &qresync.match_data
            && let (Some(numbers), Some(uids)) = (numbers.resolve(0), uids.resolve(0))
        {
            // A sample that restricts expunges only, never flags [S-124, S-125, S-126].
            let numbering = view.numbering();
            let uid_at = |number| Some(numbering.uid_at(SeqNum::new(number)?)?.value());
            let from = known_up_to(uid_at, &numbers, &uids).saturating_add(1);
            within = within.intersection(&UidSet::from_ranges([(from, u32::MAX)]));
        }
        let since = self.since(qresync.mod_seq.value())?;
        self.tell_vanished(&within, since, sink).await?;
        let voice = self.voice;
        let view = self.selected()?;
        // The same as UID FETCH known-uids (FLAGS) (CHANGEDSINCE n) [S-120, S-122].
        for (_, message) in state.tree().changed_since_in(since.unwrap_or(0), &known) {
            view.tell_message(message, Line { flags: true, uid: true }, voice, sink);
            relieve(sink).await?;
        }
        Ok(())
    }

    /// The mod-sequence after which a client wants to hear; `None` when it names one that was never given out,
    /// which is answered with everything and counted [H6].
    pub(crate) fn since(&mut self, value: u64) -> Result<Option<u64>, Stop> {
        let highest = self.selected()?.state().highest_mod_seq().value();
        if value > highest {
            self.shared.observer.count(Event::ModSeqFromTheFuture);
            return Ok(None);
        }
        Ok(Some(value))
    }

    /// Writes VANISHED (EARLIER): before any FETCH [S-123, S-129], and no line when nothing vanished [S-133].
    /// It changes no number and no count [S-135].
    pub(crate) async fn tell_vanished<S: Sink>(
        &mut self,
        within: &UidSet,
        since: Option<u64>,
        sink: &mut S,
    ) -> Result<(), Stop> {
        let store = self.shared.store.clone();
        let view = self.selected()?;
        let last = view.state().uid_next().saturating_sub(1);
        let within = within.intersection(&UidSet::from_ranges([(1, last)]));
        let expunged = match since {
            // Nothing of what this client has missed is newer than the view.
            Some(since) if within.is_empty() || since >= view.state().highest_mod_seq().value() => {
                return Ok(());
            }
            Some(since) => {
                let records_max = RECORDS_MAX.max(view.exists() as usize);
                let id = view.mailbox.id();
                store.expunged_since(id, since, within.clone(), records_max).await?
            }
            None => Some(within.clone()),
        };
        let expunged = expunged.unwrap_or_else(|| {
            // Some of it was forgotten, or is too much to read: all that are not there [S-130, H6].
            self.shared.observer.count(Event::ResyncFallback);
            within
        });
        // The history may be newer than the view: what is still numbered has not vanished yet [S-134].
        let view = self.selected()?;
        let vanished = expunged.difference(&view.numbering().existing(&expunged));
        Ok(write_vanished(true, &vanished, sink).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn set(ranges: &[(u32, u32)]) -> UidSet {
        UidSet::from_ranges(ranges.iter().copied())
    }

    /// A mailbox of which every third UID is gone: 1, 2, 4, 5, 7, …
    fn uid_at(number: u32) -> Option<u32> {
        (number <= 1_000_000).then(|| number + (number - 1) / 2)
    }

    #[test]
    fn the_leading_run_of_match_data_counts() {
        // [S-124] [S-125]: RFC 7162 §3.2.5.2 compares in ascending order and stops.
        for (numbers, uids, known) in [
            (set(&[(1, 1), (3, 3)]), set(&[(1, 1), (4, 4)]), 4),
            (set(&[(1, 1), (3, 3)]), set(&[(1, 1), (3, 3)]), 1),
            (set(&[(1, 1)]), set(&[(2, 2)]), 0),
            (set(&[(1, 4)]), set(&[(1, 2), (4, 5)]), 5),
            (set(&[(1, 4)]), set(&[(1, 4)]), 2),
            (set(&[(3, 3), (5, 9)]), set(&[(4, 4), (7, 11)]), 8),
            (set(&[(999_999, 1_000_001)]), set(&[(1_499_998, 1_500_000)]), 1_499_999),
            (set(&[(1, u32::MAX)]), set(&[(1, u32::MAX)]), 2),
        ] {
            assert_eq!(known_up_to(uid_at, &numbers, &uids), known, "{numbers} {uids}");
        }
    }

    #[test]
    fn match_data_costs_its_ranges_not_their_width() {
        // [S-116] [S-174]
        let looked = Cell::new(0);
        let same = |number| {
            looked.set(looked.get() + 1);
            Some(number)
        };
        let all = set(&[(1, u32::MAX)]);
        assert_eq!(known_up_to(same, &all, &all), u32::MAX);
        assert!(looked.get() <= 34, "{} look-ups", looked.get());
        looked.set(0);
        let ranges: Vec<_> = (1..=100_000).map(|n| (n * 3, n * 3 + 1)).collect();
        let many = set(&ranges);
        assert_eq!(known_up_to(same, &many, &many), 300_001);
        assert!(looked.get() <= 200_000, "{} look-ups", looked.get());
    }
}
