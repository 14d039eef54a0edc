//! The batch: everything that waits, applied in order to the latest states and made durable in one commit.
//!
//! A plain state machine: `submit` queues, `poll` makes one commit of all that waits, `complete` publishes and
//! answers. A thread drives it in production, the simulator in tests.
//!
//! # Invariants
//! - Changes are applied in the order in which they were submitted, each to the state that the one before
//!   left [H2].
//! - A change, its mod-sequence and its expunge record are one durable step [S-173].
//! - Nothing is published or answered before the commit is durable [H1]; nothing is answered NO whose
//!   outcome is unknown.
//! - Folds ride along; they change no state.
//! - Several committers may work at once, each on logs and new bodies that no other has in hand; what waits for the same log stays in
//!   its order. Where others write too, a batch begins by learning what they wrote.

mod work;

pub(crate) use work::RENAMED;

use crate::account::AccountChange;
use crate::change::{Change, Error, Outcome};
use crate::engine::{
    AccountId, AccountRow, BodyId, Commit, Engine, EngineError, Fold, Held, LogId, MailboxId,
    Standing,
};
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use futures_channel::oneshot;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use work::Work;

/// What a job asks for.
pub(crate) enum Task {
    Change {
        change: Change,
        /// The user who asks; `None` for delivery and administration.
        by: Option<AccountId>,
    },
    /// A new account, with its INBOX.
    CreateAccount { name: String, row: AccountRow },
    /// A new record in an account's row.
    UpdateAccount { name: String, record: Vec<u8> },
    /// The end of an account whose mailboxes are all open here.
    DeleteAccount { name: String, id: AccountId },
    /// A new UIDVALIDITY for a mailbox that is doubtful.
    Renew { mailbox: MailboxId },
    /// Pages that replace a mailbox's deltas; they hold `state`.
    Fold { fold: Fold, state: Arc<MailboxState> },
    /// A page that replaces an account's deltas.
    FoldAccount,
}

impl Task {
    /// Whether it may write to [`AccountId::SHARED`], which others only read.
    fn writes_directory(&self) -> bool {
        match self {
            Self::Change { change: Change::Account { account, change }, .. } => {
                let gives =
                    matches!(change, AccountChange::SetAcl { .. } | AccountChange::Delete { .. });
                gives || *account == AccountId::SHARED
            }
            Self::DeleteAccount { .. } | Self::FoldAccount => true,
            _ => false,
        }
    }
}

/// A task with everything it needs in memory, and where the answer goes.
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) mailboxes: Vec<Arc<OpenMailbox>>,
    /// The accounts whose names, quota or usage it is about, and [`AccountId::SHARED`] for the directory.
    pub(crate) accounts: Vec<Arc<OpenAccount>>,
    pub(crate) reply: oneshot::Sender<Result<Outcome, Error>>,
}

impl Job {
    /// The logs that it may write to; of the others that it has it only reads.
    fn logs(&self) -> impl Iterator<Item = LogId> {
        let directory = self.task.writes_directory();
        let accounts = self.accounts.iter().map(|open| open.id());
        let accounts = accounts.filter(move |id| directory || *id != AccountId::SHARED);
        self.mailboxes.iter().map(|open| LogId::from(open.id)).chain(accounts.map(LogId::from))
    }

    /// What nobody else may have in hand meanwhile.
    fn claims(&self) -> impl Iterator<Item = Claim> {
        let messages = match &self.task {
            Task::Change { change: Change::Append { messages, .. }, .. }
            | Task::Change { change: Change::Post { messages, .. }, .. } => messages.as_slice(),
            _ => &[],
        };
        let new = messages.iter().filter(|message| !message.body.is_committed());
        self.logs().map(Claim::Log).chain(new.map(|message| Claim::Body(message.body.id())))
    }
}

/// What only one committer may have in hand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Claim {
    /// A log that is written to.
    Log(LogId),
    /// A body whose row no commit has written yet: deliveries of one message to several mailboxes share it.
    Body(BodyId),
}

struct Queue {
    waiting: VecDeque<Job>,
    /// What committers have in hand; kept only where there are several of them.
    busy: HashSet<Claim>,
    closing: bool,
    broken: Option<String>,
}

/// How many jobs one commit takes at most, so that one batch cannot grow without bound.
const JOBS_MAX: usize = 1024;

/// The queue that all writers share.
pub(crate) struct Batcher {
    queue: Mutex<Queue>,
    wake: Condvar,
    lanes: usize,
}

impl Batcher {
    /// For so many committers.
    pub(crate) fn new(lanes: usize) -> Self {
        let (waiting, busy) = (VecDeque::new(), HashSet::new());
        let queue = Queue { waiting, busy, closing: false, broken: None };
        Self { queue: Mutex::new(queue), wake: Condvar::new(), lanes }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job, or answers it at once when nothing can be written any more.
    pub(crate) fn submit(&self, job: Job) {
        let mut queue = self.lock();
        if let Some(why) = &queue.broken {
            let error = Error::Unavailable(format!(
                "writing stopped after a failure: {why}; restart the server"
            ));
            return drop(job.reply.send(Err(error)));
        }
        if queue.closing {
            return drop(job.reply.send(Err(Error::ShuttingDown)));
        }
        queue.waiting.push_back(job);
        drop(queue);
        self.wake.notify_one();
    }

    /// Takes no more jobs; those queued are still done.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_all();
    }

