//! Who works: registrations, and the sentinel that stands for the queue itself. Both are messages of the queue's own
//! mailbox, read (`\Seen`) and marked `$qw`, so that one SELECT shows all and nobody takes them for jobs.
//!
//! # Invariants
//! - A code belongs to the registration with the lowest UID; who comes later registers again (a bakery's numbers).
//! - A code that still marks a job is not taken either: its holder may live.

use super::{Marks, Outcome, OwnerCode, Policy, Queue, QueueError, Worker, chance, unix_now};
use crate::store::{sequence, store};
use imap::command::{SearchKey, StoreAction};
use imap::flag::{Flag, SystemFlag};
use imap::number::Uid;
use imap::set::UidSet;
use std::time::Duration;

/// What the sentinel says: the queue's rules, and whether it is drained.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sentinel {
    /// The message.
    pub uid: Uid,
    /// The rules.
    pub policy: Policy,
    /// No job is to be claimed.
    pub drained: bool,
}

/// The sentinel is a `$qw` message of the highest priority, which no worker's registration has.
const SENTINEL_PRIORITY: u8 = 3;

/// Whether a message is the queue's sentinel.
pub(super) fn is_sentinel(marks: &Marks) -> bool {
    marks.worker && marks.priority == SENTINEL_PRIORITY
}

/// Whether a message is a worker's registration.
pub(super) fn is_registration(marks: &Marks) -> bool {
    marks.worker && !is_sentinel(marks) && !marks.deleted
}

impl Queue {
    /// Registers a worker: from now on this queue can claim. `about` is told in the registration's text.
    ///
    /// # Errors
    /// [`QueueError::Crowded`], and what may end the connection.
    pub async fn register(&mut self, name: &str, about: &str) -> Outcome<Uid> {
        for _ in 0..=OwnerCode::COUNT {
            let uid = self.append_registration(name, about).await?;
            self.catch_up_with(uid).await?;
            let code = OwnerCode::of(uid.value());
            let taken = self.view.jobs().filter(|job| job.uid != uid).any(|job| {
                let registered = is_registration(&job.marks) && job.uid < uid;
                let same = registered && OwnerCode::of(job.uid.value()) == code;
                same || (!job.marks.worker && job.marks.names(code))
            });
            if !taken {
                if let Some(date) = self.view.job(uid).and_then(|job| job.arrived) {
                    self.clock_ahead = date.unix - unix_now();
                }
                self.worker = Some(Worker { uid, code });
                self.registration = Some((name.to_owned(), about.to_owned()));
                return Ok(uid);
            }
            self.delete(&UidSet::one(uid)).await?;
        }
        Err(QueueError::Crowded)
    }

    async fn append_registration(&mut self, name: &str, about: &str) -> Outcome<Uid> {
        let nonce = format!("{:016x}", chance());
        let name: String = name.chars().filter(|c| (' '..='~').contains(c)).collect();
        let text = format!(
            "Subject: Queue worker {name}\r\nX-Queue-Worker: {nonce}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{about}\r\n"
        );
        let flags = registration_marks(0).flags();
        let answer = self.append(&flags, text.as_bytes()).await?;
        let uid = match answer {
            Some(uid) => Some(uid),
            None => {
                let key = SearchKey::Header(b"X-Queue-Worker".to_vec(), nonce.into_bytes());
                self.search(vec![key]).await?.first().copied().and_then(Uid::new)
            }
        };
        uid.ok_or(QueueError::Unnumbered)
    }

    /// Adds a message to the queue's own mailbox; answers its UID where the server tells it.
    async fn append(&mut self, flags: &[Flag], text: &[u8]) -> Outcome<Option<Uid>> {
        self.cleared().await?;
        let mailbox = self.mailbox.clone();
        let answer = self.connection.append(&mailbox, flags, None, text).await?;
        self.learn(&answer.untagged);
        match answer.append_uid() {
            Some((validity, _)) if validity != self.uid_validity => Err(QueueError::Renewed),
            Some((_, uids)) => Ok(uids.first().and_then(Uid::new)),
            None => Ok(None),
        }
    }

    /// Learns of everything up to this message.
    async fn catch_up_with(&mut self, uid: Uid) -> Outcome<()> {
        self.refresh().await?;
        if self.view.job(uid).is_none_or(|job| job.arrived.is_none()) {
            self.load().await?;
        }
        Ok(())
    }

