//! The store: what sessions, delivery and administration talk to.
//!
//! Reading is taking a snapshot; writing is submitting a [`crate::Change`] and awaiting its [`Outcome`]. Between the
//! two stands one committer.
//!
//! # Invariants
//! - No runtime, no network: blocking work goes to the [`Executor`] that the host gives.
//! - Readers take a snapshot and hold nothing [H7].

mod follow;
mod submit;

use crate::batch::{Batch, Batcher, Claim, Job, Taken, Task};
use crate::change::{Error, Outcome};
use crate::engine::{
    AccountId, AccountRow, Begun, BodyId, BodyRef, BodyStore, Commit, Engine, EngineError,
    MailboxId,
};
use crate::open::{Account, Mailbox, OpenAccount, OpenMailbox};
use crate::receive::{Body, Receiver};
use crate::registry::Registry;
use follow::Asking;
use futures_channel::oneshot;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Runs work that may block.
pub trait Executor: Send + Sync + 'static {
    /// Runs the job, now or soon, on a thread that may block.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// The executor that runs each job at once, for tests and simulation.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Executor for Inline {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

/// Time and chance, from outside.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970-01-01T00:00:00Z. For dates only: never for mod-sequences [H3, S-11].
    fn now(&self) -> i64;
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// What one batch took.
#[derive(Clone, Copy, Debug)]
pub struct BatchReport {
    /// How many changes were in it.
    pub changes: usize,
    /// How long the engine took to make it durable.
    pub took: Duration,
}

/// Limits and habits of a store.
#[derive(Clone)]
pub struct Options {
    /// Keywords in a mailbox, at most 120.
    pub keywords_max: usize,
    /// Mailboxes in an account.
    pub mailboxes_max: usize,
    /// Mailboxes kept in memory though nobody has them open.
    pub mailboxes_kept_max: usize,
    /// Octets of deltas after which a mailbox is folded into pages; one more for each message, so that the
    /// work of a fold stays in proportion to the changes that it follows.
    pub fold_bytes: usize,
    /// How many committers run at once: one where the engine has one writer, as many as it has connections to write
    /// where it has several. Two never have the same mailbox in hand.
    pub lanes: usize,
    /// Called after each batch.
    pub on_batch: Option<Arc<dyn Fn(BatchReport) + Send + Sync>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keywords_max: crate::flags::Keywords::COUNT_MAX,
            mailboxes_max: 100_000,
            mailboxes_kept_max: 1024,
            fold_bytes: 256 * 1024,
            lanes: 1,
            on_batch: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Options {{ fold_bytes: {}, … }}", self.fold_bytes)
    }
}

struct Inner {
    engine: Arc<dyn Engine>,
    bodies: Arc<dyn BodyStore>,
    executor: Arc<dyn Executor>,
    clock: Arc<dyn Clock>,
    options: Options,
    batcher: Batcher,
    registry: Registry,
    /// The account of [`AccountId::SHARED`], once it was needed.
    directory: OnceLock<Arc<OpenAccount>>,
    asking: Asking,
}

/// A handle on the store; clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

/// The writer. A thread runs it, or one for each of [`Options::lanes`]; tests and simulation step it.
#[derive(Clone)]
pub struct Committer {
    store: Store,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

impl Committer {
    /// Commits until [`Store::shutdown`] and the queue is empty. Blocks.
    pub fn run(self) {
        let _refuse = RefuseOnPanic(&self.store.inner.batcher);
        while let Some(taken) = self.store.inner.batcher.wait() {
            self.commit(taken);
        }
    }

    /// Makes one batch of what waits; false when nothing waited.
    pub fn step(&self) -> bool {
        let taken = self.store.inner.batcher.take();
        taken.map(|taken| self.commit(taken)).is_some()
    }

    fn commit(&self, taken: Taken) {
        let inner = &self.store.inner;
        let claims = taken.claims();
        let touched = if inner.engine.is_shared() {
            self.commit_among_others(taken)
        } else if let Err(error) = self.sync_bodies_of(&claims) {
            taken.fail(&inner.batcher.heed(error));
            Ok(Vec::new())
        } else {
            let applied = taken.apply(&[], inner.engine.as_ref(), inner.clock.now());
            applied.map(|batch| self.end(batch, |commit| inner.engine.commit(commit)))
        };
        inner.batcher.give_back(&claims);
        for open in touched.unwrap_or_default() {
            self.store.fold_if_due(open);
        }
    }

    /// Makes the octets durable that a batch is about to refer to, all in one sync [H1].
    fn sync_bodies_of(&self, claims: &[Claim]) -> Result<(), EngineError> {
        let brings = claims.iter().any(|claim| matches!(claim, Claim::Body(_)));
        if brings { self.store.sync_bodies() } else { Ok(()) }
    }

