//! Mailboxes and accounts that are in memory: the newest published state and who waits for the next.
//!
//! # Invariants
//! - What is published is durable [H1]; a state is published whole or not at all.
//! - At most one of these exists per mailbox at a time: it is the only memory of the mailbox's newest state.

use crate::account::{AccountDelta, AccountState};
use crate::acl::Acl;
use crate::codec::{Reader, Writer};
use crate::delta::{Delta, keyword, read_message, uid_validity, version, write_message};
use crate::engine::{AccountId, Engine, EngineError, Fold, Held, LogHead, LogId, MailboxId, Visit};
use crate::mailbox::MailboxState;
use crate::message::Message;
use crate::private::Private;
use crate::quota::{Usage, UsageChange};
use crate::tree::Tree;
use event_listener::{Event, EventListener};
use imap::number::Uid;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
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

    /// Publishes the state if its number is greater than that of the one that is there: what was learnt meanwhile
    /// from others may be newer.
    pub(crate) fn publish_newer<N: Ord>(&self, state: Arc<T>, number: impl Fn(&T) -> N) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if number(&state) > number(&current) {
            *current = state;
            drop(current);
            self.event.notify(usize::MAX);
        }
    }

    /// Whether somebody waits for the next state.
    pub(crate) fn is_watched(&self) -> bool {
        self.event.total_listeners() > 0
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
        Changed { listener: (!ready).then_some(listener), other: None }
    }
}

/// Ready when there is something newer than what one has seen.
pub struct Changed {
    /// `None` when it is ready already.
    listener: Option<EventListener>,
    other: Option<EventListener>,
}

impl Changed {
    /// Ready when one of both is.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.listener, other.listener) {
            (Some(listener), Some(other)) => Self { listener: Some(listener), other: Some(other) },
            _ => Self { listener: None, other: None },
        }
    }
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { listener: Some(listener), other } = &mut *self else { return Poll::Ready(()) };
        match (Pin::new(listener).poll(context), other) {
            (Poll::Pending, Some(other)) => Pin::new(other).poll(context),
            (polled, _) => polled,
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
    /// Which fold that is.
    pub(crate) at: u64,
    /// Whether its pages are those of `tree` and `private`. Not so once another writer has folded: the next fold
    /// here would be of all pages.
    pub(crate) is_base: bool,
    pub(crate) tree: Tree,
    pub(crate) private: Option<Arc<Private>>,
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
    /// Nobody may see it before it has a new UIDVALIDITY, see [`LogHead::doubtful`].
    pub(crate) doubtful: AtomicBool,
    /// The newest views of users who have the mailbox open, where `\Seen` is private.
    views: Mutex<HashMap<AccountId, Weak<MailboxState>>>,
}

/// A handle on a mailbox in memory, through the eyes of one user or of nobody in particular.
#[derive(Clone)]
pub struct Mailbox {
    pub(crate) open: Arc<OpenMailbox>,
    pub(crate) user: Option<AccountId>,
}

impl Mailbox {
    /// Which mailbox this is.
    #[must_use]
    pub fn id(&self) -> MailboxId {
        self.open.id
    }

    /// The newest state, as the user sees it.
    #[must_use]
    pub fn state(&self) -> Arc<MailboxState> {
        self.as_seen(&self.open.published.state(), None)
    }

    /// What the user sees of a state that an outcome has brought. An earlier view of theirs saves work.
    #[must_use]
    pub fn as_seen(
        &self,
        state: &Arc<MailboxState>,
        earlier: Option<&Arc<MailboxState>>,
    ) -> Arc<MailboxState> {
        let shared = state.has_private_seen() && state.lens.is_none();
        let Some(user) = self.user.filter(|_| shared) else {
            return Arc::clone(state);
        };
        self.open.view(state, user, earlier)
    }

    /// The message as the user sees it, of a state that an outcome has brought.
    #[must_use]
    pub fn message_of(&self, state: &MailboxState, uid: Uid) -> Option<Message> {
        state.tree().get(uid).map(|message| state.own_message(self.user, message).into_owned())
    }

    /// The newest state as it is for nobody in particular: for counting, and for rights.
    #[must_use]
    pub fn shared_state(&self) -> Arc<MailboxState> {
        self.open.published.state()
    }

    /// Ready once there is a newer state than this one, or the mailbox is gone.
    #[must_use]
    pub fn changed(&self, since: &Arc<MailboxState>) -> Changed {
        self.open.published.changed(since.base())
    }

