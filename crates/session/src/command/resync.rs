//! Quick resynchronisation: `SELECT … (QRESYNC (…))` and `UID FETCH … (CHANGEDSINCE n VANISHED)`.
//!
//! # Invariants
//! - VANISHED (EARLIER) names UIDs below UIDNEXT that are not in the mailbox, and nothing else [S-131].
//! - Its cost follows what was expunged and how many ranges were typed, never how wide they are [S-174].
//!
//! # Standards
//! RFC 7162 §3.2.5, §3.2.6 and §3.2.10.1.

use crate::refusal::{Refusal, Stop};
use crate::session::Session;
use crate::shared::{Event, Sink, relieve};
use crate::view::{Line, View};
use imap::command::QResync;
use imap::encode;
use imap::number::SeqNum;
use imap::set::{SequenceSet, SetBound, UidSet};
use std::sync::Arc;

/// Checks what the grammar cannot: both sets of the match data rise and have the same length [S-116].
pub(super) fn check_match_data(qresync: &QResync) -> Result<(), Refusal> {
    let Some((numbers, uids)) = &qresync.match_data else { return Ok(()) };
    let expected = "expected message numbers and UIDs that rise, as many of one as of the other";
    match (ascending(numbers), ascending(uids)) {
        (Some(numbers), Some(uids)) if numbers.len() == uids.len() => Ok(()),
        _ => Err(Refusal::bad(expected)),
    }
}

/// The set, if it was typed in strictly rising order and without `*`.
fn ascending(set: &SequenceSet) -> Option<UidSet> {
    let SequenceSet::Ranges(ranges) = set else { return None };
    let mut last = 0;
    for range in ranges {
        let (SetBound::Number(low), SetBound::Number(high)) = range else { return None };
        if low.get() <= last || high < low {
            return None;
        }
        last = high.get();
    }
    set.resolve(0)
}

/// The UID up to which the client knows every expunge: that of the last pair of the leading run that still
/// matches (RFC 7162 §3.2.5.2) [S-124]. Looks at no more pairs than there are messages.
fn known_up_to(view: &View, numbers: &UidSet, uids: &UidSet) -> u32 {
    let matching = numbers.iter().zip(uids.iter()).take_while(|(number, uid)| {
        let at = SeqNum::new(*number).and_then(|seq| view.numbering().uid_at(seq));
        // A number beyond EXISTS is a mismatch, not an error [S-125].
        at.is_some_and(|found| found.value() == *uid)
    });
    matching.last().map_or(0, |(_, uid)| uid)
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
        if state.uid_validity() != qresync.uid_validity || !self.shared.has_mod_seqs() {
            // Everything that the client has is void [S-118, S-119].
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
            && let (Some(numbers), Some(uids)) = (ascending(numbers), ascending(uids))
        {
            // A sample that restricts expunges only, never flags [S-124, S-125, S-126].
            let from = known_up_to(view, &numbers, &uids).saturating_add(1);
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
            Some(since) => {
                let expunged = store.expunged_since(view.mailbox.id(), since).await?;
                expunged.intersection(&within)
            }
            None => within,
        };
        // The history may be newer than the view: what is still numbered has not vanished yet [S-134].
        let view = self.selected()?;
        let vanished = expunged.difference(&view.numbering().existing(&expunged));
        encode::vanished(sink.buffer(), true, &vanished);
        Ok(relieve(sink).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn set(ranges: &[(u32, u32)]) -> SequenceSet {
        let bound = |n| SetBound::Number(NonZeroU32::new(n).unwrap());
        SequenceSet::Ranges(ranges.iter().map(|(a, b)| (bound(*a), bound(*b))).collect())
    }

    #[test]
    fn match_data_must_rise() {
        // [S-116]
        assert!(ascending(&set(&[(1, 3), (5, 5)])).is_some());
        assert!(ascending(&set(&[(1, u32::MAX)])).is_some());
        assert!(ascending(&set(&[(3, 3), (2, 2)])).is_none());
        assert!(ascending(&set(&[(3, 1)])).is_none());
        assert!(ascending(&set(&[(3, 4), (4, 5)])).is_none());
    }
}
