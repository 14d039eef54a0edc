//! One connection's state, and the loop that turns what the client sent into commands.
//!
//! # Invariants
//! - Commands are carried out in the order received; only consecutive STOREs wait for the store together, and
//!   their answers keep the order [S-82].
//! - Between calls a session holds no command, no buffer that is not half of one, and no future.

mod answer;
mod dispatch;

use crate::account::{Exchange, Identity, Peer};
use crate::command::append::Appending;
use crate::command::store::InFlight;
use crate::shared::{Closed, Event, Shared, Sink, relieve};
use crate::view::{View, Voice};
use imap::command::Tag;
use imap::encode::{self, Code, Status};
use imap::frame::{Frame, Framer};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) use answer::{Reply, Tell};

/// One client's conversation.
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Peer,
    pub(crate) framer: Framer,
    pub(crate) login: Option<Login>,
    pub(crate) voice: Voice,
    pub(crate) view: Option<View>,
    pub(crate) mode: Mode,
    pub(crate) in_flight: VecDeque<InFlight>,
    bad_commands: u32,
}

/// Who is logged in, with the account's handle.
pub(crate) struct Login {
    pub(crate) identity: Identity,
    pub(crate) account: store::Account,
    /// Groups, grants and the mailboxes of nobody.
    pub(crate) directory: store::Account,
}

/// What the next line from the client is.
pub(crate) enum Mode {
    /// A command.
    Command,
    /// An answer in a SASL exchange.
    Sasl(Sasl),
    /// DONE.
    Idle(Tag),
    /// The messages of an APPEND.
    Append(Box<Appending>),
}

/// A SASL exchange that waits for the client.
pub(crate) struct Sasl {
    pub(crate) tag: Tag,
    pub(crate) exchange: Box<dyn Exchange>,
    /// Proven already: only the empty answer to the mechanism's last words is missing.
    pub(crate) proven: Option<Identity>,
}

/// What whoever drives a session does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Flush, then read on.
    Read,
    /// Flush, do the TLS handshake, then call [`Session::secured`].
    StartTls,
    /// Flush, then close the connection.
    Close,
}

/// Why a server ends a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bye {
    /// The server stops.
    ShuttingDown,
    /// The client was silent for too long (RFC 3501 §5.4).
    Idle,
    /// The server has too much to do.
    Overload,
    /// Storage failed.
    Broken,
}