    /// Whether the mailbox has been deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.open.published.is_gone()
    }

    /// Takes `\Recent` of all messages up to `last_uid`: those above the answer are this session's
    /// (RFC 3501 §2.3.2). No mod-sequence changes [S-18].
    #[must_use]
    pub fn take_recent(&self, last_uid: u32) -> u32 {
        self.open.recent.fetch_max(last_uid, Ordering::AcqRel)
    }

    /// The UID up to which messages are not `\Recent`, taking nothing (STATUS, EXAMINE).
    #[must_use]
    pub fn peek_recent(&self) -> u32 {
        self.open.recent.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({:?}, {:?})", self.open.id, self.user)
    }
}

pub(crate) struct OpenAccount {
    pub(crate) published: Published<AccountState>,
    pub(crate) pending: AtomicU32,
    usage: Mutex<Usage>,
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

    /// What the account's messages come to.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.usage()
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
const HEADER: u64 = 0;
/// Headers of format 1 end after the keywords.
const HEADER_VERSION: u8 = 2;

impl OpenMailbox {
    /// Reads the mailbox; `None` when there is none.
    pub(crate) fn load(
        engine: &dyn Engine,
        id: MailboxId,
        keywords_max: usize,
    ) -> Result<Option<Self>, EngineError> {
        Self::read(id, keywords_max, |page, delta| engine.load(LogId::from(id), page, delta))
    }

    /// The same from whatever reads the log.
    pub(crate) fn read(
        id: MailboxId,
        keywords_max: usize,
        load: impl FnOnce(Visit<'_>, Visit<'_>) -> Result<Option<LogHead>, EngineError>,
    ) -> Result<Option<Self>, EngineError> {
        let mut state = MailboxState::unborn(id, keywords_max);
        let mut leaves = Vec::new();
        let mut deltas = Vec::new();
        let mut pending = 0;
        let head = load(
            &mut |key, octets| {
                if key == HEADER {
                    return read_header(&mut state, octets);
                }
                if let Some(private) = state.private.as_mut().filter(|_| key > u64::from(u32::MAX))
                {
                    return Arc::make_mut(private).read_page(key, octets);
                }
                leaves.push(read_leaf(octets)?);
                Ok(())
            },
            &mut |_, octets| {
                pending += octets.len();
                deltas.push(Delta::decode(octets)?);
                Ok(())
            },
        )?;
        let Some(head) = head else { return Ok(None) };
        let (at, is_base) = (head.folded, true);
        state.tree = Tree::from_leaves(leaves);
        let (tree, private) = (state.tree.clone(), state.private.clone());
        let state = deltas.iter().try_fold(state, |state, delta| state.advance(delta))?;
        Ok(Some(Self {
            id,
            recent: AtomicU32::new(state.recent),
            doubtful: AtomicBool::new(head.doubtful),
            published: Published::new(state),
            folded: Mutex::new(Folded { at, is_base, tree, private, pending, running: false }),
            views: Mutex::default(),
        }))
    }

    /// How far it has come in memory.
    pub(crate) fn held(&self) -> Held {
        Held { log: self.id.into(), seq: self.published.state().highest.value() }
    }

    /// What a user sees of a state: made from the nearest earlier view that there is.
    fn view(
        &self,
        state: &Arc<MailboxState>,
        user: AccountId,
        earlier: Option<&Arc<MailboxState>>,
    ) -> Arc<MailboxState> {
        let views = || self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let known = views().get(&user).and_then(Weak::upgrade);
        if let Some(view) = known.as_ref().filter(|view| Arc::ptr_eq(view.base(), state)) {
            return Arc::clone(view);
        }
        let is_before = |view: &&Arc<MailboxState>| view.base().highest <= state.highest;
        let view = state.seen_by(user, known.as_ref().filter(is_before).or(earlier));
        let mut views = views();
        let newest = views.get(&user).and_then(Weak::upgrade);
        if newest.is_none_or(|newest| newest.base().highest < state.highest) {
            views.retain(|_, view| view.strong_count() > 0);
            views.insert(user, Arc::downgrade(&view));
        }
        view
    }

