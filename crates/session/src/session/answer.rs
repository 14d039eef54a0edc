//! How a command ends: the sync point, the mod-sequence a client can rely on, and the tagged line.
//!
//! # Standards
//! RFC 3501 §7, RFC 7162 §3.2 and §6 [S-148, S-149, S-150, S-151].

use super::{Next, Session};
use crate::refusal::{Kind, Refusal, Stop};
use crate::shared::{Closed, Event, Sink};
use crate::view::View;
use imap::command::Tag;
use imap::encode::{self, Code, Status};
use imap::number::ModSeq;
use imap::set::UidSet;
use std::borrow::Cow;
use std::sync::Arc;
use store::MailboxState;

/// Which changes by others may be told before the tagged line.
#[derive(Clone, Debug)]
pub(crate) enum Tell {
    /// None: nothing is selected, or the command closed it.
    Nothing,
    /// Everything, messages that are gone too.
    All,
    /// Everything but what is gone: FETCH, STORE and SEARCH by number [S-60, S-143].
    NoExpunges,
    /// As one of the above, up to this state; the messages of the set have been answered for by the command.
    UpTo {
        /// The state.
        state: Arc<MailboxState>,
        /// Whether messages that are gone may be told.
        expunges: bool,
        /// Messages whose flags the client knows as they are in the state.
        known: UidSet,
    },
}

/// A command's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) code: Option<Code>,
    pub(crate) text: Cow<'static, str>,
    pub(crate) tell: Tell,
    /// HIGHESTMODSEQ is due even when the client would compute it by itself [S-137].
    pub(crate) highest_due: bool,
}

impl Reply {
    /// OK, with everything told that others did.
    pub(crate) fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { status: Status::Ok, code: None, text, tell: Tell::All, highest_due: false }
    }

    /// The same with a code.
    pub(crate) fn code(self, code: Code) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same with another sync.
    pub(crate) fn tell(self, tell: Tell) -> Self {
        Self { tell, ..self }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (status, tell) = match refusal.kind {
            Kind::No => (Status::No, Tell::NoExpunges),
            Kind::Bad => (Status::Bad, Tell::Nothing),
            Kind::Bye => (Status::Bye, Tell::Nothing),
        };
        Self { status, code: refusal.code, text: refusal.text, tell, highest_due: false }
    }
}

/// The answer to a refused command. COPY and MOVE tell which messages are gone (RFC 2180 §4.4): their
/// numbers may change with the answer, unlike those of FETCH, STORE and SEARCH.
fn refused(name: &str, refusal: Refusal) -> Reply {
    let told = refusal.kind == Kind::No && matches!(name, "COPY" | "MOVE");
    let reply = Reply::from(refusal);
    if told { reply.tell(Tell::All) } else { reply }
}

impl Session {
    /// Ends a command: syncs, says what HIGHESTMODSEQ is when that is due, and writes the tagged line.
    pub(crate) async fn finish<S: Sink>(
        &mut self,
        tag: &Tag,
        name: &'static str,
        since: u64,
        result: Result<Reply, Stop>,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let reply = match result {
            Ok(reply) => reply,
            Err(Stop::Refused(refusal)) => refused(name, refusal),
            Err(Stop::Closed) => return Err(Closed),
        };
        let observer = Arc::clone(&self.shared.observer);
        observer.command(name, reply.status, observer.now_nanos().saturating_sub(since));
        if reply.status == Status::Bye {
            // No tagged answer: neither OK nor NO would be true [H1].
            encode::untagged(sink.buffer(), Status::Bye, reply.code.as_ref(), &reply.text);
            return Ok(Next::Close);
        }
        let (due, next) = self.sync(reply.tell, sink).await?;
        if next == Next::Close {
            return Ok(next);
        }
        let due = match (due, &self.view) {
            (None, Some(view)) if reply.highest_due => Some(view.settled()),
            (due, _) => due,
        };
        let code = match (reply.code, due) {
            (None, Some(value)) if self.voice.aware => Some(Code::HighestModSeq(value)),
            (code, due) => {
                // A tagged line has room for one code.
                self.tell_highest(due, sink);
                code
            }
        };
        encode::tagged(sink.buffer(), tag, reply.status, code.as_ref(), &reply.text);
        if reply.status == Status::Bad { Ok(self.count_bad(sink)) } else { Ok(Next::Read) }
    }

