//! Mailboxes and accounts that are in memory: the newest published state and who waits for the next.
//!
//! # Invariants
//! - What is published is durable [H1]; a state is published whole or not at all.
//! - At most one of these exists per mailbox at a time: it is the only memory of the mailbox's newest state.

use crate::account::{AccountDelta, AccountState};
use crate::codec::{Reader, Writer};
use crate::delta::{Delta, keyword, read_message, uid_validity, version, write_message};
use crate::engine::{AccountId, Engine, EngineError, Fold, LogId, MailboxId};
use crate::mailbox::MailboxState;
use crate::tree::Tree;
use event_listener::{Event, EventListener};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};

/// A published state and those who wait for the next.
pub(crate) struct Published<T> {
    current: RwLock<Arc<T>>,
    gone: AtomicBool,
    event: Event,
}

impl<T> Published<T> {
    fn new(state: T) -> Self {
        let current = RwLock::new(Arc::new(state));
        Self { current, gone: AtomicBool::new(false), event: Event::new() }
    }

    pub(crate) fn state(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, state: Arc<T>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.event.notify(usize::MAX);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn go(&self) {
        self.gone.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    fn changed(&self, since: &Arc<T>) -> Changed {
        let listener = self.event.listen();
        let ready = self.is_gone() || !Arc::ptr_eq(&self.state(), since);
        Changed { listener: (!ready).then_some(listener) }
    }
}

/// Ready when there is something newer than what one has seen.
pub struct Changed {
    listener: Option<EventListener>,
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.listener {
            Some(listener) => Pin::new(listener).poll(context),
            None => Poll::Ready(()),
        }
    }
}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changed")
    }
}

/// What the last fold contains.
pub(crate) struct Folded {
    pub(crate) tree: Tree,
    /// Octets of deltas since.
    pub(crate) pending: usize,
    pub(crate) running: bool,
}

pub(crate) struct OpenMailbox {
    pub(crate) id: MailboxId,
    pub(crate) published: Published<MailboxState>,
    /// UIDs up to here are no longer `\Recent`; written down with the next delta.
    pub(crate) recent: AtomicU32,
    pub(crate) folded: Mutex<Folded>,
}

/// A handle on a mailbox in memory.
#[derive(Clone)]
pub struct Mailbox(pub(crate) Arc<OpenMailbox>);

impl Mailbox {
    /// Which mailbox this is.
    #[must_use]
    pub fn id(&self) -> MailboxId {
        self.0.id
    }

    /// The newest state.
    #[must_use]
    pub fn state(&self) -> Arc<MailboxState> {
        self.0.published.state()
    }

    /// Ready once there is a newer state than this one, or the mailbox is gone.
    #[must_use]
    pub fn changed(&self, since: &Arc<MailboxState>) -> Changed {
        self.0.published.changed(since)
    }

    /// Whether the mailbox has been deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.0.published.is_gone()
    }

    /// Takes `\Recent` of all messages up to `last_uid`: those above the answer are this session's
    /// (RFC 3501 §2.3.2). No mod-sequence changes [S-18].
    #[must_use]
    pub fn take_recent(&self, last_uid: u32) -> u32 {
        self.0.recent.fetch_max(last_uid, Ordering::AcqRel)
    }

    /// The UID up to which messages are not `\Recent`, taking nothing (STATUS, EXAMINE).
    #[must_use]
    pub fn peek_recent(&self) -> u32 {
        self.0.recent.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({:?})", self.0.id)
    }
}

pub(crate) struct OpenAccount {
    pub(crate) published: Published<AccountState>,
    pub(crate) pending: AtomicU32,
}

/// A handle on an account in memory.
#[derive(Clone)]
pub struct Account(pub(crate) Arc<OpenAccount>);

impl Account {
    /// Which account this is.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.state().id
    }

    /// The newest state.
    #[must_use]
    pub fn state(&self) -> Arc<AccountState> {
        self.0.published.state()
    }

    /// Ready once there is a newer state than this one, or the account is gone.
    #[must_use]
    pub fn changed(&self, since: &Arc<AccountState>) -> Changed {
        self.0.published.changed(since)
    }

    /// Whether the account has been deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.0.published.is_gone()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.id().0)
    }
}

/// The key of the page that holds everything but messages; leaves are keyed by their first UID.
const HEADER: u32 = 0;

