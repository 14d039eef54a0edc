//! What a mirror knows of the connection that it has now.

use super::{Abilities, Way};
use imap::number::{ModSeq, UidValidity};

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

/// The connection's part of the state; void when it ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) way: Way,
    pub(super) phase: Phase,
    pub(super) uid_validity: Option<UidValidity>,
    pub(super) exists: u32,
    /// The UID of each message number, 0 for those not known yet; `None` until the mirror was level once.
    pub(super) numbers: Option<Vec<u32>>,
    /// HIGHESTMODSEQ was told since the last tagged answer.
    pub(super) told: Option<ModSeq>,
    /// The greatest MODSEQ since the last tagged answer.
    pub(super) heard: Option<ModSeq>,
    /// HIGHESTMODSEQ as RFC 7162 §6 computes it.
    pub(super) computed: Option<ModSeq>,
    pub(super) no_mod_seqs: bool,
    /// A message number came that could not be placed.
    pub(super) unsure: bool,
    /// How often everything was asked for since the mirror was level.
    pub(super) everything: u32,
    /// EXISTS when arrivals were asked for last.
    pub(super) exists_asked: u32,
    /// The UIDs that the answer at hand has named.
    pub(super) named: Vec<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(Abilities { qresync: false, condstore: false })
    }
}

impl Link {
    pub(super) fn new(abilities: Abilities) -> Self {
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
            numbers: None,
            told: None,
            heard: None,
            computed: None,
            no_mod_seqs: false,
            unsure: false,
            everything: 0,
            exists_asked: 0,
            named: Vec::new(),
        }
    }

    pub(super) fn is_enabling(&self) -> bool {
        self.phase == Phase::Enabling
    }

    pub(super) fn selecting(&mut self) {
        self.phase = Phase::Selecting;
    }

    pub(super) fn asked_everything(&mut self) {
        self.phase = Phase::Everything;
        self.everything += 1;
        self.exists_asked = self.exists;
        self.unsure = false;
        self.named.clear();
    }

    pub(super) fn asked_uids(&mut self) {
        self.phase = Phase::Uids;
        self.unsure = false;
        self.named.clear();
    }

    /// At a tagged answer HIGHESTMODSEQ moves (C-14).
    pub(super) fn settle(&mut self) {
        let told = self.told.take();
        let heard = self.heard.take();
        self.computed = match told {
            Some(told) => Some(told),
            None => self.computed.max(heard),
        };
    }

    /// The message with this number is gone.
    pub(super) fn expunge(&mut self, number: u32) -> Option<u32> {
        self.exists = self.exists.saturating_sub(1);
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        let numbers = self.numbers.as_mut().filter(|numbers| at < numbers.len());
        match numbers.map(|numbers| numbers.remove(at)) {
            Some(uid) if uid != 0 => Some(uid),
            // A message that was announced and never named: there is nothing to forget.
            Some(_) => None,
            None => {
                self.unsure = true;
                None
            }
        }
    }

    /// The message with this UID is gone; VANISHED counts it in EXISTS unless it is EARLIER.
    pub(super) fn vanish(&mut self, uid: u32, earlier: bool) {
        let numbered = self.numbers.as_mut().and_then(|numbers| {
            let at = numbers.iter().position(|known| *known == uid)?;
            Some(numbers.remove(at))
        });
        if !earlier && (numbered.is_some() || self.numbers.is_none()) {
            self.exists = self.exists.saturating_sub(1);
        }
    }

    /// Messages that were announced and never named are gone: that many UIDs of a VANISHED are unknown.
    pub(super) fn vanish_unnamed(&mut self, count: u64) {
        let unnamed = match &self.numbers {
            Some(numbers) => numbers.iter().filter(|uid| **uid == 0).count() as u64,
            None => u64::from(self.exists),
        };
        let count = u32::try_from(count.min(unnamed)).unwrap_or(u32::MAX);
        self.exists = self.exists.saturating_sub(count);
        for _ in 0..count {
            let numbers = self.numbers.as_mut();
            let last = numbers.and_then(|n| Some((n.iter().rposition(|uid| *uid == 0)?, n)));
            if let Some((at, numbers)) = last {
                numbers.remove(at);
            }
        }
    }

    /// EXISTS.
    pub(super) fn grow(&mut self, exists: u32) {
        self.exists = exists;
        if let Some(numbers) = &mut self.numbers {
            let count = usize::try_from(exists).unwrap_or(usize::MAX);
            if count < numbers.len() {
                // EXISTS never shrinks a mailbox (RFC 3501 §7.3.1).
                self.unsure = true;
            } else {
                numbers.resize(count, 0);
            }
        }
    }

    /// A FETCH response names this UID for this number.
    pub(super) fn name(&mut self, number: u32, uid: u32) {
        let at = number.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let slot = self.numbers.as_mut().zip(at).and_then(|(numbers, at)| numbers.get_mut(at));
        match slot {
            Some(slot) if *slot == 0 || *slot == uid => *slot = uid,
            Some(_) => self.unsure = true,
            None => {}
        }
    }

    /// The UID of a number.
    pub(super) fn uid_of(&self, number: u32) -> Option<u32> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.numbers.as_ref()?.get(at).copied().filter(|uid| *uid != 0)
    }
}
