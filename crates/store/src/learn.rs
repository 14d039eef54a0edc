//! What other writers did: from an engine's news to newer states in memory.
//!
//! # Invariants
//! - News are applied to the newest state that is known here, and only what is newer than it: so the committer and
//!   whoever asks meanwhile may learn the same in any order.
//! - A tree that is in memory is the base of a fold only as long as nobody else has folded.

use crate::account::{AccountDelta, AccountState};
use crate::delta::Delta;
use crate::engine::{EngineError, LogHead, News, Numbered, Standing, Visit};
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What news lead to.
pub(crate) enum Learnt<T> {
    /// Nothing that is not known.
    Nothing,
    /// A newer state, and the octets of the deltas that led to it.
    Newer(Arc<T>, usize),
    /// It is no more.
    Gone,
}

impl OpenMailbox {
    /// The state that the news lead to; nothing is published yet.
    pub(crate) fn learn(&self, standing: &Standing) -> Result<Learnt<MailboxState>, EngineError> {
        if !standing.head.doubtful {
            self.doubtful.store(false, Ordering::Release);
        }
        let now = self.published.state();
        let learnt = match &standing.news {
            News::None => Learnt::Nothing,
            News::Dropped => Learnt::Gone,
            News::Deltas(deltas) => follow(&now, deltas)?,
            News::Whole { pages, deltas } => {
                let read = Self::read(self.id, now.keywords.limit(), |page, delta| {
                    visit(pages, page)?;
                    visit(deltas, delta)?;
                    Ok(Some(standing.head))
                })?;
                match read {
                    Some(read) if read.published.state().highest > now.highest => self.take(read),
                    _ => Learnt::Nothing,
                }
            }
        };
        self.note_fold(standing.head);
        if let Learnt::Newer(state, _) = &learnt {
            self.recent.fetch_max(state.recent, Ordering::AcqRel);
        }
        Ok(learnt)
    }

    /// The mailbox was read anew, with the pages of the newest fold.
    fn take(&self, read: Self) -> Learnt<MailboxState> {
        let state = read.published.state();
        let newer = read.folded.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if newer.at > folded.at {
            let running = folded.running;
            *folded = newer;
            folded.running = running;
        }
        Learnt::Newer(state, 0)
    }

    /// Another writer has folded further than what is known here.
    fn note_fold(&self, head: LogHead) {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if head.folded > folded.at {
            folded.at = head.folded;
            folded.is_base = false;
            folded.pending = 0;
        }
    }

    /// Publishes what was learnt unless something newer is there already.
    pub(crate) fn publish_learnt(&self, learnt: Learnt<MailboxState>) {
        match learnt {
            Learnt::Nothing => {}
            Learnt::Gone => self.published.go(),
            Learnt::Newer(state, octets) => {
                self.published.publish_newer(state, |state| state.highest);
                let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
                folded.pending += octets;
            }
        }
    }
}

fn follow(now: &MailboxState, deltas: &Numbered) -> Result<Learnt<MailboxState>, EngineError> {
    let mut newer: Option<MailboxState> = None;
    let mut octets = 0;
    for (_, delta) in deltas.iter().filter(|(seq, _)| *seq > now.highest.value()) {
        let next = newer.as_ref().unwrap_or(now).advance(&Delta::decode(delta)?)?;
        newer = Some(next);
        octets += delta.len();
    }
    Ok(newer.map_or(Learnt::Nothing, |state| Learnt::Newer(Arc::new(state), octets)))
}

fn visit(numbered: &Numbered, each: Visit<'_>) -> Result<(), EngineError> {
    numbered.iter().try_for_each(|(number, octets)| each(*number, octets))
}

impl OpenAccount {
    /// The state that the news lead to; nothing is published yet, but for what the account has stored.
    pub(crate) fn learn(&self, standing: &Standing) -> Result<Learnt<AccountState>, EngineError> {
        if let Some(usage) = standing.usage {
            self.set_usage(usage);
        }
        let now = self.published.state();
        let read = match &standing.news {
            News::None => return Ok(Learnt::Nothing),
            News::Dropped => return Ok(Learnt::Gone),
            News::Deltas(deltas) => advance(&now, deltas)?,
            News::Whole { pages, deltas } => {
                let page = pages.first().map(|(_, octets)| AccountState::decode(now.id, octets));
                let page = page.transpose()?.unwrap_or_else(|| AccountState::unborn(now.id));
                advance(&page, deltas)?.or(Some(page))
            }
        };
        let newer = read.filter(|state| state.seq > now.seq);
        Ok(newer.map_or(Learnt::Nothing, |state| Learnt::Newer(Arc::new(state), 0)))
    }

    /// Publishes what was learnt unless something newer is there already.
    pub(crate) fn publish_learnt(&self, learnt: Learnt<AccountState>) {
        match learnt {
            Learnt::Nothing => {}
            Learnt::Gone => self.published.go(),
            Learnt::Newer(state, _) => self.published.publish_newer(state, |state| state.seq),
        }
    }
}

fn advance(now: &AccountState, deltas: &Numbered) -> Result<Option<AccountState>, EngineError> {
    let mut newer: Option<AccountState> = None;
    for (seq, delta) in deltas.iter().filter(|(seq, _)| *seq > now.seq) {
        let next = newer.as_ref().unwrap_or(now).advance(&AccountDelta::decode(delta)?, *seq);
        newer = Some(next);
    }
    Ok(newer)
}