    /// [`Session::finish`] for what is not measured: how long a client thinks.
    pub(crate) async fn finish_now<S: Sink>(
        &mut self,
        tag: &Tag,
        name: &'static str,
        result: Result<Reply, Stop>,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let since = self.shared.observer.now_nanos();
        self.finish(tag, name, since, result, sink).await
    }

    /// Tells what the command lets be told; answers what HIGHESTMODSEQ must say, if anything.
    async fn sync<S: Sink>(
        &mut self,
        tell: Tell,
        sink: &mut S,
    ) -> Result<(Option<ModSeq>, Next), Closed> {
        let voice = self.voice;
        let Some(view) = &mut self.view else { return Ok((None, Next::Read)) };
        let (state, expunges, known) = match tell {
            Tell::Nothing => return Ok((None, Next::Read)),
            Tell::All => (view.mailbox.state(), true, UidSet::new()),
            Tell::NoExpunges => (view.mailbox.state(), false, UidSet::new()),
            Tell::UpTo { state, expunges, known } => (state, expunges, known),
        };
        let state = match view.accept(&state) {
            Ok(state) => state,
            Err(bye) => {
                encode::untagged(sink.buffer(), Status::Bye, bye.code.as_ref(), &bye.text);
                return Ok((None, Next::Close));
            }
        };
        view.tell_numbers(&state, expunges, voice, sink).await?;
        view.tell_flags(&known, voice, sink).await?;
        if view.held_back() > self.shared.config.held_back_max {
            self.shared.observer.count(Event::LaggingViewClosed);
            let text = "Too many messages are gone that could not be told: NOOP tells them";
            encode::untagged(sink.buffer(), Status::Bye, Some(&Code::Limit), text);
            return Ok((None, Next::Close));
        }
        Ok((view.settle(), Next::Read))
    }

    /// Untagged HIGHESTMODSEQ, to a client that has shown that it understands it.
    fn tell_highest<S: Sink>(&mut self, due: Option<ModSeq>, sink: &mut S) {
        if let Some(value) = due.filter(|_| self.voice.aware) {
            let code = Code::HighestModSeq(value);
            encode::untagged(
                sink.buffer(),
                Status::Ok,
                Some(&code),
                "All changes up to it are told",
            );
        }
    }

    /// Tells everything, with HIGHESTMODSEQ untagged: during IDLE [S-150, S-160].
    pub(crate) async fn tell_all<S: Sink>(&mut self, sink: &mut S) -> Result<Next, Closed> {
        let (due, next) = self.sync(Tell::All, sink).await?;
        self.tell_highest(due, sink);
        Ok(next)
    }

    /// A CONDSTORE-enabling command was given [S-23]. With a mailbox selected, the first one is told what
    /// HIGHESTMODSEQ is, as it is before the command's own effect [S-26, S-27, S-28].
    pub(crate) fn become_aware<S: Sink>(&mut self, sink: &mut S) {
        if self.voice.aware || !self.has_mod_seqs() {
            return;
        }
        self.voice.aware = true;
        if let Some(view) = &mut self.view {
            view.note_settled();
            let settled = view.settled();
            self.tell_highest(Some(settled), sink);
        }
    }

    /// The selected mailbox, or BAD.
    pub(crate) fn selected(&mut self) -> Result<&mut View, Refusal> {
        self.view.as_mut().ok_or_else(Refusal::unselected)
    }

    /// The account that is logged in.
    pub(crate) fn login(&self) -> Result<&super::Login, Refusal> {
        self.login.as_ref().ok_or_else(|| Refusal::bad("Log in first"))
    }
}
