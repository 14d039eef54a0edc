//! FETCH and UID FETCH.
//!
//! # Invariants
//! - What is sent comes from one state; what others changed meanwhile is told after it.
//! - Bodies leave in pieces, so memory does not grow with a message, and nothing is held while a slow client
//!   reads [H7].
//!
//! # Standards
//! RFC 3501 §6.4.5, RFC 7162 §3.1.4 and §3.2.6, RFC 8514 (SAVEDATE).

mod line;
mod section;

use super::copy::numbers_expected;
use super::store::no_mod_seqs;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session, Tell};
use crate::shared::{Sink, relieve, yield_now};
use crate::view::Line;
use imap::acl::Rights;
use imap::command::{Fetch, FetchItem, StoreAction};
use imap::encode::Code;
use imap::flag::{Flag, SystemFlag};
use imap::number::SeqNum;
use imap::set::UidSet;
use std::sync::Arc;
use store::{Change, MailboxState, Message, Outcome, Pending, Stored};

/// Messages whose structures are read together.
const CHUNK: usize = 64;

/// What every line of this FETCH holds: what was asked for, no more [S-32].
#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    pub(super) list: &'a [FetchItem],
    /// UID, asked for or because of UID FETCH.
    pub(super) uid: bool,
    /// MODSEQ, asked for or because of CHANGEDSINCE [S-44].
    pub(super) mod_seq: bool,
}

impl Items<'_> {
    fn has(&self, item: &FetchItem) -> bool {
        self.list.contains(item)
    }

    /// Whether a message's structure must be read.
    fn need_bodies(&self) -> bool {
        self.list.iter().any(|item| {
            matches!(
                item,
                FetchItem::Envelope
                    | FetchItem::Body
                    | FetchItem::BodyStructure
                    | FetchItem::Section(_)
            )
        })
    }

    /// Whether sending them sets `\Seen` (RFC 3501 §6.4.5).
    fn set_seen(&self) -> bool {
        self.list.iter().any(|item| matches!(item, FetchItem::Section(s) if !s.peek))
    }
}

/// The messages that a FETCH is about.
struct Targets {
    state: Arc<MailboxState>,
    uids: UidSet,
    /// CHANGEDSINCE: `Some(0)` for everything.
    since: Option<u64>,
}

