//! What a mirror makes of each response, and what it asks for next.

use super::link::{Link, MESSAGES_MAX, Phase};
use super::{
    Checkpoint, Delta, MessageState, Mirror, Reason, Seal, Step, Told, Way, above, flag_texts,
};
use crate::answer::{Answer, fetched};
use imap::encode::{Code, Status};
use imap::number::{ModSeq, Uid};
use imap::response::{FetchData, Response, ResponseCode};
use imap::set::UidSet;
use std::collections::BTreeMap;

impl Mirror {
    pub(super) fn take_answer(&mut self, answer: &Answer) {
        let own = match self.link.phase {
            // Nothing is selected, or another mailbox.
            Phase::Enabling => &[],
            Phase::Selecting => self.of_this_mailbox(&answer.untagged),
            _ => answer.untagged.as_slice(),
        };
        own.iter().for_each(|response| self.take_response(response));
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

    /// Of what came with SELECT, what is about the mailbox selected: all behind CLOSED, else from the first on that
    /// only SELECT tells [C-29].
    fn of_this_mailbox<'a>(&mut self, all: &'a [Response]) -> &'a [Response] {
        let closed = |response: &Response| {
            let known = ResponseCode::Known(Code::Closed);
            matches!(response, Response::Status { code: Some(code), .. } if *code == known)
        };
        if let Some(at) = all.iter().rposition(closed) {
            return all.get(at + 1..).unwrap_or_default();
        }
        let first = all.iter().position(|response| {
            let code = matches!(response, Response::Status { code: Some(_), .. });
            code || matches!(response, Response::Flags(_) | Response::Exists(_))
        });
        let (before, own) = all.split_at(first.unwrap_or(all.len()));
        // With QRESYNC it could be what has changed.
        let told = |r: &Response| matches!(r, Response::Fetch { .. } | Response::Vanished { .. });
        self.link.unsure |= self.link.way == Way::QResync && before.iter().any(told);
        own
    }

    pub(super) fn take_response(&mut self, response: &Response) {
        if !matches!(response, Response::Status { .. }) {
            self.link.number(self.messages.keys().copied());
        }
        match response {
            Response::Status { code: Some(ResponseCode::Known(code)), .. } => self.take_code(code),
            Response::Status { code: Some(ResponseCode::Other { name, arguments }), .. } => {
                self.link.zero |= name == "HIGHESTMODSEQ" && arguments.trim_ascii() == b"0";
            }
            Response::Exists(count) => self.link.grow(*count),
            // After ENABLE QRESYNC, too [C-28].
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
            _ => {}
        }
    }

    /// Only what is known is looked at, never how wide the ranges are; EARLIER moves no number [C-26].
    fn take_vanished(&mut self, earlier: bool, uids: &UidSet) {
        let known: Vec<u32> = uids
            .ranges()
            .iter()
            .flat_map(|(low, high)| self.messages.range(*low..=*high).map(|(uid, _)| *uid))
            .collect();
        if !earlier {
            self.link.vanish_unnamed(uids.len().saturating_sub(known.len() as u64));
            self.link.vanish(&known);
        }
        known.into_iter().for_each(|uid| self.forget(uid));
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
            self.link.unsure |= flags.is_some() && !self.link.will_be_named(number);
            return;
        };
        if self.link.phase == Phase::Everything {
            self.link.named.insert(uid);
        }
        let before = self.messages.get(&uid);
        let flags = flags.or_else(|| before.map(|state| state.flags.clone()));
        let mod_seq = mod_seq.or_else(|| before.and_then(|state| state.mod_seq));
        let Some(flags) = flags else { return };
        let state = MessageState { flags, mod_seq };
        if before != Some(&state) {
            self.changed.insert(uid);
            self.messages.insert(uid, state);
        }
    }

    fn forget(&mut self, uid: u32) {
        if self.messages.remove(&uid).is_some() {
            self.changed.insert(uid);
        }
        self.link.named.remove(&uid);
    }

    /// What an OK means for what was asked.
    fn finish_phase(&mut self, answer: &Answer) {
        match self.link.phase {
            // Only what ENABLED lists is used [C-1].
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
            Phase::Everything => {
                let named = std::mem::take(&mut self.link.named);
                self.keep_only(|uid| named.contains(&uid));
            }
            Phase::Uids => {
                let found = answer.found();
                self.keep_only(|uid| found.contains(uid));
            }
            Phase::Changes | Phase::Arrivals | Phase::Level => {}
        }
    }

    fn fall_back(&mut self, reason: Reason) {
        self.reasons.push(reason);
        self.link.way = match (reason, self.link.way) {
            (Reason::NotEnabled, Way::QResync) => Way::CondStore,
            _ => Way::Plain,
        };
    }

    fn selected(&mut self) {
        let Link { way, no_mod_seqs, computed, uid_validity, .. } = self.link;
        // On an empty mailbox 0 is what no message has had yet [C-21].
        let without = computed.is_none() && !(self.link.zero && self.link.exists == 0);
        if way != Way::Plain && (no_mod_seqs || without) {
            // [C-9]
            self.fall_back(Reason::NoModSeqs);
        }
        let Some(kept) = self.checkpoint else { return };
        if Some(kept.uid_validity) != uid_validity {
            // [C-5, C-6]
            self.reasons.push(Reason::UidValidityChanged);
            self.messages.clear();
            self.changed.clear();
            (self.checkpoint, self.told, self.anew) = (None, None, true);
        } else if self.link.way != Way::Plain && computed < kept.mod_seq {
            // [C-36]
            self.reasons.push(Reason::ModSeqFell);
            self.checkpoint = Some(Checkpoint { mod_seq: None, ..kept });
        }
    }

    /// Forgets what is not there.
    fn keep_only(&mut self, there: impl Fn(u32) -> bool) {
        let gone: Vec<u32> = self.messages.keys().copied().filter(|uid| !there(*uid)).collect();
        gone.into_iter().for_each(|uid| self.forget(uid));
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Step {
        match self.link.phase {
            Phase::Enabling => self.select(),
            Phase::Selecting => self.after_select(),
            _ => self.check(),
        }
    }

    /// What SELECT itself has not told [C-8].
    fn after_select(&mut self) -> Step {
        let since = self.checkpoint.and_then(|checkpoint| checkpoint.mod_seq);
        // EXISTS is as old as the rest that SELECT tells: who is told of all changes has heard of arrivals.
        self.link.grew &= usize::try_from(self.link.exists).is_ok_and(|n| n > self.messages.len());
        match (self.link.way, since) {
            (Way::Plain, _) | (_, None) => self.ask_everything(),
            (Way::QResync, Some(_)) => self.check(),
            (Way::CondStore, Some(since)) => {
                self.link.phase = Phase::Changes;
                // Nothing has changed: there is nothing to ask for [C-7].
                if self.link.computed <= Some(since) {
                    return self.check();
                }
                self.link.grew = false;
                self.ask_fetch(&UidSet::from_ranges([(1, u32::MAX)]), Some(since))
            }
        }
    }

    /// Compares with EXISTS, asks for what is missing, and answers when both are equal.
    fn check(&mut self) -> Step {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let exists = self.link.exists;
        if exists > MESSAGES_MAX {
            let why =
                format!("EXISTS is {exists}, and {MESSAGES_MAX} messages are followed at most");
            return Step::Stuck(why);
        }
        if self.link.unsure {
            return self.recover(Reason::NumberUnknown);
        }
        let grew = self.link.grew;
        // Until it is level, as many as EXISTS may be others, if messages arrived behind what was asked for.
        if count == exists && (!grew || self.link.phase == Phase::Level) {
            return self.level();
        }
        // Without QRESYNC this is how it is learnt what is gone; with it, it should not happen.
        if self.link.way == Way::CondStore && self.link.phase == Phase::Changes {
            return self.ask_uids();
        }
        if count <= exists && grew {
            let last = self.messages.last_key_value().map_or(0, |(uid, _)| *uid);
            self.link.phase = Phase::Arrivals;
            self.link.grew = false;
            return self.ask_fetch(&above(last), None);
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
        self.link.level();
        let mod_seq: Option<ModSeq> = self.link.computed.filter(|_| self.link.way != Way::Plain);
        let checkpoint = Checkpoint { uid_validity, mod_seq };
        self.checkpoint = Some(checkpoint);
        // What was told and not committed is told again [C-11].
        if let Some(told) = self.told.take().and_then(|seal| seal.open()) {
            self.changed.extend(told.changed);
            self.anew |= told.anew;
        }
        let told = Told {
            changed: std::mem::take(&mut self.changed),
            anew: std::mem::take(&mut self.anew),
        };
        let (mut changed, mut gone) = (BTreeMap::new(), UidSet::new());
        for uid in told.changed.iter().copied().filter_map(Uid::new) {
            match self.messages.get(&uid.value()) {
                Some(state) => drop(changed.insert(uid, state.clone())),
                None => gone.push(uid.value()),
            }
        }
        let (anew, seal) = (told.anew, Seal::new(told));
        self.told = Some(seal.clone());
        let delta = Delta { anew, changed, gone, checkpoint, seal };
        Step::Level(delta)
    }
}
