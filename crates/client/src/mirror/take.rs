//! What a mirror makes of each response, and what it asks for next.

use super::link::Phase;
use super::{
    Checkpoint, Delta, MessageState, Mirror, Reason, Step, Way, above, as_set, flag_texts,
};
use crate::answer::{Answer, fetched};
use imap::encode::{Code, Status};
use imap::number::{ModSeq, Uid};
use imap::response::{FetchData, Response, ResponseCode};
use imap::set::UidSet;

impl Mirror {
    pub(super) fn take_answer(&mut self, answer: &Answer) {
        answer.untagged.iter().for_each(|response| self.take_response(response));
        if let Some(ResponseCode::Known(code)) = &answer.code {
            self.take_code(code);
        }
        self.link.settle();
        if answer.status == Status::Ok {
            self.finish_phase(answer);
        } else if self.link.phase == Phase::Enabling {
            self.fall_back(Reason::NotEnabled);
        }
    }

    pub(super) fn take_response(&mut self, response: &Response) {
        match response {
            Response::Status { code: Some(ResponseCode::Known(code)), .. } => self.take_code(code),
            Response::Exists(count) => self.link.grow(*count),
            Response::Expunge(number) => {
                if let Some(uid) = self.link.expunge(number.value()) {
                    self.forget(uid);
                }
            }
            Response::Vanished { earlier, uids } => self.take_vanished(*earlier, uids),
            Response::Fetch { number, items } => self.take_fetch(number.value(), items),
            _ => {}
        }
    }

    fn take_code(&mut self, code: &Code) {
        match code {
            Code::HighestModSeq(value) => self.link.told = Some(*value),
            Code::NoModSeq => self.link.no_mod_seqs = true,
            Code::UidValidity(value) => self.link.uid_validity = Some(*value),
            // What came before it was about the mailbox before (RFC 7162 §3.2.11).
            Code::Closed => self.link.numbers = None,
            _ => {}
        }
    }

    /// Only what is known is looked at, never how wide the ranges are.
    fn take_vanished(&mut self, earlier: bool, uids: &UidSet) {
        let known: Vec<u32> = uids
            .ranges()
            .iter()
            .flat_map(|(low, high)| self.messages.range(*low..=*high).map(|(uid, _)| *uid))
            .collect();
        if !earlier {
            self.link.vanish_unnamed(uids.len().saturating_sub(known.len() as u64));
        }
        for uid in known {
            self.link.vanish(uid, earlier);
            self.forget(uid);
        }
    }

    fn take_fetch(&mut self, number: u32, items: &[FetchData]) {
        let told = fetched(items);
        if let Some(told) = &told {
            self.link.name(number, told.uid.value());
        }
        let flags = items.iter().find_map(|item| match item {
            FetchData::Flags(flags) => Some(flag_texts(flags)),
            _ => None,
        });
        let mod_seq = items.iter().find_map(|item| match item {
            FetchData::ModSeq(value) => Some(*value),
            _ => None,
        });
        self.link.heard = self.link.heard.max(mod_seq);
        let uid = told.map(|told| told.uid.value()).or_else(|| self.link.uid_of(number));
        let Some(uid) = uid else {
            self.link.unsure |= flags.is_some();
            return;
        };
        self.link.named.push(uid);
        let before = self.messages.get(&uid);
        let flags = flags.or_else(|| before.map(|state| state.flags.clone()));
        let mod_seq = mod_seq.or_else(|| before.and_then(|state| state.mod_seq));
        let Some(flags) = flags else { return };
        let state = MessageState { flags, mod_seq };
        if before != Some(&state) {
            self.changed.insert(uid, Some(state.clone()));
            self.messages.insert(uid, state);
        }
    }

    fn forget(&mut self, uid: u32) {
        if self.messages.remove(&uid).is_some() {
            self.changed.insert(uid, None);
        }
    }

    /// What an OK means for what was asked.
    fn finish_phase(&mut self, answer: &Answer) {
        match self.link.phase {
            Phase::Enabling => {
                let enabled = answer.untagged.iter().any(|response| match response {
                    Response::Enabled(names) => {
                        names.iter().any(|name| name.eq_ignore_ascii_case("QRESYNC"))
                    }
                    _ => false,
                });
                if !enabled {
                    self.fall_back(Reason::NotEnabled);
                }
            }
            Phase::Selecting => self.selected(),
            Phase::Everything => self.keep_only(&self.named_set()),
            Phase::Uids => self.keep_only(&as_set(&answer.found())),
            Phase::Changes | Phase::Arrivals | Phase::Level => {}
        }
    }

