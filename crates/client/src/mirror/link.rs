//! What a mirror knows of the connection that it has now.

use super::{Abilities, Way};
use imap::number::{ModSeq, UidValidity};
use std::collections::BTreeSet;

/// Where catching up has got to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Phase {
    /// ENABLE was sent.
    #[default]
    Enabling,
    /// SELECT was sent.
    Selecting,
    /// What changed since the checkpoint was asked for.
    Changes,
    /// Everything was asked for.
    Everything,
    /// Only which UIDs there are.
    Uids,
    /// What arrived was asked for.
    Arrivals,
    /// Nothing is on its way.
    Level,
}

/// How many messages a mailbox may have: a number is remembered for each.
pub(super) const MESSAGES_MAX: u32 = 100_000_000;

/// The connection's part of the state; void when it ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) way: Way,
    pub(super) phase: Phase,
    pub(super) uid_validity: Option<UidValidity>,
    pub(super) exists: u32,
    /// The UID of each message number, 0 for those not known yet.
    numbers: Vec<u32>,
    /// The numbers are the known UIDs in their order, and were not needed yet.
    numbers_due: bool,
    /// HIGHESTMODSEQ was told since the last tagged answer.
    pub(super) told: Option<ModSeq>,
    /// The greatest MODSEQ since the last tagged answer.
    pub(super) heard: Option<ModSeq>,
    /// HIGHESTMODSEQ as RFC 7162 §6 computes it.
    pub(super) computed: Option<ModSeq>,
    pub(super) no_mod_seqs: bool,
    /// HIGHESTMODSEQ 0 was told: no mod-sequence has been given yet, or none ever will [C-21].
    pub(super) zero: bool,
    /// A message number came that could not be placed.
    pub(super) unsure: bool,
    /// How often everything was asked for since the mirror was level.
    pub(super) everything: u32,
    /// Messages have arrived since arrivals were asked for last.
    pub(super) grew: bool,
    /// The UIDs that the answer at hand has named and not taken back.
    pub(super) named: BTreeSet<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Abilities { qresync: false, condstore: false })
    }
}

impl Link {
    pub(super) fn new(abilities: Abilities) -> Self {
        // [C-3]
        let way = match (abilities.qresync, abilities.condstore) {
            (true, _) => Way::QResync,
            (false, true) => Way::CondStore,
            (false, false) => Way::Plain,
        };
        Self {
            way,
            phase: Phase::Enabling,
            uid_validity: None,
            exists: 0,
            numbers: Vec::new(),
            numbers_due: false,
            told: None,
            heard: None,
            computed: None,
            no_mod_seqs: false,
            zero: false,
            unsure: false,
            everything: 0,
            grew: false,
            named: BTreeSet::new(),
        }
    }

    pub(super) fn is_enabling(&self) -> bool {
        self.phase == Phase::Enabling
    }

    pub(super) fn is_level(&self) -> bool {
        self.phase == Phase::Level
    }

    pub(super) fn selecting(&mut self) {
        self.phase = Phase::Selecting;
    }

    pub(super) fn asked_everything(&mut self) {
        self.phase = Phase::Everything;
        self.everything += 1;
        self.grew = false;
        self.unsure = false;
        self.named.clear();
        // The answer names all of them, and what they were taken for may have been wrong.
        self.numbers.fill(0);
    }

    /// The mailbox is known as it is: as many messages as there are, so numbers are the order of UIDs.
    pub(super) fn level(&mut self) {
        if self.phase != Phase::Level {
            self.numbers = Vec::new();
            self.numbers_due = true;
        }
        self.phase = Phase::Level;
        self.everything = 0;
    }

    /// Before the first response that moves or names a number: the UIDs known since the mirror was level. Who catches
    /// up and leaves never pays for them.
    pub(super) fn number(&mut self, uids: impl Iterator<Item = u32>) {
        if std::mem::take(&mut self.numbers_due) {
            self.numbers = uids.collect();
        }
    }

    pub(super) fn asked_uids(&mut self) {
        self.phase = Phase::Uids;
        self.unsure = false;
        self.named.clear();
    }

    /// At a tagged answer HIGHESTMODSEQ moves [C-12, C-13, C-14].
    pub(super) fn settle(&mut self) {
        let told = self.told.take();
        let heard = self.heard.take();
        self.computed = match told {
            Some(told) => Some(told),
            None => self.computed.max(heard),
        };
    }

    /// The message with this number is gone; answers its UID if that is known.
    pub(super) fn expunge(&mut self, number: u32) -> Option<u32> {
        self.exists = self.exists.saturating_sub(1);
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        if at >= self.numbers.len() {
            self.unsure = true;
            return None;
        }
        // One that was never named leaves a difference to EXISTS, if it was known from before.
        Some(self.numbers.remove(at)).filter(|uid| *uid != 0)
    }

    /// The messages with these UIDs, ascending, are gone: later numbers move [C-27].
    pub(super) fn vanish(&mut self, uids: &[u32]) {
        let before = self.numbers.len();
        self.numbers.retain(|uid| *uid == 0 || uids.binary_search(uid).is_err());
        for _ in before - self.numbers.len()..uids.len() {
            self.remove_unnamed();
        }
        let count = u32::try_from(uids.len()).unwrap_or(u32::MAX);
        self.exists = self.exists.saturating_sub(count);
    }

    fn remove_unnamed(&mut self) -> bool {
        let at = self.numbers.iter().rposition(|uid| *uid == 0);
        at.map(|at| self.numbers.remove(at)).is_some()
    }

    /// Messages that were announced and never named are gone: that many UIDs of a VANISHED are unknown [C-27].
    pub(super) fn vanish_unnamed(&mut self, count: u64) {
        for _ in 0..count.min(u64::from(self.exists)) {
            if !self.remove_unnamed() {
                return;
            }
            self.exists -= 1;
        }
    }

    /// EXISTS.
    pub(super) fn grow(&mut self, exists: u32) {
        self.exists = exists;
        if exists > MESSAGES_MAX {
            return;
        }
        let count = usize::try_from(exists).unwrap_or(usize::MAX);
        if count < self.numbers.len() {
            // EXISTS never shrinks a mailbox (RFC 3501 §7.3.1).
            self.unsure = true;
        }
        self.grew |= count > self.numbers.len();
        self.numbers.resize(count, 0);
    }

    /// A FETCH response names this UID for this number.
    pub(super) fn name(&mut self, number: u32, uid: u32) {
        let at = number.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.numbers.get_mut(at)) {
            Some(slot) if *slot == 0 || *slot == uid => *slot = uid,
            _ => self.unsure = true,
        }
    }

    /// Whether the number is of a message that was announced, and will be asked for or has been.
    pub(super) fn will_be_named(&self, number: u32) -> bool {
        let asked = match self.phase {
            Phase::Level => self.grew,
            phase => phase == Phase::Everything,
        };
        let at = number.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        asked && at.and_then(|at| self.numbers.get(at)) == Some(&0)
    }

    /// The UID of a number.
    pub(super) fn uid_of(&self, number: u32) -> Option<u32> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.numbers.get(at).copied().filter(|uid| *uid != 0)
    }
}
