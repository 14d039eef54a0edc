//! APPEND of one or more messages (RFC 3501 §6.3.11, RFC 3502), streamed to the store as they arrive.
//!
//! # Invariants
//! - Whether the mailbox is there is known before a literal is accepted.
//! - All messages of one APPEND are added, or none; an empty one takes all of them back (RFC 3502).
//!
//! # Standards
//! RFC 4315 §3 (APPENDUID), RFC 7889 (APPENDLIMIT), RFC 4469 §4 (TOOBIG).

use crate::refusal::{Refusal, Stop};
use crate::session::{Mode, Next, Reply, Session, Tell};
use crate::shared::{Closed, Sink};
use imap::command::{AppendHead, DateTime, MailboxName, Tag};
use imap::encode::{self, Code};
use imap::frame::MessageStart;
use imap::parse::DecodeError;
use imap::set::UidSet;
use store::{Change, MailboxId, NewBody, NewMessage, Outcome, Received, Receiver};

const NAME: &str = "APPEND";

/// An APPEND that is being received.
pub(crate) struct Appending {
    tag: Tag,
    target: Option<MailboxId>,
    /// Those that are complete, each with what stood before it.
    messages: Vec<(AppendHead, Received)>,
    current: Option<(AppendHead, Receiver)>,
    /// Why nothing will be added: the rest is read and thrown away.
    failure: Option<Refusal>,
    since: u64,
}

impl Session {
    /// A message literal begins: accepts it, or says why not.
    pub(crate) async fn append_begin<S: Sink>(
        &mut self,
        start: MessageStart,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let MessageStart { mut head, size, synchronising, binary, .. } = start;
        if let Some((tag, mailbox)) = head.first.take() {
            let since = self.shared.observer.now_nanos();
            let (target, failure) = match self.append_target(&mailbox).await {
                Ok(id) => (Some(id), None),
                Err(refusal) => (None, Some(refusal)),
            };
            let (messages, current) = (Vec::new(), None);
            let append = Appending { tag, target, messages, current, failure, since };
            self.mode = Mode::Append(Box::new(append));
        }
        let limits = &self.shared.config;
        let (octets_max, count_max) = (limits.limits.message_bytes_max, limits.append_messages_max);
        let store = self.shared.store.clone();
        let Mode::Append(append) = &mut self.mode else {
            self.framer.refuse_message();
            return Ok(Next::Read);
        };
        let failure = append.failure.take().or_else(|| {
            if size > octets_max {
                let text = format!("A message has at most {octets_max} octets");
                Some(Refusal::coded(Code::TooBig, text))
            } else if append.messages.len() >= count_max {
                let text = format!("One APPEND takes at most {count_max} messages");
                Some(Refusal::coded(Code::Limit, text))
            } else if size == 0 {
                // RFC 3502: an error that must be NO, and how a client takes back what it has begun.
                Some(Refusal::no("A message without a single octet takes the APPEND back"))
            } else if binary {
                Some(Refusal::coded(Code::UnknownCte, "Only literals without ~ are taken"))
            } else {
                None
            }
        });
        match failure.map_or_else(|| store.receive().map_err(Refusal::from), Err) {
            Ok(receiver) => {
                append.current = Some((head, receiver));
                self.framer.accept_message();
                if synchronising {
                    encode::continuation(sink.buffer(), "Ready for the message");
                }
            }
            Err(refusal) => {
                append.failure = Some(refusal);
                self.framer.refuse_message();
            }
        }
        Ok(Next::Read)
    }

    /// The mailbox to add to.
    async fn append_target(&mut self, mailbox: &MailboxName) -> Result<MailboxId, Refusal> {
        let id = self.target(mailbox).await?;
        self.shared.store.mailbox(id).await.map_err(|error| Refusal::from(error).for_target())?;
        Ok(id)
    }

    /// Octets of a message.
    pub(crate) async fn append_data(&mut self, octets: &[u8]) -> Result<Next, Closed> {
        if let Mode::Append(append) = &mut self.mode
            && let Some((_, receiver)) = &mut append.current
            && let Err(error) = receiver.write(octets)
        {
            append.current = None;
            append.failure = Some(error.into());
        }
        Ok(Next::Read)
    }

    /// A message is complete.
    pub(crate) async fn append_message_end(&mut self) -> Result<Next, Closed> {
        if let Mode::Append(append) = &mut self.mode
            && let Some((head, receiver)) = append.current.take()
        {
            match receiver.end().await {
                Ok(received) => append.messages.push((head, received)),
                Err(error) => append.failure = Some(error.into()),
            }
        }
        Ok(Next::Read)
    }

    /// The command has ended: adds the messages [S-155].
    pub(crate) async fn append_end<S: Sink>(
        &mut self,
        broken: Option<DecodeError>,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let Mode::Append(append) = std::mem::replace(&mut self.mode, Mode::Command) else {
            return Ok(self.bad(None, "expected a command", sink));
        };
        let Appending { tag, target, messages, failure, since, .. } = *append;
        let broken = broken.map(|error| Refusal::bad(error.to_string()));
        let result = match (broken.or(failure), target) {
            (Some(refusal), _) => Err(refusal.into()),
            (None, Some(mailbox)) => self.append_now(mailbox, messages).await,
            (None, None) => Err(Refusal::bad("expected a mailbox").into()),
        };
        self.finish(&tag, NAME, since, result, sink).await
    }

    /// A literal was refused and is out of the way.
    pub(crate) async fn append_refused<S: Sink>(&mut self, sink: &mut S) -> Result<Next, Closed> {
        self.append_end(None, sink).await
    }

    async fn append_now(
        &mut self,
        mailbox: MailboxId,
        messages: Vec<(AppendHead, Received)>,
    ) -> Result<Reply, Stop> {
        let now = DateTime { unix: self.shared.store.now(), zone_minutes: 0 };
        let (heads, received): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        // One sync for all messages of the command.
        let bodies = self.shared.store.make_durable(received).await.map_err(Refusal::from)?;
        let message = |(head, body): (AppendHead, NewBody)| NewMessage {
            body,
            flags: head.flags,
            internal_date: head.internal_date.unwrap_or(now),
        };
        let messages = heads.into_iter().zip(bodies).map(message).collect();
        let user = self.login()?.identity.account;
        let change = Change::Append { mailbox, messages };
        let outcome = self.shared.store.submit_by(user, change).await;
        let appended = match outcome {
            Ok(Outcome::Appended(appended)) => appended,
            Ok(_) => return Err(Refusal::no("The store answered something else").into()),
            Err(error) => return Err(Refusal::from(error).for_target().into()),
        };
        let mut reply = Reply::ok("Added");
        if self.may_read(&appended.after)? {
            reply.code = Some(Code::AppendUid(appended.uid_validity, appended.uids));
        }
        // EXISTS at once when the mailbox is the selected one.
        let here = self.view.as_ref().is_some_and(|view| view.mailbox.id() == mailbox);
        if here {
            let (state, known) = (appended.after, UidSet::new());
            return Ok(reply.tell(Tell::UpTo { state, expunges: true, known }));
        }
        Ok(reply)
    }
}
