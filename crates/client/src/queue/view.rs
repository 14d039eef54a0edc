//! What a worker has been told of the mailbox, and since when each message has been as it is.
//!
//! # Invariants
//! - Every response of every command goes through here: FETCH, EXPUNGE and VANISHED may come with any of them.
//! - A message that is told again unchanged keeps its age, through reconnections too; any change starts it anew.

use super::alphabet::Marks;
use imap::command::DateTime;
use imap::encode::Code;
use imap::number::{ModSeq, Uid};
use imap::response::{FetchData, Response, ResponseCode};
use std::collections::BTreeMap;
use std::time::Instant;

/// A message of the queue's mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Job {
    /// The message.
    pub uid: Uid,
    /// Its mod-sequence; `None` on servers without.
    pub mod_seq: Option<ModSeq>,
    /// Its flags.
    pub marks: Marks,
    /// INTERNALDATE, once told: in the future for a job that is for later.
    pub arrived: Option<DateTime>,
    /// Whether its time has come.
    pub due: bool,
    /// Since when it has been seen to be so, on this machine's monotonic clock.
    pub since: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct View {
    jobs: BTreeMap<u32, Job>,
    /// The UID of each message number, as far as told; only where EXPUNGE, and not VANISHED, says what is gone.
    numbers: Option<Vec<Option<u32>>>,
    highest: u64,
    /// Up to which UID messages were fetched.
    fetched_to: u32,
    /// Whether the server has said since that there are more.
    news: bool,
}

impl View {
    /// Nothing yet; `numbered` where the server says EXPUNGE.
    #[must_use]
    pub fn new(numbered: bool) -> Self {
        Self { numbers: numbered.then(Vec::new), ..Self::default() }
    }

    /// All messages told of, by UID.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// This message, if it is there.
    #[must_use]
    pub fn job(&self, uid: Uid) -> Option<&Job> {
        self.jobs.get(&uid.value())
    }

    /// From which UID messages are to be fetched, if the server has spoken of new ones; then no more news.
    pub fn take_news(&mut self) -> Option<u32> {
        std::mem::take(&mut self.news).then(|| self.fetched_to.saturating_add(1))
    }

    /// Whether the server has spoken of messages that were not fetched.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// Counts all messages told of so far as fetched.
    pub fn set_fetched(&mut self) {
        self.fetched_to = self.jobs.last_key_value().map_or(0, |(uid, _)| *uid);
    }

    /// The greatest mod-sequence told.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Says that the time of these messages has come.
    pub fn set_due(&mut self, due: impl Iterator<Item = u32>) {
        for uid in due {
            if let Some(job) = self.jobs.get_mut(&uid) {
                job.due = true;
            }
        }
    }

    /// Forgets a message of which the server says nothing any more.
    pub fn remove(&mut self, uid: u32) {
        self.jobs.remove(&uid);
    }

    /// Takes what a new SELECT and FETCH have told in place of what was known, and keeps the ages.
    pub fn succeed(&mut self, mut newer: Self) {
        for (uid, job) in &mut newer.jobs {
            if let Some(known) = self.jobs.get(uid)
                && (known.mod_seq, &known.marks) == (job.mod_seq, &job.marks)
            {
                job.since = known.since;
                job.due |= known.due;
            }
        }
        *self = newer;
    }

    /// Takes one response.
    pub fn take(&mut self, response: &Response, now: Instant) {
        match response {
            Response::Exists(count) => {
                self.news = true;
                if let (Some(numbers), Ok(count)) = (&mut self.numbers, usize::try_from(*count)) {
                    numbers.resize(count, None);
                }
            }
            Response::Expunge(number) => {
                let at = number.value() as usize - 1;
                let numbers = self.numbers.as_mut().filter(|numbers| at < numbers.len());
                if let Some(Some(uid)) = numbers.map(|numbers| numbers.remove(at)) {
                    self.jobs.remove(&uid);
                }
            }
            Response::Vanished { uids, .. } => {
                for (low, high) in uids.ranges() {
                    let gone: Vec<u32> = self.jobs.range(low..=high).map(|(uid, _)| *uid).collect();
                    for uid in gone {
                        self.jobs.remove(&uid);
                    }
                }
            }
            Response::Status {
                code: Some(ResponseCode::Known(Code::HighestModSeq(n))), ..
            } => {
                self.highest = self.highest.max(n.value());
            }
            Response::Fetch { number, items } => self.fetched(number.value(), items, now),
            _ => {}
        }
    }

