//! Keeping up with what other processes write to the same database.
//!
//! # Invariants
//! - The truth is asked for: at each sync point, and once a second for what somebody waits for. What others say of
//!   themselves only makes that sooner.
//! - Whoever asks gets an answer that was begun after asking; one question is on its way at a time, and all who come
//!   meanwhile share the next.
//! - Where there is one writer nothing is asked and nothing waits.

use super::Store;
use crate::change::Error;
use crate::engine::{Held, LogId, MailboxId, Standing};
use crate::open::{Account, Mailbox, OpenAccount, OpenMailbox};
use futures_channel::oneshot;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Something in memory that may be behind.
#[derive(Clone)]
enum Open {
    Mailbox(Arc<OpenMailbox>),
    Account(Arc<OpenAccount>),
}

impl Open {
    fn held(&self) -> Held {
        match self {
            Self::Mailbox(open) => open.held(),
            Self::Account(open) => open.held(),
        }
    }

    fn learn(&self, standing: &Standing) -> Result<(), Error> {
        match self {
            Self::Mailbox(open) => open.publish_learnt(open.learn(standing)?),
            Self::Account(open) => open.publish_learnt(open.learn(standing)?),
        }
        Ok(())
    }
}

struct Question {
    about: Vec<Open>,
    /// `None` when nobody waits.
    reply: Option<oneshot::Sender<Result<(), Error>>>,
}

/// The questions that wait for the one on its way.
#[derive(Default)]
pub(super) struct Asking {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    questions: Vec<Question>,
    is_asking: bool,
}

impl Store {
    /// A sync point: brings these up to what others have written by now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Damaged`]: then what is in memory may be older than what a client has been
    /// told elsewhere.
    pub async fn follow(
        &self,
        mailbox: Option<&Mailbox>,
        accounts: &[&Account],
    ) -> Result<(), Error> {
        if !self.engine().is_shared() {
            return Ok(());
        }
        let mailboxes: Vec<_> = mailbox.iter().map(|mailbox| &mailbox.open).collect();
        let accounts: Vec<_> = accounts.iter().map(|account| &account.0).collect();
        self.refresh(&mailboxes, &accounts).await
    }

    pub(super) async fn refresh(
        &self,
        mailboxes: &[&Arc<OpenMailbox>],
        accounts: &[&Arc<OpenAccount>],
    ) -> Result<(), Error> {
        if !self.engine().is_shared() {
            return Ok(());
        }
        let mailboxes = mailboxes.iter().map(|open| Open::Mailbox(Arc::clone(open)));
        let about = mailboxes.chain(accounts.iter().map(|open| Open::Account(Arc::clone(open))));
        let (reply, answer) = oneshot::channel();
        self.ask(Question { about: about.collect(), reply: Some(reply) });
        answer.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// Asks about everything in memory that somebody waits for. The host calls it each second, so that a change
    /// is told in that time though every hint was lost.
    pub fn follow_watched(&self) {
        if !self.engine().is_shared() {
            return;
        }
        let mailboxes = self.inner.registry.mailboxes();
        let watched = mailboxes.into_iter().filter(|open| open.published.is_watched());
        let mailboxes = watched.map(Open::Mailbox);
        let accounts = self.inner.registry.accounts();
        let watched = accounts.into_iter().filter(|open| open.published.is_watched());
        let about: Vec<_> = mailboxes.chain(watched.map(Open::Account)).collect();
        if !about.is_empty() {
            self.ask(Question { about, reply: None });
        }
    }

    /// From now on hears what others say that they have written.
    pub(super) fn listen(&self) {
        if !self.engine().is_shared() {
            return;
        }
        let store = Arc::downgrade(&self.inner);
        self.engine().listen(Arc::new(move |logs| {
            if let Some(inner) = store.upgrade() {
                Self { inner }.hear(logs);
            }
        }));
    }

    fn hear(&self, logs: &[LogId]) {
        let registry = &self.inner.registry;
        let open = |log: &LogId| match log.number {
            0 => registry.account(log.account).map(Open::Account),
            number => {
                let id = MailboxId { account: log.account, number };
                registry.mailbox(id).map(Open::Mailbox)
            }
        };
        let about: Vec<_> = logs.iter().filter_map(open).collect();
        if !about.is_empty() {
            self.ask(Question { about, reply: None });
        }
    }

    fn ask(&self, question: Question) {
        let mut waiting = self.asking();
        waiting.questions.push(question);
        if !std::mem::replace(&mut waiting.is_asking, true) {
            drop(waiting);
            let store = self.clone();
            self.inner.executor.run(Box::new(move || store.ask_all()));
        }
    }

    fn asking(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.inner.asking.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until nobody has a question. Blocks.
    fn ask_all(&self) {
        loop {
            let questions = {
                let mut waiting = self.asking();
                waiting.is_asking = !waiting.questions.is_empty();
                std::mem::take(&mut waiting.questions)
            };
            if questions.is_empty() {
                return;
            }
            let all = questions.iter().flat_map(|question| &question.about);
            let about: HashMap<LogId, Open> =
                all.map(|open| (open.held().log, open.clone())).collect();
            let answer = self.ask_about(&about);
            let replies = questions.into_iter().filter_map(|question| question.reply);
            replies.for_each(|reply| drop(reply.send(answer.clone())));
        }
    }

    fn ask_about(&self, about: &HashMap<LogId, Open>) -> Result<(), Error> {
        let held: Vec<Held> = about.values().map(Open::held).collect();
        for standing in self.engine().news(&held)? {
            if let Some(open) = about.get(&standing.log) {
                open.learn(&standing)?;
            }
        }
        Ok(())
    }
}
