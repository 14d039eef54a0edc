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

mod work;

pub(crate) use work::RENAMED;

use crate::change::{Change, Error, Outcome};
use crate::engine::{AccountId, AccountRow, Commit, Engine, EngineError, Fold};
use crate::mailbox::MailboxState;
use crate::open::{OpenAccount, OpenMailbox};
use futures_channel::oneshot;
use std::collections::VecDeque;
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
    /// Pages that replace deltas.
    Fold { fold: Fold, state: Option<Arc<MailboxState>> },
}

/// A task with everything it needs in memory, and where the answer goes.
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) mailboxes: Vec<Arc<OpenMailbox>>,
    /// The accounts whose names, quota or usage it is about, and [`AccountId::SHARED`] for the directory.
    pub(crate) accounts: Vec<Arc<OpenAccount>>,
    pub(crate) reply: oneshot::Sender<Result<Outcome, Error>>,
}

struct Queue {
    waiting: VecDeque<Job>,
    closing: bool,
    broken: Option<String>,
}

/// How many jobs one commit takes at most, so that one batch cannot grow without bound.
const JOBS_MAX: usize = 1024;

/// The queue that all writers share.
pub(crate) struct Batcher {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Batcher {
    pub(crate) fn new() -> Self {
        let queue = Queue { waiting: VecDeque::new(), closing: false, broken: None };
        Self { queue: Mutex::new(queue), wake: Condvar::new() }
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

    /// Waits for work; false when there is none and there will be none.
    pub(crate) fn wait(&self) -> bool {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            if queue.closing {
                return false;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Applies what waits; `None` when nothing does.
    pub(crate) fn poll(&self, engine: &dyn Engine, now: i64) -> Option<Batch> {
        let jobs: Vec<Job> = {
            let mut queue = self.lock();
            let count = queue.waiting.len().min(JOBS_MAX);
            queue.waiting.drain(..count).collect()
        };
        if jobs.is_empty() {
            return None;
        }
        let mut work = Work::new(now);
        for job in jobs {
            work.apply(job, engine);
        }
        work.finish();
        Some(Batch { work })
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
                if let EngineError::Broken(why) = &error {
                    batcher.refuse_from_now_on(why);
                }
                self.work.fail(&Error::from(error));
                Vec::new()
            }
        }
    }
}