    /// The fold that brings the pages up to this state.
    pub(crate) fn fold(&self, state: &MailboxState) -> Fold {
        let folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        let no_leaves = Tree::default();
        let tree = if folded.is_base { &folded.tree } else { &no_leaves };
        let (changed, removed) = state.tree.leaves_changed_since(tree);
        let nothing = Private::default();
        let private = state.private.as_deref().unwrap_or(&nothing);
        let before = folded.private.as_deref().filter(|_| folded.is_base);
        let before = before.unwrap_or(&nothing);
        let (own_pages, own_removed) = private.pages_changed_since(before);
        let header = (HEADER, write_header(state, self.recent.load(Ordering::Acquire)));
        let leaves = changed.into_iter().map(|(uid, messages)| {
            let mut w = Writer::default();
            w.byte(1);
            w.number(messages.len() as u64);
            messages.iter().for_each(|message| write_message(&mut w, message));
            (u64::from(uid.value()), w.out)
        });
        let pages = std::iter::once(header).chain(leaves).chain(own_pages).collect();
        let removed = removed.into_iter().map(u64::from).chain(own_removed).collect();
        let (log, base) = (self.id.into(), folded.is_base.then_some(folded.at));
        Fold { log, base, seq: state.highest.value(), pages, removed }
    }
}

impl OpenAccount {
    pub(crate) fn id(&self) -> AccountId {
        self.published.state().id
    }

    /// How far it has come in memory.
    pub(crate) fn held(&self) -> Held {
        let state = self.published.state();
        Held { log: state.id.into(), seq: state.seq }
    }

    pub(crate) fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_usage(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    pub(crate) fn add_usage(&self, change: UsageChange) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        *usage = usage.after(change);
    }

    /// Reads the account; `None` when there is none, except for [`AccountId::SHARED`], which always is.
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
        if head.is_none() && id != AccountId::SHARED {
            return Ok(None);
        }
        let usage = Mutex::new(engine.usage(id)?);
        let pending = AtomicU32::new(u32::try_from(deltas.len()).unwrap_or(u32::MAX));
        let state = page.unwrap_or_else(|| AccountState::unborn(id));
        let state = deltas.iter().fold(state, |state, (seq, delta)| state.advance(delta, *seq));
        Ok(Some(Self { published: Published::new(state), pending, usage }))
    }
}

fn write_header(state: &MailboxState, recent: u32) -> Vec<u8> {
    let mut w = Writer::default();
    w.byte(HEADER_VERSION);
    w.number(u64::from(state.uid_validity.value()));
    w.number(u64::from(state.uid_next));
    w.number(state.highest.value());
    w.number(u64::from(recent));
    w.byte(u8::from(state.conflicts_by_message));
    w.number(state.keywords.names().count() as u64);
    state.keywords.names().for_each(|keyword| w.text(keyword.as_str()));
    w.number(state.shared_highest.value());
    state.acl.encode(&mut w);
    w.byte(u8::from(state.private.is_some()));
    state.private.iter().for_each(|private| private.write_users(&mut w));
    w.out
}

fn read_header(state: &mut MailboxState, octets: &[u8]) -> Result<(), EngineError> {
    let mut r = Reader::new(octets);
    let format = r.byte()?;
    if format > HEADER_VERSION {
        return Err(EngineError::Damaged(format!(
            "a mailbox's header has format {format}, this program knows {HEADER_VERSION}: use a newer release"
        )));
    }
    state.uid_validity = uid_validity(&mut r)?;
    state.uid_next = r.number_32()?;
    state.highest = r.mod_seq()?;
    state.recent = r.number_32()?;
    state.conflicts_by_message = r.byte()? != 0;
    for _ in 0..r.count()? {
        state.keywords.restore(keyword(&mut r)?);
    }
    state.shared_highest = state.highest;
    if format >= 2 {
        state.shared_highest = r.mod_seq()?;
        state.acl = Arc::new(Acl::decode(&mut r)?);
        if r.byte()? != 0 {
            state.private = Some(Arc::new(Private::read_users(&mut r)?));
        }
    }
    r.end()
}

fn read_leaf(octets: &[u8]) -> Result<Vec<Message>, EngineError> {
    let mut r = Reader::new(octets);
    version(&mut r)?;
    let messages = (0..r.count()?).map(|_| read_message(&mut r)).collect::<Result<Vec<_>, _>>()?;
    r.end()?;
    if messages.is_empty() {
        return Err(EngineError::Damaged("a page without messages".into()));
    }
    Ok(messages)
}