impl Session {
    /// Sends what was asked for.
    pub(crate) async fn fetch<S: Sink>(
        &mut self,
        command: &Fetch,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let items = Items {
            list: &command.items,
            uid: command.uid || command.items.contains(&FetchItem::Uid),
            mod_seq: command.changed_since.is_some() || command.items.contains(&FetchItem::ModSeq),
        };
        let numbered = self.check_fetch(command, items)?;
        if items.mod_seq {
            self.become_aware(sink);
        }
        let (voice, store) = (self.voice, self.shared.store.clone());
        let view = self.selected()?;
        let state = view.newest()?;
        // Numbers first, so that those in the lines that follow are the new ones [S-134, S-146].
        view.tell_numbers(&state, command.uid, voice, sink).await?;
        let uids = numbered.unwrap_or_else(|| view.uids_of_uids(&command.set));
        let told = command.changed_since.map(|n| self.since(n.value())).transpose()?;
        let since = told.map(|since| since.unwrap_or(0));
        if command.vanished {
            // `x:*` reaches up to UIDNEXT − 1 here, not to the last message that is left [S-132].
            let last = state.uid_next().saturating_sub(1);
            let within = command.set.resolve(last).unwrap_or_default();
            self.tell_vanished(&within, told.flatten(), sink).await?;
        }
        let targets = Targets { state: Arc::clone(&state), uids, since };
        // CHANGEDSINCE looks at the mod-sequence before \Seen is set [S-50].
        let seen = self.mark_seen(&targets, items, &store)?;
        let failure = self.send_lines(&targets, items, sink).await?;
        let known = self.known_after(&targets, items)?;
        let view = self.selected()?;
        view.tell_flags(&known, voice, sink).await?;
        let mut tell = Tell::UpTo { state, expunges: command.uid, known: UidSet::new() };
        if let Some(pending) = seen
            && let Some(stored) = marked(pending).await?
        {
            tell = self.tell_seen(stored, command.uid, sink).await?;
        }
        match failure {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Reply::ok("Fetched").tell(tell)),
        }
    }

    /// What the grammar cannot check; answers the UIDs that message numbers stand for.
    fn check_fetch(
        &mut self,
        command: &Fetch,
        items: Items<'_>,
    ) -> Result<Option<UidSet>, Refusal> {
        if items.mod_seq && !self.has_mod_seqs() {
            return Err(no_mod_seqs()); // [S-35]
        }
        if command.vanished
            && !(command.uid && command.changed_since.is_some() && self.voice.qresync)
        {
            // [S-112, S-127]
            return Err(Refusal::bad(
                "VANISHED needs ENABLE QRESYNC, UID FETCH and CHANGEDSINCE beside it",
            ));
        }
        let view = self.selected()?;
        if command.uid {
            return Ok(None);
        }
        view.spans_of_numbers(&command.set).map(Some).ok_or_else(numbers_expected)
    }

    /// Submits the change that sets `\Seen` where it is not set yet; nothing after EXAMINE [S-48] or without `s`
    /// (RFC 4314 §4).
    fn mark_seen(
        &mut self,
        targets: &Targets,
        items: Items<'_>,
        store: &store::Store,
    ) -> Result<Option<Pending>, Refusal> {
        let view = self.selected()?;
        if !items.set_seen() || view.read_only || !view.rights.contains(Rights::SEEN) {
            return Ok(None);
        }
        let user = view.user();
        let mut unseen = UidSet::new();
        for (_, message) in
            targets.state.tree().changed_since_in(targets.since.unwrap_or(0), &targets.uids)
        {
            if !message.flags.has(SystemFlag::Seen) {
                unseen.push(message.uid.value());
            }
        }
        Ok((!unseen.is_empty()).then(|| {
            let change = Change::StoreFlags {
                mailbox: view.mailbox.id(),
                uids: unseen,
                condition: None,
                action: StoreAction::Add,
                flags: vec![Flag::System(SystemFlag::Seen)],
            };
            store.submit_by(user, change)
        }))
    }

    /// Writes a line for each message; answers why some could not be sent.
    async fn send_lines<S: Sink>(
        &mut self,
        targets: &Targets,
        items: Items<'_>,
        sink: &mut S,
    ) -> Result<Option<Refusal>, Stop> {
        let numbering = self.selected()?.numbering().clone();
        let level = numbering.ptr_eq(targets.state.tree());
        let mut walk = match targets.since {
            Some(since) => targets.state.tree().changed_since_in(since, &targets.uids),
            None => numbering.iter_uids(&targets.uids),
        };
        let mut failure = None;
        loop {
            let chunk: Vec<(SeqNum, &Message)> = walk
                .by_ref()
                .take(CHUNK)
                .filter_map(|(seq, found)| {
                    if level {
                        return Some((seq, found));
                    }
                    // The newest record; for what is gone, the one that the numbering kept.
                    let message = targets.state.tree().get(found.uid).unwrap_or(found);
                    Some((numbering.seq_of(message.uid)?, message))
                })
                .collect();
            let Some((_, last)) = chunk.last() else { return Ok(failure) };
            let more = last.uid.value() < targets.uids.last().unwrap_or(0);
            let failed = self.send_chunk(&chunk, items, sink).await?;
            failure = failure.or(failed);
            if !more {
                return Ok(failure);
            }
            relieve(sink).await?;
            yield_now().await;
        }
    }

    async fn send_chunk<S: Sink>(
        &mut self,
        chunk: &[(SeqNum, &Message)],
        items: Items<'_>,
        sink: &mut S,
    ) -> Result<Option<Refusal>, Stop> {
        let store = self.shared.store.clone();
        let mut failure = None;
        let mut bodies = Vec::new();
        if items.need_bodies() {
            let ids: Vec<_> = chunk.iter().map(|(_, message)| message.body).collect();
            // One that cannot be read spoils the whole answer: then they are read one by one.
            bodies = store.bodies(&ids).await.unwrap_or_default();
        }
        for (at, (seq, message)) in chunk.iter().enumerate() {
            let body = match bodies.get(at) {
                Some(body) => Some(Arc::clone(body)),
                None if items.need_bodies() => match store.body(message.body).await {
                    Ok(body) => Some(body),
                    Err(error) => {
                        failure = Some(self.unreadable(message, error.into())?);
                        continue;
                    }
                },
                None => None,
            };
            if let Err(stop) = self.send_line(*seq, message, body.as_ref(), items, sink).await {
                match stop {
                    Stop::Refused(refusal) => failure = Some(refusal),
                    Stop::Closed => return Err(Stop::Closed),
                }
            }
        }
        Ok(failure)
    }

    /// Why a message could not be sent: it is gone, and EXPUNGE for it is held back [S-147], or damaged.
    fn unreadable(&mut self, message: &Message, refusal: Refusal) -> Result<Refusal, Refusal> {
        if self.selected()?.is_gone(message.uid) {
            let text = "Some of the messages are gone: NOOP tells which";
            return Ok(Refusal::coded(Code::ExpungeIssued, text));
        }
        Ok(refusal)
    }

    /// The messages whose flags the client knows now, from the lines themselves.
    fn known_after(&mut self, targets: &Targets, items: Items<'_>) -> Result<UidSet, Refusal> {
        let aware = self.voice.aware;
        let view = self.selected()?;
        let says_all = items.has(&FetchItem::Flags) && (!aware || (items.uid && items.mod_seq));
        // CHANGEDSINCE may have left out what this client was never told.
        let left_out = targets.since.is_some_and(|since| view.has_untold_up_to(since));
        Ok(if says_all && !left_out { targets.uids.clone() } else { UidSet::new() })
    }

    /// Tells that `\Seen` is set, with UID and the new MODSEQ to those who know them [S-48, S-49].
    async fn tell_seen<S: Sink>(
        &mut self,
        stored: Stored,
        uid: bool,
        sink: &mut S,
    ) -> Result<Tell, Stop> {
        let voice = self.voice;
        let view = self.selected()?;
        let after = view.accept(&stored.after)?;
        view.tell_numbers(&after, uid, voice, sink).await?;
        for (_, message) in after.tree().iter_uids(&stored.changed) {
            view.tell_message(message, Line { flags: true, uid }, voice, sink);
            relieve(sink).await?;
        }
        Ok(Tell::UpTo { state: after, expunges: uid, known: stored.changed })
    }
}

/// What came of setting `\Seen`; nothing when `s` was lost meanwhile: the messages are sent all the same
/// (RFC 4314 §4).
async fn marked(pending: Pending) -> Result<Option<Stored>, Refusal> {
    match pending.await {
        Ok(Outcome::Stored(stored)) => Ok(Some(stored)),
        Ok(_) => Err(Refusal::no("The store answered something else")),
        Err(store::Error::NoPermission) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