    /// The next jobs; waits for some, and answers `None` when there are none and there will be none.
    pub(crate) fn wait(&self) -> Option<Taken> {
        let mut queue = self.lock();
        loop {
            let jobs = queue.take(self.lanes);
            if !jobs.is_empty() {
                return Some(Taken { jobs });
            }
            if queue.closing && queue.waiting.is_empty() {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next jobs, if there are any now.
    pub(crate) fn take(&self) -> Option<Taken> {
        let jobs = self.lock().take(self.lanes);
        (!jobs.is_empty()).then_some(Taken { jobs })
    }

    /// These are in hand no more.
    pub(crate) fn give_back(&self, claims: &[Claim]) {
        if self.lanes > 1 {
            let mut queue = self.lock();
            for claim in claims {
                queue.busy.remove(claim);
            }
            drop(queue);
            self.wake.notify_all();
        }
    }

    /// What to answer for an engine's error, and whether to go on at all.
    pub(crate) fn heed(&self, error: EngineError) -> Error {
        if let EngineError::Broken(why) = &error {
            self.refuse_from_now_on(why);
        }
        error.into()
    }

    /// Takes no more jobs because the outcome of a write is unknown [H1].
    pub(crate) fn refuse_from_now_on(&self, why: &str) {
        let mut queue = self.lock();
        queue.broken = Some(why.to_owned());
        for job in queue.waiting.drain(..) {
            let error = Error::Unavailable(format!("writing stopped after a failure: {why}"));
            drop(job.reply.send(Err(error)));
        }
    }
}

impl Queue {
    /// The first jobs of whose claims nobody has one in hand. One that must be left keeps those behind it for the same
    /// logs.
    fn take(&mut self, lanes: usize) -> Vec<Job> {
        if lanes == 1 {
            let count = self.waiting.len().min(JOBS_MAX);
            return self.waiting.drain(..count).collect();
        }
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        let mut passed: HashSet<LogId> = HashSet::new();
        for job in self.waiting.drain(..) {
            let free = job.claims().all(|claim| !self.busy.contains(&claim));
            if taken.len() < JOBS_MAX && free && job.logs().all(|log| !passed.contains(&log)) {
                taken.push(job);
            } else {
                passed.extend(job.logs());
                left.push_back(job);
            }
        }
        self.waiting = left;
        self.busy.extend(taken.iter().flat_map(Job::claims));
        taken
    }
}

/// Jobs that are in a committer's hands.
pub(crate) struct Taken {
    jobs: Vec<Job>,
}

impl Taken {
    /// What is to be given back.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.jobs.iter().flat_map(Job::claims).collect()
    }

    /// Where the logs that will be written stand in memory, and those that are only read.
    pub(crate) fn held(&self) -> (Vec<Held>, Vec<Held>) {
        let written: HashSet<LogId> = self.jobs.iter().flat_map(Job::logs).collect();
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for job in &self.jobs {
            let mailboxes = job.mailboxes.iter().map(|open| open.held());
            let accounts = job.accounts.iter().map(|open| open.held());
            all.extend(mailboxes.chain(accounts).filter(|held| seen.insert(held.log)));
        }
        all.into_iter().partition(|held| written.contains(&held.log))
    }

    /// Applies the jobs to the states that these standings lead to.
    pub(crate) fn apply(
        self,
        standings: &[Standing],
        engine: &dyn Engine,
        now: i64,
    ) -> Result<Batch, EngineError> {
        let mut work = Work::new(now);
        if let Err(error) = work.learn(standings, &self.jobs) {
            let answer = Error::from(EngineError::Damaged(error.to_string()));
            self.fail(&answer);
            return Err(error);
        }
        for job in self.jobs {
            work.apply(job, engine);
        }
        work.finish();
        Ok(Batch { work })
    }

    /// Answers the failure to all.
    pub(crate) fn fail(self, error: &Error) {
        for job in self.jobs {
            drop(job.reply.send(Err(error.clone())));
        }
    }
}

/// A commit on its way and the answers that wait for it.
pub(crate) struct Batch {
    work: Work,
}

impl Batch {
    /// What the engine is to make durable.
    pub(crate) fn commit(&self) -> &Commit {
        &self.work.commit
    }

    /// How many changes are in it.
    pub(crate) fn len(&self) -> usize {
        self.work.replies.len()
    }

    /// Publishes and answers, or answers the failure to all. Tells which mailboxes want folding.
    pub(crate) fn complete(
        self,
        result: Result<(), EngineError>,
        batcher: &Batcher,
    ) -> Vec<Arc<OpenMailbox>> {
        match result {
            Ok(()) => self.work.publish(),
            Err(error) => {
                self.work.fail(&batcher.heed(error));
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::NewMessage;
    use crate::engine::{BodyRef, BodyRow};
    use crate::receive::NewBody;
    use imap::command::DateTime;

    fn delivery(body: &NewBody) -> Job {
        let mailbox = MailboxId { account: AccountId(1), number: 1 };
        let internal_date = DateTime { unix: 0, zone_minutes: 0 };
        let messages = vec![NewMessage { body: body.clone(), flags: Vec::new(), internal_date }];
        let task = Task::Change { change: Change::Append { mailbox, messages }, by: None };
        let (reply, _) = oneshot::channel();
        Job { task, mailboxes: Vec::new(), accounts: Vec::new(), reply }
    }

    #[test]
    fn of_committers_one_alone_writes_a_new_body() {
        let body = BodyRef { locator: Vec::new(), len: 0, crc: 0 };
        let body = NewBody::new(BodyRow { id: BodyId(7), body, meta: Vec::new() });
        let batcher = Batcher::new(2);
        batcher.submit(delivery(&body));
        let first = batcher.take().unwrap();
        batcher.submit(delivery(&body));
        assert!(batcher.take().is_none(), "the first may be about to write the row");
        batcher.give_back(&first.claims());
        let second = batcher.take().expect("the first has failed, since the row is not written");
        body.note_committed();
        batcher.submit(delivery(&body));
        assert!(batcher.take().is_some(), "nothing is left to write but the message");
        drop((first, second));
    }
}
