//! A conversation with a server, without I/O: commands in and octets out, octets in and answers out.
//!
//! Commands may be submitted while others are on their way (RFC 3501 §5.5); servers answer in order. Literals that
//! the server wants to be asked for hold back what follows them. Messages may pass through in pieces, both ways, so
//! that none is ever held whole: see [`Conversation::submit_append_of`] and [`Conversation::submit_body`].
//!
//! # Invariants
//! - Untagged responses belong to the oldest command that has no answer yet, or to the next one: none is lost.
//! - A response that cannot be parsed disturbs none of the others; it is counted.
//! - Nothing is taken as an answer that has not the tag of the oldest command, and no OK before the command was sent.
//!
//! # Standards
//! RFC 3501 §2.2 and §5.5, RFC 7888 (literals).

mod transfer;

use crate::answer::Answer;
use crate::error::Error;
use imap::command::{AppendHead, Command, CommandBody, MailboxName, Tag};
use imap::command_encode::{self, Encoded, Literals};
use imap::encode::{Code, Status};
use imap::response::{self, Response, ResponseCode, ResponseFramer, ResponseLimits, ResponsePart};
use std::collections::VecDeque;
use transfer::Body;
pub use transfer::{Progress, whole_message};

/// Names a command that was submitted.
#[must_use = "its answer waits to be taken"]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// Something to be sent.
enum Piece {
    Octets(Vec<u8>),
    /// Only after `+`.
    Wait,
    /// So many octets of a literal that is supplied piece by piece.
    Supply(u64),
}

/// A command that has no answer yet.
struct Pending {
    ticket: Ticket,
    tag: Tag,
    untagged: Vec<Response>,
    /// Its answer's section is handed on while it comes.
    streams: bool,
    /// Nobody takes its answer.
    left: bool,
    /// It has continuation requests of its own.
    is_asked: bool,
}

/// A message for APPEND.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// Flags and internal date.
    pub head: AppendHead,
    /// The octets.
    pub octets: &'a [u8],
}

/// See the module.
pub struct Conversation {
    framer: ResponseFramer,
    /// What is to be sent, each piece with the command that it belongs to.
    out: VecDeque<(Ticket, Piece)>,
    pending: VecDeque<Pending>,
    done: Vec<(Ticket, Answer)>,
    stray: Vec<Response>,
    /// What was fetched piece by piece and is not taken yet.
    bodies: Vec<Body>,
    continuations: VecDeque<Vec<u8>>,
    greeting: Option<Status>,
    greeting_text: String,
    bye: Option<String>,
    capabilities: Vec<String>,
    enabled: Vec<String>,
    next: u64,
    unparsed: u64,
    received: u64,
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new(ResponseLimits::default())
    }
}

impl Conversation {
    /// A conversation of which nothing was heard yet.
    #[must_use]
    pub fn new(limits: ResponseLimits) -> Self {
        Self {
            framer: ResponseFramer::new(limits),
            out: VecDeque::new(),
            pending: VecDeque::new(),
            done: Vec::new(),
            stray: Vec::new(),
            bodies: Vec::new(),
            continuations: VecDeque::new(),
            greeting: None,
            greeting_text: String::new(),
            bye: None,
            capabilities: Vec::new(),
            enabled: Vec::new(),
            next: 1,
            unparsed: 0,
            received: 0,
        }
    }

    /// The greeting: OK, PREAUTH or BYE; `None` until it has come.
    #[must_use]
    pub fn greeting(&self) -> Option<Status> {
        self.greeting
    }

    /// What the greeting said for people; empty until it has come.
    #[must_use]
    pub fn greeting_text(&self) -> &str {
        &self.greeting_text
    }

    /// What BYE said, once it was said.
    #[must_use]
    pub fn bye(&self) -> Option<&str> {
        self.bye.as_deref()
    }

    /// What the server has listed last, as sent.
    #[must_use]
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// Whether the server has listed this capability.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.capabilities.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether the server has said that this extension is enabled (RFC 5161).
    #[must_use]
    pub fn is_enabled(&self, name: &str) -> bool {
        self.enabled.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Forgets what the server can do, as is due after STARTTLS and login.
    pub fn forget_capabilities(&mut self) {
        self.capabilities.clear();
    }

    /// How many responses could not be parsed and were passed over.
    #[must_use]
    pub fn unparsed(&self) -> u64 {
        self.unparsed
    }

    /// How many octets were received.
    #[must_use]
    pub fn octets_received(&self) -> u64 {
        self.received
    }

    /// Whether nothing is half received, unanswered or unread.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.framer.is_idle() && self.pending.is_empty() && self.stray.is_empty()
    }