    /// Registers again if the registration is gone: the mailbox was made anew, or others took this worker for dead.
    pub(super) async fn confirm_registration(&mut self) -> Outcome<()> {
        let there = self.worker.is_some_and(|worker| self.view.job(worker.uid).is_some());
        match self.registration.clone() {
            Some((name, about)) if !there => {
                self.worker = None;
                self.register(&name, &about).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Takes the registration back.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn leave(&mut self) -> Outcome<()> {
        match self.worker.take() {
            Some(worker) => self.delete(&UidSet::one(worker.uid)).await,
            None => Ok(()),
        }
    }

    /// Keeps the registration although this connection ends: it stands for claims that are settled by others.
    pub fn stay_registered(&mut self) {
        self.worker = None;
    }

    /// The workers that are registered, by UID.
    pub fn workers(&self) -> impl Iterator<Item = Uid> {
        self.view.jobs().filter(|job| is_registration(&job.marks)).map(|job| job.uid)
    }

    /// Deletes messages that are the queue's own.
    pub(super) async fn delete(&mut self, uids: &UidSet) -> Outcome<()> {
        let Some(set) = sequence(uids) else { return Ok(()) };
        let deleted = [Flag::System(SystemFlag::Deleted)];
        self.ask(store(set, None, StoreAction::Add, &deleted)).await?.ok()?;
        self.expunge(uids).await
    }

    /// Toggles `$qh` on this worker's registration, or on another message that is no job: a sign of life, and a new
    /// HIGHESTMODSEQ, against which every server tests conditions.
    pub(super) fn submit_beat(&mut self) -> Outcome<Option<crate::Ticket>> {
        let own = self.worker.map(|worker| worker.uid);
        let mut known = self.view.jobs().filter(|job| job.marks.worker);
        let job = match own {
            Some(uid) => self.view.job(uid),
            None => known.next(),
        };
        let Some(job) = job else { return Ok(None) };
        let action = if job.marks.heartbeat { StoreAction::Remove } else { StoreAction::Add };
        let Some(set) = sequence(&UidSet::one(job.uid)) else { return Ok(None) };
        let body = store(set, None, action, &super::alphabet::heartbeat());
        Ok(Some(self.connection.submit(body)?))
    }

    /// Makes the sentinel, or tells of the one that is there: the one with the lowest UID.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn init(&mut self, policy: &Policy) -> Outcome<Sentinel> {
        if self.sentinel().await?.is_none() {
            let Policy { lease, attempts_max, backoff_min, backoff_max } = policy;
            let text = format!(
                "Subject: Queue settings\r\nX-Queue-Lease: {}\r\nX-Queue-Attempts: {attempts_max}\r\n\
                 X-Queue-Backoff: {} {}\r\n\r\nThis message stands for the queue. Leave it here.\r\n",
                lease.as_millis(),
                backoff_min.as_millis(),
                backoff_max.as_millis(),
            );
            let flags = registration_marks(SENTINEL_PRIORITY).flags();
            self.append(&flags, text.as_bytes()).await?;
            self.refresh().await?;
        }
        self.sentinel().await?.ok_or(QueueError::Unnumbered)
    }

    /// The sentinel, if the queue has one; what is not loaded is not seen.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn sentinel(&mut self) -> Outcome<Option<Sentinel>> {
        let found = self.view.jobs().find(|job| is_sentinel(&job.marks));
        let Some((uid, drained)) = found.map(|job| (job.uid, job.marks.done)) else {
            return Ok(None);
        };
        let text = self.message(uid).await?.unwrap_or_default();
        let policy = read_policy(&String::from_utf8_lossy(&text), &self.policy);
        Ok(Some(Sentinel { uid, policy, drained }))
    }

    /// Whether the queue is drained: jobs are finished, none is begun.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.view.jobs().find(|job| is_sentinel(&job.marks)).is_some_and(|job| job.marks.done)
    }

    /// Drains the queue, or ends that.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn drain(&mut self, drained: bool) -> Outcome<bool> {
        let found = self.view.jobs().find(|job| is_sentinel(&job.marks)).map(|job| job.uid);
        let Some(set) = found.and_then(|uid| sequence(&UidSet::one(uid))) else {
            return Ok(false);
        };
        let action = if drained { StoreAction::Add } else { StoreAction::Remove };
        self.ask(store(set, None, action, &super::alphabet::done())).await?.ok()?;
        Ok(true)
    }
}

fn registration_marks(priority: u8) -> Marks {
    let others = vec![Flag::System(SystemFlag::Seen)];
    Marks { worker: true, priority, others, ..Marks::default() }
}

/// The rules that a sentinel's header tells; what it does not tell is as before.
fn read_policy(text: &str, before: &Policy) -> Policy {
    let field = |name: &str| {
        let head = text.lines().take_while(|line| !line.is_empty());
        let mut values = head.filter_map(|line| line.split_once(':'));
        let value = values.find(|(field, _)| field.eq_ignore_ascii_case(name))?.1;
        Some(value.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>())
    };
    let mut policy = before.clone();
    if let Some([lease]) = field("X-Queue-Lease").as_deref() {
        policy.lease = Duration::from_millis(*lease);
    }
    if let Some([attempts]) = field("X-Queue-Attempts").as_deref() {
        let attempts = u8::try_from(*attempts).unwrap_or(Marks::ATTEMPTS_MAX);
        policy.attempts_max = attempts.clamp(1, Marks::ATTEMPTS_MAX);
    }
    if let Some([least, most]) = field("X-Queue-Backoff").as_deref() {
        policy.backoff_min = Duration::from_millis(*least);
        policy.backoff_max = Duration::from_millis(*most);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_tells_the_rules() {
        let text = "Subject: x\r\nx-queue-lease: 1500\r\nX-Queue-Attempts: 99\r\nX-Queue-Backoff: 10 20\r\n\r\n\
                    X-Queue-Lease: 7\r\n";
        let policy = read_policy(text, &Policy::default());
        assert_eq!(policy.lease, Duration::from_millis(1500));
        assert_eq!((policy.attempts_max, policy.backoff_max), (15, Duration::from_millis(20)));
        assert_eq!(read_policy("nothing", &policy), policy);
    }
}