    /// Takes the logs first, and learns what others wrote to them.
    fn commit_among_others(&self, taken: Taken) -> Result<Vec<Arc<OpenMailbox>>, EngineError> {
        let inner = &self.store.inner;
        let (written, read) = taken.held();
        let begun = match inner.engine.begin(&written, &read) {
            Ok(begun) => begun,
            Err(error) => {
                taken.fail(&inner.batcher.heed(error));
                return Ok(Vec::new());
            }
        };
        let Some(Begun { standings, transaction }) = begun else {
            let batch = taken.apply(&[], inner.engine.as_ref(), inner.clock.now())?;
            return Ok(self.end(batch, |commit| inner.engine.commit(commit)));
        };
        let batch = taken.apply(&standings, inner.engine.as_ref(), inner.clock.now())?;
        Ok(self.end(batch, |commit| transaction.commit(commit)))
    }

    /// Makes the batch durable, publishes and answers.
    fn end(
        &self,
        batch: Batch,
        commit: impl FnOnce(&Commit) -> Result<(), EngineError>,
    ) -> Vec<Arc<OpenMailbox>> {
        let inner = &self.store.inner;
        let (changes, started) = (batch.len(), Instant::now());
        let result = commit(batch.commit());
        let report = BatchReport { changes, took: started.elapsed() };
        let touched = batch.complete(result, &inner.batcher);
        if let Some(tell) = &inner.options.on_batch {
            tell(report);
        }
        touched
    }
}

/// Should the committer fall, whoever waits and whoever comes is told, rather than left waiting.
struct RefuseOnPanic<'a>(&'a Batcher);

impl Drop for RefuseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.refuse_from_now_on("the committer ended by a fault of the program");
        }
    }
}

/// A change on its way; ready with its outcome once that is durable. The change happens whether or not this
/// is awaited.
pub struct Pending {
    reply: oneshot::Receiver<Result<Outcome, Error>>,
}