    /// How many commands have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Queues a command.
    ///
    /// # Errors
    /// [`Error::Encode`] when the wire cannot say it.
    pub fn submit(&mut self, body: CommandBody) -> Result<Ticket, Error> {
        let (ticket, tag) = self.name();
        let is_asked = matches!(body, CommandBody::Idle | CommandBody::Authenticate { .. });
        let command = Command { tag: tag.clone(), body };
        let encoded = command_encode::command(&command, self.literals())?;
        self.queue(ticket, encoded);
        let ticket = self.expect(ticket, tag);
        if let Some(pending) = self.pending.back_mut() {
            pending.is_asked = is_asked;
        }
        Ok(ticket)
    }

    /// Queues an APPEND of one message, or of several where the server has MULTIAPPEND.
    ///
    /// # Errors
    /// As [`Conversation::submit`].
    pub fn submit_append(
        &mut self,
        mailbox: &str,
        messages: &[NewMessage<'_>],
    ) -> Result<Ticket, Error> {
        let (ticket, tag) = self.name();
        let mut pieces = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let first = (at == 0).then(|| (tag.clone(), MailboxName(mailbox.to_owned())));
            let head = AppendHead { first, ..message.head.clone() };
            let size = message.octets.len();
            pieces.push(command_encode::append_head(&head, size, self.literals())?);
        }
        for (encoded, message) in pieces.into_iter().zip(messages) {
            self.queue(ticket, encoded);
            self.out.push_back((ticket, Piece::Octets(message.octets.to_vec())));
        }
        self.out.push_back((ticket, Piece::Octets(b"\r\n".to_vec())));
        Ok(self.expect(ticket, tag))
    }

    /// Queues a line that is no command: an answer in a SASL exchange, or DONE.
    pub fn submit_line(&mut self, line: &[u8]) {
        let newest = Ticket(self.next - 1);
        self.out.push_back((newest, Piece::Octets([line, b"\r\n"].concat())));
    }

    fn name(&mut self) -> (Ticket, Tag) {
        let ticket = Ticket(self.next);
        self.next += 1;
        (ticket, Tag(format!("h{}", ticket.0).into()))
    }

    fn expect(&mut self, ticket: Ticket, tag: Tag) -> Ticket {
        // What came since the last answer comes with the next one [C-30].
        let untagged = std::mem::take(&mut self.stray);
        self.pending.push_back(Pending {
            ticket,
            tag,
            untagged,
            streams: false,
            left: false,
            is_asked: false,
        });
        ticket
    }

    fn literals(&self) -> Literals {
        if self.has("LITERAL+") {
            Literals::NonSynchronising
        } else if self.has("LITERAL-") {
            Literals::UpTo4096
        } else {
            Literals::Synchronising
        }
    }

    fn queue(&mut self, ticket: Ticket, Encoded { octets, waits }: Encoded) {
        let mut from = 0;
        for at in waits {
            let piece = octets.get(from..at).unwrap_or_default().to_vec();
            self.out.push_back((ticket, Piece::Octets(piece)));
            self.out.push_back((ticket, Piece::Wait));
            from = at;
        }
        let piece = octets.get(from..).unwrap_or_default().to_vec();
        self.out.push_back((ticket, Piece::Octets(piece)));
    }