impl OpenMailbox {
    /// Reads the mailbox; `None` when there is none.
    pub(crate) fn load(
        engine: &dyn Engine,
        id: MailboxId,
        keywords_max: usize,
    ) -> Result<Option<Self>, EngineError> {
        let mut state = MailboxState::unborn(id, keywords_max);
        let mut leaves = Vec::new();
        let mut deltas = Vec::new();
        let mut pending = 0;
        let head = engine.load(
            LogId::from(id),
            &mut |key, octets| {
                if key == u64::from(HEADER) {
                    read_header(&mut state, octets)
                } else {
                    leaves.push(read_leaf(octets)?);
                    Ok(())
                }
            },
            &mut |_, octets| {
                pending += octets.len();
                deltas.push(Delta::decode(octets)?);
                Ok(())
            },
        )?;
        if head.is_none() {
            return Ok(None);
        }
        state.tree = Tree::from_leaves(leaves);
        let tree = state.tree.clone();
        let state = deltas.iter().try_fold(state, |state, delta| state.advance(delta))?;
        Ok(Some(Self {
            id,
            recent: AtomicU32::new(state.recent),
            published: Published::new(state),
            folded: Mutex::new(Folded { tree, pending, running: false }),
        }))
    }

    /// The fold that brings the pages up to this state.
    pub(crate) fn fold(&self, state: &MailboxState) -> Fold {
        let folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, removed) = state.tree.leaves_changed_since(&folded.tree);
        let header = (HEADER, write_header(state, self.recent.load(Ordering::Acquire)));
        let leaves = changed.into_iter().map(|(uid, messages)| {
            let mut w = Writer::default();
            w.byte(1);
            w.number(messages.len() as u64);
            messages.iter().for_each(|message| write_message(&mut w, message));
            (uid.value(), w.out)
        });
        let pages = std::iter::once(header).chain(leaves).collect();
        Fold { log: self.id.into(), seq: state.highest.value(), pages, removed }
    }
}

impl OpenAccount {
    /// Reads the account; `None` when there is none.
    pub(crate) fn load(engine: &dyn Engine, id: AccountId) -> Result<Option<Self>, EngineError> {
        let mut page = None;
        let mut deltas = Vec::new();
        let head = engine.load(
            LogId::from(id),
            &mut |_, octets| {
                page = Some(AccountState::decode(id, octets)?);
                Ok(())
            },
            &mut |seq, octets| {
                deltas.push((seq, AccountDelta::decode(octets)?));
                Ok(())
            },
        )?;
        if head.is_none() {
            return Ok(None);
        }
        let pending = AtomicU32::new(u32::try_from(deltas.len()).unwrap_or(u32::MAX));
        let state = page.unwrap_or_else(|| AccountState::unborn(id));
        let state = deltas.iter().fold(state, |state, (seq, delta)| state.advance(delta, *seq));
        Ok(Some(Self { published: Published::new(state), pending }))
    }
}

fn write_header(state: &MailboxState, recent: u32) -> Vec<u8> {
    let mut w = Writer::default();
    w.byte(1);
    w.number(u64::from(state.uid_validity.value()));
    w.number(u64::from(state.uid_next));
    w.number(state.highest.value());
    w.number(u64::from(recent));
    w.byte(u8::from(state.conflicts_by_message));
    w.number(state.keywords.names().count() as u64);
    state.keywords.names().for_each(|keyword| w.text(keyword.as_str()));
    w.out
}

fn read_header(state: &mut MailboxState, octets: &[u8]) -> Result<(), EngineError> {
    let mut r = Reader::new(octets);
    version(&mut r)?;
    state.uid_validity = uid_validity(&mut r)?;
    state.uid_next = r.number_32()?;
    state.highest = r.mod_seq()?;
    state.recent = r.number_32()?;
    state.conflicts_by_message = r.byte()? != 0;
    for _ in 0..r.count()? {
        state.keywords.restore(keyword(&mut r)?);
    }
    r.end()
}

fn read_leaf(octets: &[u8]) -> Result<Vec<crate::message::Message>, EngineError> {
    let mut r = Reader::new(octets);
    version(&mut r)?;
    let messages = (0..r.count()?).map(|_| read_message(&mut r)).collect::<Result<Vec<_>, _>>()?;
    r.end()?;
    if messages.is_empty() {
        return Err(EngineError::Damaged("a page without messages".into()));
    }
    Ok(messages)
}