impl Future for Pending {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Dropped without an answer: the committer fell, and what became of the change is unknown [H1].
        let fell = || Err(Error::Broken("the committer ended by a fault of the program".into()));
        Pin::new(&mut self.reply).poll(context).map(|reply| reply.unwrap_or_else(|_| fell()))
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl Store {
    /// A store over this engine and these bodies, and the committer that must run for anything to be written.
    #[must_use]
    pub fn open(
        engine: Arc<dyn Engine>,
        bodies: Arc<dyn BodyStore>,
        executor: Arc<dyn Executor>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> (Self, Committer) {
        let (batcher, registry) =
            (Batcher::new(options.lanes), Registry::new(options.mailboxes_kept_max));
        let (directory, asking) = (OnceLock::new(), Asking::default());
        let inner = Inner {
            engine,
            bodies,
            executor,
            clock,
            options,
            batcher,
            registry,
            directory,
            asking,
        };
        let store = Self { inner: Arc::new(inner) };
        store.listen();
        (store.clone(), Committer { store })
    }

    /// Seconds since 1970, by the host's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.inner.clock.now()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        self.inner.engine.as_ref()
    }

    pub(crate) fn body_store(&self) -> &dyn BodyStore {
        self.inner.bodies.as_ref()
    }

    pub(crate) fn refuse_writes(&self, why: &str) {
        self.inner.batcher.refuse_from_now_on(why);
    }

    /// Gives back the space of bodies that nothing has referred to for `grace_seconds`; answers how many. The
    /// grace must be longer than any session may go on reading a message that is gone, or hold one that it has
    /// received and not stored. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unavailable`] or [`Error::Broken`].
    pub fn reclaim(&self, grace_seconds: i64) -> Result<usize, Error> {
        const AT_ONCE: usize = 1000;
        let before = self.now().saturating_sub(grace_seconds);
        let mut count = 0;
        loop {
            let rows = self.engine().reclaimable(before, AT_ONCE)?;
            let ids: Vec<BodyId> = rows.iter().map(|row| row.id).collect();
            let forgotten = self.engine().forget_bodies(&ids)?;
            let gone = rows.into_iter().filter(|row| forgotten.contains(&row.id));
            let gone: Vec<BodyRef> = gone.map(|row| row.body).collect();
            self.body_store().reclaim(&gone)?;
            count += gone.len();
            if gone.is_empty() {
                return Ok(count);
            }
        }
    }

    /// Refuses new changes and lets the committer end once the queue is empty.
    pub fn shutdown(&self) {
        self.inner.batcher.close();
    }

    /// Runs work that may block where it may.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        self.inner.executor.run(Box::new(move || drop(send.send(work()))));
        receive.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// The account, read into memory if it is not there, and as it is now if others may have written to it.
    ///
    /// # Errors
    /// [`Error::NonExistent`], [`Error::Damaged`] or [`Error::Unavailable`].
    pub async fn account(&self, id: AccountId) -> Result<Account, Error> {
        if let Some(open) = self.inner.registry.account(id) {
            self.refresh(&[], &[&open]).await?;
            return Ok(Account(open));
        }
        let store = self.clone();
        let load = move || store.inner.registry.load_account(store.engine(), id);
        self.blocking(load).await.map(Account)
    }

    /// The mailbox as it is for nobody in particular, read into memory if it is not there, and as it is now if others
    /// may have written to it.
    ///
    /// # Errors
    /// [`Error::NonExistent`], [`Error::Damaged`] or [`Error::Unavailable`].
    pub async fn mailbox(&self, id: MailboxId) -> Result<Mailbox, Error> {
        self.open_mailbox(id).await.map(|open| Mailbox { open, user: None })
    }

    /// The mailbox as this user sees it.
    ///
    /// # Errors
    /// As [`Store::mailbox`].
    pub async fn mailbox_of(&self, id: MailboxId, user: AccountId) -> Result<Mailbox, Error> {
        self.open_mailbox(id).await.map(|open| Mailbox { open, user: Some(user) })
    }

    /// Those of these mailboxes that are not in memory, read together; one that cannot be read is left out, and says
    /// why to whoever asks for it.
    pub async fn mailboxes(&self, ids: &[MailboxId]) -> Vec<Mailbox> {
        let missing = |id: &&MailboxId| self.inner.registry.mailbox(**id).is_none();
        let missing: Vec<MailboxId> = ids.iter().filter(missing).copied().collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let store = self.clone();
        let load =
            move || Ok(missing.into_iter().filter_map(|id| store.load_mailbox(id).ok()).collect());
        let read: Vec<_> = self.blocking(load).await.unwrap_or_default();
        read.into_iter().map(|open| Mailbox { open, user: None }).collect()
    }

    async fn open_mailbox(&self, id: MailboxId) -> Result<Arc<OpenMailbox>, Error> {
        let open = match self.inner.registry.mailbox(id) {
            Some(open) => {
                self.refresh(&[&open], &[]).await?;
                open
            }
            None => {
                let store = self.clone();
                self.blocking(move || store.load_mailbox(id)).await?
            }
        };
        if open.doubtful.load(Ordering::Acquire) {
            self.renew(Arc::clone(&open)).await?;
        }
        Ok(open)
    }

    /// Blocks when it is not in memory.
    fn load_mailbox(&self, id: MailboxId) -> Result<Arc<OpenMailbox>, Error> {
        let keywords_max = self.inner.options.keywords_max;
        self.inner.registry.load_mailbox(self.engine(), id, keywords_max)
    }

    /// Gives a doubtful mailbox its new UIDVALIDITY.
    async fn renew(&self, open: Arc<OpenMailbox>) -> Result<(), Error> {
        let account = self.account(open.id.account).await?;
        let task = Task::Renew { mailbox: open.id };
        let job = |reply| Job { task, mailboxes: vec![open], accounts: vec![account.0], reply };
        self.task(job).await.map(drop)
    }

    /// The account of [`AccountId::SHARED`]: groups, grants and the mailboxes below `Shared/`. It stays in memory.
    ///
    /// # Errors
    /// As [`Store::account`].
    pub async fn directory(&self) -> Result<Account, Error> {
        match self.inner.directory.get() {
            Some(open) => Ok(Account(Arc::clone(open))),
            None => {
                let store = self.clone();
                self.blocking(move || store.load_directory()).await.map(Account)
            }
        }
    }

    /// Blocks when it is not in memory.
    fn load_directory(&self) -> Result<Arc<OpenAccount>, Error> {
        if let Some(open) = self.inner.directory.get() {
            return Ok(Arc::clone(open));
        }
        let open = self.inner.registry.load_account(self.engine(), AccountId::SHARED)?;
        Ok(Arc::clone(self.inner.directory.get_or_init(|| open)))
    }

    /// Begins to receive a message.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Broken`].
    pub fn receive(&self) -> Result<Receiver, Error> {
        Ok(Receiver::new(self.clone(), self.body_store().writer()?))
    }

    /// A stored message's whereabouts and structure.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not there, [`Error::Unavailable`].
    pub async fn body(&self, id: BodyId) -> Result<Arc<Body>, Error> {
        let body = self.bodies(&[id]).await?.pop();
        body.ok_or_else(|| Error::Damaged(format!("body {} is not there", id.0)))
    }

    /// Several messages' whereabouts and structures, in the order asked.
    ///
    /// # Errors
    /// As [`Store::body`].
    pub async fn bodies(&self, ids: &[BodyId]) -> Result<Vec<Arc<Body>>, Error> {
        let rows = if self.engine().is_shared() {
            let (store, ids) = (self.clone(), ids.to_vec());
            self.blocking(move || Ok(store.engine().bodies(&ids)?)).await?
        } else {
            self.engine().bodies(ids)?
        };
        rows.into_iter().map(|row| Ok(Arc::new(Body::decode(row)?))).collect()
    }

    fn fold_if_due(&self, open: Arc<OpenMailbox>) {
        {
            let mut folded = open.folded.lock().unwrap_or_else(PoisonError::into_inner);
            let messages = usize::try_from(open.published.state().exists()).unwrap_or(usize::MAX);
            let due = self.inner.options.fold_bytes.saturating_add(messages);
            // A fold of all pages is left to whoever folded last, as long as there is one.
            let due = if folded.is_base { due } else { due.saturating_mul(4) };
            if folded.running || folded.pending < due {
                return;
            }
            folded.running = true;
        }
        let store = self.clone();
        self.inner.executor.run(Box::new(move || {
            let state = open.published.state();
            let task = Task::Fold { fold: open.fold(&state), state };
            store.submit_task(task, vec![open], Vec::new());
        }));
    }

    fn fold_account_if_due(&self, id: AccountId) {
        const DELTAS_MAX: u32 = 256;
        let Some(open) = self.inner.registry.account(id) else { return };
        if open.pending.load(Ordering::Acquire) < DELTAS_MAX {
            return;
        }
        open.pending.store(0, Ordering::Release);
        self.submit_task(Task::FoldAccount, Vec::new(), vec![open]);
    }

    /// Queues a task whose outcome nobody waits for.
    fn submit_task(
        &self,
        task: Task,
        mailboxes: Vec<Arc<OpenMailbox>>,
        accounts: Vec<Arc<OpenAccount>>,
    ) {
        let (reply, _) = oneshot::channel();
        self.inner.batcher.submit(Job { task, mailboxes, accounts, reply });
    }

    async fn task(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<Outcome, Error>>) -> Job,
    ) -> Result<Outcome, Error> {
        let (reply, receive) = oneshot::channel();
        self.inner.batcher.submit(job(reply));
        Pending { reply: receive }.await
    }
}