    /// Takes everything that may be sent now; empty when there is nothing, or the server is to speak first.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while let Some((_, Piece::Octets(piece))) = self.out.front() {
            octets.extend_from_slice(piece);
            self.out.pop_front();
        }
        octets
    }

    /// Takes what was received.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the server's answers cannot be told apart any more.
    pub fn receive(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.received += octets.len() as u64;
        self.framer.push(octets);
        loop {
            let streams = self.pending.front().is_some_and(|pending| pending.streams);
            let Some(part) = self.framer.next_part(streams) else { return Ok(()) };
            match part.map_err(|error| Error::Protocol(error.to_string()))? {
                ResponsePart::Whole(frame) => self.take_frame(&frame)?,
                ResponsePart::SectionBegins(size) => self.begin_body(size)?,
                ResponsePart::SectionOctets(octets) => self.take_octets(octets.into()),
            }
        }
    }

    fn take_frame(&mut self, frame: &[u8]) -> Result<(), Error> {
        match response::parse(frame) {
            Ok(response) => {
                let response = self.settle_body(response)?;
                self.take_response(response)
            }
            Err(_) if frame.starts_with(b"*") => {
                self.unparsed += 1;
                Ok(())
            }
            Err(error) => Err(Error::Protocol(error.to_string())),
        }
    }

    fn take_response(&mut self, response: Response) -> Result<(), Error> {
        let greeted = self.greeting.is_some();
        self.learn(&response);
        match response {
            Response::Status { tag: None, .. } if !greeted => {}
            // IDLE and AUTHENTICATE are asked themselves: a late one is no leave to send another command's literal.
            Response::Continue(text) => match self.out.front() {
                Some((_, Piece::Wait)) if !self.pending.front().is_some_and(|p| p.is_asked) => {
                    drop(self.out.pop_front());
                }
                _ => self.continuations.push_back(text),
            },
            Response::Status { tag: Some(tag), status, code, text } => {
                let oldest = self.pending.pop_front().filter(|pending| pending.tag == tag);
                let Some(Pending { ticket, mut untagged, left, .. }) = oldest else {
                    return Err(Error::Protocol(format!(
                        "an answer to {tag}, which was not asked"
                    )));
                };
                self.end_output(ticket, status)?;
                self.continuations.clear();
                if left {
                    // What it told of others is not lost with it [C-30].
                    let next = self.pending.front_mut().map(|next| &mut next.untagged);
                    let next = next.unwrap_or(&mut self.stray);
                    untagged.append(next);
                    *next = untagged;
                    return Ok(());
                }
                self.done.push((ticket, Answer { status, code, text, untagged }));
            }
            response => match self.pending.front_mut() {
                Some(pending) => pending.untagged.push(response),
                None => self.stray.push(response),
            },
        }
        Ok(())
    }

    /// What an answer means for what is still to be sent of its command.
    fn end_output(&mut self, ticket: Ticket, status: Status) -> Result<(), Error> {
        let mut own = self.out.iter().take_while(|(of, _)| *of == ticket).map(|(_, piece)| piece);
        match (own.find(|piece| !matches!(piece, Piece::Octets(_))), status) {
            (Some(_), Status::Ok) => {
                Err(Error::Protocol("OK to a command that was not sent whole".into()))
            }
            // The server has asked for the literal, or was not to be asked: it reads the rest before anything else.
            (Some(Piece::Supply(_)), _) | (_, Status::Ok) => Ok(()),
            // A command that was refused at its literal: what was held back is not sent.
            _ => {
                while self.out.front().is_some_and(|(of, _)| *of == ticket) {
                    self.out.pop_front();
                }
                Ok(())
            }
        }
    }

    /// What every response may tell about the server itself.
    fn learn(&mut self, response: &Response) {
        match response {
            Response::Capability(names) => self.capabilities.clone_from(names),
            Response::Enabled(names) => self.enabled.extend_from_slice(names),
            Response::Status { tag, status, code, text } => {
                if let Some(ResponseCode::Known(Code::Capability(list))) = code {
                    self.capabilities = list.split_whitespace().map(str::to_owned).collect();
                }
                if tag.is_none() && self.greeting.is_none() {
                    self.greeting = Some(*status);
                    self.greeting_text.clone_from(text);
                }
                if tag.is_none() && *status == Status::Bye {
                    self.bye = Some(text.clone());
                }
            }
            _ => {}
        }
    }

    /// The answer to the command, once it has come.
    pub fn take_answer(&mut self, ticket: Ticket) -> Option<Answer> {
        let at = self.done.iter().position(|(known, _)| *known == ticket)?;
        Some(self.done.swap_remove(at).1)
    }

    /// What the server asked for with `+`, during AUTHENTICATE and IDLE.
    pub fn take_continuation(&mut self) -> Option<Vec<u8>> {
        self.continuations.pop_front()
    }

    /// Nobody will take the answer to this command: what came with it comes with the next one.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) {
            pending.left = true;
        } else if let Some(answer) = self.take_answer(ticket) {
            let next = self.pending.front_mut().map(|next| &mut next.untagged);
            next.unwrap_or(&mut self.stray).splice(0..0, answer.untagged);
        }
    }

    /// Whether there is something that [`Conversation::take_untagged`] would take.
    #[must_use]
    pub fn has_untagged(&self) -> bool {
        let oldest = self.pending.front();
        !self.stray.is_empty() || oldest.is_some_and(|pending| !pending.untagged.is_empty())
    }

    /// Takes untagged responses early: those of the oldest command without an answer, or of the next one.
    pub fn take_untagged(&mut self) -> Vec<Response> {
        let mut all = std::mem::take(&mut self.stray);
        if let Some(pending) = self.pending.front_mut() {
            all.append(&mut pending.untagged);
        }
        all
    }
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conversation({} in flight)", self.pending.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Conversation {
        let mut conversation = Conversation::default();
        conversation.receive(lines.replace('\n', "\r\n").as_bytes()).unwrap();
        conversation
    }

    #[test]
    fn answers_are_told_apart_when_commands_are_pipelined() {
        let mut c = told("* OK [CAPABILITY IMAP4rev1 IDLE] hello\n");
        assert!(c.has("idle") && c.greeting() == Some(Status::Ok));
        let first = c.submit(CommandBody::Noop).unwrap();
        let second = c.submit(CommandBody::Check).unwrap();
        assert_eq!(c.take_output(), b"h1 NOOP\r\nh2 CHECK\r\n");
        c.receive(b"* 3 EXISTS\r\n* nonsense (\r\nh1 OK done\r\n* 4 EXISTS\r\n").unwrap();
        assert_eq!(c.take_answer(first).unwrap().untagged.first(), Some(&Response::Exists(3)));
        assert_eq!(c.take_answer(second), None);
        c.receive(b"h2 NO no\r\n* 5 EXISTS\r\n").unwrap();
        let answer = c.take_answer(second).unwrap();
        assert_eq!((answer.status, answer.untagged), (Status::No, vec![Response::Exists(4)]));
        assert_eq!(c.take_untagged(), [Response::Exists(5)]);
        assert!(c.receive(b"h9 OK what\r\n").is_err());
    }

    #[test]
    fn what_nobody_asked_for_comes_with_the_next_answer() {
        // [C-30]: or a VANISHED behind a tagged answer would be lost.
        let mut c = told("* OK hello\n");
        let first = c.submit(CommandBody::Noop).unwrap();
        c.receive(b"h1 OK done\r\n* VANISHED 5\r\n").unwrap();
        assert!(c.take_answer(first).unwrap().untagged.is_empty() && !c.is_idle());
        let second = c.submit(CommandBody::Noop).unwrap();
        c.receive(b"* 4 EXISTS\r\nh2 OK done\r\n").unwrap();
        let answer = c.take_answer(second).unwrap();
        assert_eq!(answer.vanished().len(), 1);
        assert_eq!(answer.untagged.last(), Some(&Response::Exists(4)));
    }

    #[test]
    fn literals_wait_and_a_refused_one_is_not_sent() {
        let mut c = told("* OK hello\n");
        let head = AppendHead { first: None, flags: vec![], internal_date: None };
        let messages = [NewMessage { head, octets: b"Subject: x\r\n\r\n" }];
        let append = c.submit_append("INBOX", &messages).unwrap();
        let noop = c.submit(CommandBody::Noop).unwrap();
        assert_eq!(c.take_output(), b"h1 APPEND INBOX {14}\r\n");
        assert_eq!(c.take_output(), b"");
        c.receive(b"h1 NO [OVERQUOTA] full\r\n").unwrap();
        assert_eq!(c.take_answer(append).unwrap().status, Status::No);
        assert_eq!(c.take_output(), b"h2 NOOP\r\n");
        c.receive(b"h2 OK done\r\n").unwrap();
        assert!(c.take_answer(noop).is_some());
        let append = c.submit_append("INBOX", &messages).unwrap();
        assert_eq!(c.take_output(), b"h3 APPEND INBOX {14}\r\n");
        c.receive(b"+ go\r\n").unwrap();
        assert_eq!(c.take_output(), b"Subject: x\r\n\r\n\r\n");
        c.receive(b"h3 OK done\r\n").unwrap();
        assert!(c.take_answer(append).is_some());
    }
    #[test]
    fn what_idle_is_asked_late_is_no_leave_for_a_literal() {
        let mut c = told("* OK hello\n");
        let idle = c.submit(CommandBody::Idle).unwrap();
        c.submit_line(b"DONE");
        let append = c
            .submit_append(
                "INBOX",
                &[NewMessage {
                    head: AppendHead { first: None, flags: vec![], internal_date: None },
                    octets: b"x",
                }],
            )
            .unwrap();
        assert_eq!(c.take_output(), b"h1 IDLE\r\nDONE\r\nh2 APPEND INBOX {1}\r\n");
        c.receive(b"+ idling\r\n").unwrap();
        assert_eq!(c.take_output(), b"");
        c.receive(b"h1 OK done\r\n+ go\r\n").unwrap();
        assert_eq!((c.take_output(), c.take_continuation()), (b"x\r\n".to_vec(), None));
        c.receive(b"h2 OK done\r\n").unwrap();
        assert!(c.take_answer(idle).is_some() && c.take_answer(append).is_some());
    }
}