    fn fetched(&mut self, number: u32, items: &[FetchData], now: Instant) {
        let (mut uid, mut marks, mut mod_seq, mut arrived) = (None, None, None, None);
        for item in items {
            match item {
                FetchData::Uid(value) => uid = Some(*value),
                FetchData::Flags(flags) => marks = Some(Marks::read(flags)),
                FetchData::ModSeq(value) => mod_seq = Some(*value),
                FetchData::InternalDate(date) => arrived = Some(*date),
                _ => {}
            }
        }
        self.highest = self.highest.max(mod_seq.map_or(0, ModSeq::value));
        let place = (number as usize).checked_sub(1);
        let slot = self.numbers.as_mut().and_then(|numbers| numbers.get_mut(place?));
        let uid = match (uid, slot) {
            (Some(uid), Some(slot)) => {
                *slot = Some(uid.value());
                uid
            }
            (Some(uid), None) => uid,
            (None, Some(Some(known))) => match Uid::new(*known) {
                Some(uid) => uid,
                None => return,
            },
            (None, _) => return,
        };
        self.know(uid, marks, mod_seq, arrived, now);
    }

    fn know(
        &mut self,
        uid: Uid,
        marks: Option<Marks>,
        mod_seq: Option<ModSeq>,
        arrived: Option<DateTime>,
        now: Instant,
    ) {
        match self.jobs.get_mut(&uid.value()) {
            Some(job) => {
                job.arrived = job.arrived.or(arrived);
                // A mod-sequence without flags is no news to decide on: the old one makes a write fail safely.
                let Some(marks) = marks else { return };
                let mod_seq = mod_seq.or(job.mod_seq);
                if (job.mod_seq, &job.marks) != (mod_seq, &marks) {
                    (job.mod_seq, job.marks, job.since) = (mod_seq, marks, now);
                }
            }
            None => {
                let Some(marks) = marks else { return };
                let job = Job { uid, mod_seq, marks, arrived, due: false, since: now };
                self.jobs.insert(uid.value(), job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::response;
    use std::time::Duration;

    fn told(view: &mut View, lines: &[&str], now: Instant) {
        for line in lines {
            view.take(&response::parse(line.as_bytes()).unwrap(), now);
        }
    }

    fn uids(view: &View) -> Vec<u32> {
        view.jobs().map(|job| job.uid.value()).collect()
    }

    #[test]
    fn ages_start_anew_with_every_change_and_with_nothing_else() {
        let (mut view, start) = (View::new(true), Instant::now());
        let later = start + Duration::from_secs(5);
        told(&mut view, &["* 1 EXISTS", "* 1 FETCH (UID 8 FLAGS () MODSEQ (3))"], start);
        told(&mut view, &["* 1 FETCH (UID 8 FLAGS () MODSEQ (3))"], later);
        let job = |view: &View| view.job(Uid::new(8).unwrap()).unwrap().clone();
        assert_eq!(job(&view).since, start);
        told(&mut view, &["* 1 FETCH (FLAGS (\\Seen) MODSEQ (4))"], later);
        assert_eq!((job(&view).since, view.highest()), (later, 4));
        let mut again = View::new(true);
        told(&mut again, &["* 1 EXISTS", "* 1 FETCH (UID 8 FLAGS (\\Seen) MODSEQ (4))"], later);
        view.succeed(again);
        assert_eq!(job(&view).since, later);
    }

    #[test]
    fn what_is_gone_is_known_by_number_and_by_uid() {
        let (mut view, now) = (View::new(true), Instant::now());
        told(&mut view, &["* 3 EXISTS"], now);
        for line in [
            "* 1 FETCH (UID 5 FLAGS ())",
            "* 2 FETCH (UID 6 FLAGS ())",
            "* 3 FETCH (UID 9 FLAGS ())",
        ] {
            told(&mut view, &[line], now);
        }
        told(&mut view, &["* 2 EXPUNGE", "* 7 EXPUNGE"], now);
        assert_eq!(uids(&view), [5, 9]);
        told(&mut view, &["* 2 FETCH (FLAGS ($done))", "* 1 EXPUNGE"], now);
        assert_eq!(uids(&view), [9]);
        assert!(view.jobs().all(|job| job.marks.done));
        told(&mut view, &["* VANISHED 1:4294967295"], now);
        assert_eq!((uids(&view), view.take_news()), (vec![], Some(1)));
        assert!(!view.has_news());
    }
}