    fn named_set(&self) -> UidSet {
        as_set(&self.link.named)
    }

    fn fall_back(&mut self, reason: Reason) {
        self.reasons.push(reason);
        self.link.way = match (reason, self.link.way) {
            (Reason::NotEnabled, Way::QResync) => Way::CondStore,
            _ => Way::Plain,
        };
    }

    fn selected(&mut self) {
        if self.link.way != Way::Plain && (self.link.no_mod_seqs || self.link.computed.is_none()) {
            self.fall_back(Reason::NoModSeqs);
        }
        let known = self.checkpoint.map(|checkpoint| checkpoint.uid_validity);
        if known.is_some() && known != self.link.uid_validity {
            self.reasons.push(Reason::UidValidityChanged);
            self.messages.clear();
            self.changed.clear();
            (self.checkpoint, self.anew) = (None, true);
        }
    }

    /// Forgets what is not in the set.
    fn keep_only(&mut self, there: &UidSet) {
        let gone = self.messages.keys().copied().filter(|uid| !there.contains(*uid));
        let gone: Vec<u32> = gone.collect();
        gone.into_iter().for_each(|uid| self.forget(uid));
        // Message numbers are the order of UIDs, once all are known.
        self.link.numbers = None;
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Step {
        match self.link.phase {
            Phase::Enabling => self.select(),
            Phase::Selecting => self.after_select(),
            _ => self.check(),
        }
    }

    /// What SELECT itself has not told.
    fn after_select(&mut self) -> Step {
        let since = self.checkpoint.and_then(|checkpoint| checkpoint.mod_seq);
        match (self.link.way, since) {
            (Way::Plain, _) | (_, None) => self.ask_everything(),
            (Way::QResync, Some(_)) => self.check(),
            (Way::CondStore, Some(since)) => {
                self.link.phase = Phase::Changes;
                // Nothing has changed: there is nothing to ask for.
                if self.link.computed <= Some(since) {
                    return self.check();
                }
                self.ask_fetch(&UidSet::from_ranges([(1, u32::MAX)]), Some(since))
            }
        }
    }

    /// Compares with EXISTS, asks for what is missing, and answers when both are equal.
    fn check(&mut self) -> Step {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let exists = self.link.exists;
        if self.link.unsure {
            return self.recover(Reason::NumberUnknown);
        }
        if count == exists {
            return self.level();
        }
        if count < exists && exists > self.link.exists_asked {
            let last = self.messages.last_key_value().map_or(0, |(uid, _)| *uid);
            self.link.phase = Phase::Arrivals;
            self.link.exists_asked = exists;
            return self.ask_fetch(&above(last), None);
        }
        // Without QRESYNC this is how it is learnt what is gone; with it, it should not happen.
        if self.link.way == Way::CondStore && self.link.phase == Phase::Changes {
            return self.ask_uids();
        }
        self.recover(Reason::CountDiffers)
    }

    /// Asks for everything, unless that has not helped before.
    fn recover(&mut self, reason: Reason) -> Step {
        const TRIES_MAX: u32 = 3;
        if self.link.everything >= TRIES_MAX {
            let (exists, count) = (self.link.exists, self.messages.len());
            return Step::Stuck(format!("EXISTS is {exists}, and {count} messages were told"));
        }
        self.reasons.push(reason);
        self.ask_everything()
    }

    fn level(&mut self) -> Step {
        let Some(uid_validity) = self.link.uid_validity else {
            return Step::Stuck("SELECT told no UIDVALIDITY".into());
        };
        self.link.phase = Phase::Level;
        self.link.everything = 0;
        if self.link.numbers.is_none() {
            self.link.numbers = Some(self.messages.keys().copied().collect());
        }
        let mod_seq: Option<ModSeq> = self.link.computed.filter(|_| self.link.way != Way::Plain);
        let checkpoint = Checkpoint { uid_validity, mod_seq };
        self.checkpoint = Some(checkpoint);
        let mut delta = Delta {
            anew: std::mem::take(&mut self.anew),
            changed: std::collections::BTreeMap::new(),
            gone: UidSet::new(),
            checkpoint,
        };
        for (uid, state) in std::mem::take(&mut self.changed) {
            match (Uid::new(uid), state) {
                (Some(uid), Some(state)) => drop(delta.changed.insert(uid, state)),
                (_, None) => delta.gone.push(uid),
                (None, Some(_)) => {}
            }
        }
        Step::Level(delta)
    }
}