/// Accounts: their rows belong to the program, their mailboxes to the store.
impl Store {
    /// The account's row, read from the engine each time.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Unavailable`].
    pub async fn account_row(&self, name: &str) -> Result<Option<AccountRow>, Error> {
        let (store, name) = (self.clone(), name.to_owned());
        self.blocking(move || Ok(store.engine().account(&name)?)).await
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Unavailable`].
    pub async fn account_rows(&self) -> Result<Vec<(String, AccountRow)>, Error> {
        let store = self.clone();
        self.blocking(move || Ok(store.engine().accounts()?)).await
    }

    /// Makes an account with an INBOX.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Full`] or [`Error::Broken`].
    pub async fn create_account(&self, name: &str, record: Vec<u8>) -> Result<AccountId, Error> {
        let store = self.clone();
        let id = self.blocking(move || Ok(store.engine().next_account()?)).await?;
        let row = AccountRow { id, version: 1, record };
        let task = Task::CreateAccount { name: name.to_owned(), row };
        self.task(|reply| Job { task, mailboxes: Vec::new(), accounts: Vec::new(), reply }).await?;
        Ok(id)
    }

    /// Replaces the account's record; its version rises by one.
    ///
    /// # Errors
    /// [`Error::NonExistent`], [`Error::Full`] or [`Error::Broken`].
    pub async fn update_account(&self, name: &str, record: Vec<u8>) -> Result<(), Error> {
        let task = Task::UpdateAccount { name: name.to_owned(), record };
        self.task(|reply| Job { task, mailboxes: Vec::new(), accounts: Vec::new(), reply }).await?;
        Ok(())
    }

    /// Deletes the account with everything in it.
    ///
    /// # Errors
    /// [`Error::NonExistent`], [`Error::Full`] or [`Error::Broken`].
    pub async fn delete_account(&self, name: &str) -> Result<(), Error> {
        let row = self.account_row(name).await?.ok_or(Error::NonExistent)?;
        let account = self.account(row.id).await?;
        let state = account.state();
        let mut mailboxes = Vec::new();
        for id in state.mailboxes().filter_map(|(_, entry)| entry.id) {
            mailboxes.push(self.open_mailbox(id).await?);
        }
        let task = Task::DeleteAccount { name: name.to_owned(), id: row.id };
        let accounts = vec![account.0, self.directory().await?.0];
        self.task(|reply| Job { task, mailboxes, accounts, reply }).await?;
        Ok(())
    }
}