impl Session {
    /// A session that has not said anything yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, peer: Peer) -> Self {
        let framer = Framer::new(shared.config.limits_before_login);
        Self {
            shared,
            peer,
            framer,
            login: None,
            voice: Voice::default(),
            view: None,
            mode: Mode::Command,
            in_flight: VecDeque::new(),
            bad_commands: 0,
        }
    }

    /// Writes the greeting (RFC 3501 §7.1.1) with the capabilities.
    pub fn greet(&mut self, sink: &mut impl Sink) {
        let code = Code::Capability(self.shared.capabilities(&self.peer, None));
        let text = format!("{} is ready", self.shared.config.server_name);
        encode::untagged(sink.buffer(), Status::Ok, Some(&code), &text);
    }

    /// Handles everything that is complete in what has been received so far.
    ///
    /// Answers are in the sink's buffer; it is flushed in between only when it grows past 64 KiB.
    ///
    /// # Errors
    /// [`Closed`] when the client is gone.
    pub async fn receive<S: Sink>(&mut self, octets: &[u8], sink: &mut S) -> Result<Next, Closed> {
        self.framer.push(octets);
        while let Some(frame) = self.framer.next() {
            // Boxed, so that a session without a command is small.
            let next = Box::pin(self.take_frame(frame, sink)).await?;
            if next != Next::Read {
                return Ok(next);
            }
            relieve(sink).await?;
        }
        if self.in_flight.is_empty() {
            return Ok(Next::Read);
        }
        Box::pin(self.finish_stores(sink)).await
    }

    /// Handles one frame.
    async fn take_frame<S: Sink>(&mut self, frame: Frame, sink: &mut S) -> Result<Next, Closed> {
        if !matches!(frame, Frame::Command(_)) && self.finish_stores(sink).await? == Next::Close {
            return Ok(Next::Close);
        }
        match frame {
            Frame::Command(text) => self.take_command(&text, sink).await,
            Frame::Line(line) => self.take_line(&line, sink).await,
            Frame::Continue => {
                encode::continuation(sink.buffer(), "Ready for literal data");
                Ok(Next::Read)
            }
            Frame::Message(start) => self.append_begin(start, sink).await,
            Frame::MessageData(octets) => self.append_data(&octets).await,
            Frame::MessageEnd => self.append_message_end().await,
            Frame::AppendEnd => self.append_end(None, sink).await,
            Frame::AppendBroken(error) => self.append_end(Some(error), sink).await,
            Frame::MessageRefused => self.append_refused(sink).await,
            Frame::Invalid { error, fatal: true, .. } => {
                let text = error.to_string();
                encode::untagged(sink.buffer(), Status::Bye, Some(&Code::TooBig), &text);
                Ok(Next::Close)
            }
            Frame::Invalid { tag, error, text, .. } => {
                Ok(self.misunderstood(tag.as_ref(), &error, &text, sink))
            }
        }
    }

    /// A line that is not a command: the client's part of AUTHENTICATE or IDLE.
    async fn take_line<S: Sink>(&mut self, line: &[u8], sink: &mut S) -> Result<Next, Closed> {
        match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::Sasl(sasl) => self.sasl_answer(sasl, line, sink).await,
            Mode::Idle(tag) => self.idle_end(&tag, line, sink).await,
            mode @ (Mode::Command | Mode::Append(_)) => {
                self.mode = mode;
                Ok(self.bad(None, "expected a command", sink))
            }
        }
    }

    /// Answers BAD, and gives up on a stranger that sends nothing else.
    pub(crate) fn bad(&mut self, tag: Option<&Tag>, text: &str, sink: &mut impl Sink) -> Next {
        self.shared.observer.count(Event::BadCommand);
        match tag {
            Some(tag) => encode::tagged(sink.buffer(), tag, Status::Bad, None, text),
            None => encode::untagged(sink.buffer(), Status::Bad, None, text),
        }
        self.count_bad(sink)
    }

    /// Counts a bad command; before login only so many are heard.
    pub(crate) fn count_bad(&mut self, sink: &mut impl Sink) -> Next {
        if self.login.is_some() {
            return Next::Read;
        }
        self.bad_commands += 1;
        if self.bad_commands < self.shared.config.bad_commands_max {
            return Next::Read;
        }
        encode::untagged(sink.buffer(), Status::Bye, None, "Too many bad commands before login");
        Next::Close
    }

    /// While nothing arrives: ready when there is something to push. Only during IDLE.
    #[must_use]
    pub fn waiting_for(&self) -> Option<store::Changed> {
        match (&self.mode, &self.view) {
            (Mode::Idle(_), Some(view)) => Some(view.changed()),
            _ => None,
        }
    }

    /// Tells what has changed, during IDLE [S-160].
    ///
    /// # Errors
    /// [`Closed`] when the client is gone.
    pub async fn push<S: Sink>(&mut self, sink: &mut S) -> Result<Next, Closed> {
        if !matches!(self.mode, Mode::Idle(_)) {
            return Ok(Next::Read);
        }
        Box::pin(self.tell_all(sink)).await
    }

    /// The TLS handshake after STARTTLS is done: what was known before it is forgotten (RFC 3501 §6.2.1).
    pub fn secured(&mut self, peer: Peer) {
        self.peer = peer;
        self.framer.discard_buffered();
        self.bad_commands = 0;
    }

    /// Writes BYE. The connection is to be closed after it.
    pub fn close(&mut self, why: Bye, sink: &mut impl Sink) {
        let (code, text) = match why {
            Bye::ShuttingDown => (Some(Code::Unavailable), "The server is shutting down"),
            Bye::Idle => (None, "Nothing was heard for too long"),
            Bye::Overload => (Some(Code::Limit), "The server has too much to do, try again later"),
            Bye::Broken => (Some(Code::Unavailable), "Storage failed, see the server's log"),
        };
        encode::untagged(sink.buffer(), Status::Bye, code.as_ref(), text);
    }

    /// Whether somebody has logged in.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.login.is_some()
    }

    /// Whether no command or literal has been received by half.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.mode, Mode::Command | Mode::Idle(_)) && self.framer.is_idle()
    }

    /// Who has logged in.
    #[must_use]
    pub fn account(&self) -> Option<&Identity> {
        self.login.as_ref().map(|login| &login.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    /// What drives a session may be moved between threads.
    #[expect(dead_code, reason = "that it compiles is the test")]
    async fn futures_can_move(session: &mut Session, sink: &mut Vec<u8>) {
        let _ = is_send(session.receive(b"", sink)).await;
        let _ = is_send(session.push(sink)).await;
    }
}
