//! Messages that pass through in pieces: an APPEND whose octets are supplied, a FETCH whose section is handed on.
//!
//! # Invariants
//! - What is held does not grow with a message's size, as long as pieces are taken when they have come.
//! - A body counts once its response has named the UID that was asked for, and the command has ended with OK.
//! - A literal that was announced is sent whole or not at all: nothing of another command gets into it.
//!
//! # Standards
//! RFC 3501 §4.3, §6.3.11 and §6.4.8, RFC 7888.

use super::{Conversation, Piece, Ticket};
use crate::error::Error;
use imap::command::{
    AppendHead, CommandBody, Fetch, FetchItem, FetchSection, MailboxName, SectionLabel, SectionText,
};
use imap::command_encode::{self, EncodeError};
use imap::number::Uid;
use imap::response::{FetchData, Response};
use imap::set::UidSet;
use std::collections::VecDeque;

/// A section that comes piece by piece.
pub(super) struct Body {
    ticket: Ticket,
    uid: Uid,
    /// How long it is, once that was said.
    size: Option<u64>,
    received: u64,
    pieces: VecDeque<Vec<u8>>,
    /// The response has named the UID.
    confirmed: bool,
}

/// How far a message has got on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// How many octets have gone over.
    pub done: u64,
    /// How many there are; 0 until it is known.
    pub of: u64,
}

/// `BODY.PEEK[]`: the whole message, which stays unread.
#[must_use]
pub fn whole_message() -> FetchSection {
    FetchSection {
        label: SectionLabel::Body,
        part: Vec::new(),
        text: SectionText::All,
        partial: None,
        peek: true,
    }
}

impl Conversation {
    /// Queues an APPEND of one message of so many octets, which are supplied by [`Conversation::supply`] when
    /// [`Conversation::wants`] says so. Whether the server is asked before they are sent is by what it lists: LITERAL+,
    /// LITERAL-, or neither.
    ///
    /// # Errors
    /// As [`Conversation::submit`].
    pub fn submit_append_of(
        &mut self,
        mailbox: &str,
        head: &AppendHead,
        size: u64,
    ) -> Result<Ticket, Error> {
        let (ticket, tag) = self.name();
        let first = Some((tag.clone(), MailboxName(mailbox.to_owned())));
        let head = AppendHead { first, ..head.clone() };
        let bytes = usize::try_from(size)
            .map_err(|_| EncodeError { expected: "a message that fits the address space" })?;
        let encoded = command_encode::append_head(&head, bytes, self.literals())?;
        self.queue(ticket, encoded);
        if size > 0 {
            self.out.push_back((ticket, Piece::Supply(size)));
        }
        self.out.push_back((ticket, Piece::Octets(b"\r\n".to_vec())));
        Ok(self.expect(ticket, tag))
    }

    /// How many octets of the command's message are to be supplied now; `None` before the server lets them come, while
    /// there is [output](Conversation::take_output) to send first, and after the last.
    ///
    /// They are wanted even after NO: the server reads on to the literal's end.
    #[must_use]
    pub fn wants(&self, ticket: Ticket) -> Option<u64> {
        match self.out.front() {
            Some((of, Piece::Supply(left))) if *of == ticket => Some(*left),
            _ => None,
        }
    }

    /// Gives the message's next octets, to be sent.
    ///
    /// # Errors
    /// [`Error::Encode`] when that many are not wanted; nothing is taken then.
    pub fn supply(&mut self, ticket: Ticket, octets: &[u8]) -> Result<(), Error> {
        let left = self.wants(ticket).and_then(|left| left.checked_sub(octets.len() as u64));
        let left = left.ok_or(EncodeError { expected: "no more octets than were announced" })?;
        self.out.pop_front();
        if left > 0 {
            self.out.push_front((ticket, Piece::Supply(left)));
        }
        self.out.push_front((ticket, Piece::Octets(octets.to_vec())));
        Ok(())
    }

    /// How many octets an APPEND lacks; while it does, nothing else can be sent.
    #[must_use]
    pub fn lacks(&self) -> Option<u64> {
        self.out.iter().find_map(|(_, piece)| match piece {
            Piece::Supply(left) => Some(*left),
            Piece::Octets(_) | Piece::Wait => None,
        })
    }

    /// Queues `UID FETCH` of one section of one message, whose octets are taken by [`Conversation::take_body`] as they
    /// come. In the answer the section is left out.
    ///
    /// # Errors
    /// As [`Conversation::submit`].
    pub fn submit_body(&mut self, uid: Uid, section: FetchSection) -> Result<Ticket, Error> {
        let set = crate::store::sequence(&UidSet::one(uid))
            .ok_or(EncodeError { expected: "one message" })?;
        let items = vec![FetchItem::Uid, FetchItem::Section(section)];
        let fetch = Fetch { uid: true, set, items, changed_since: None, vanished: false };
        let ticket = self.submit(CommandBody::Fetch(fetch))?;
        if let Some(pending) = self.pending.back_mut() {
            pending.streams = true;
        }
        let (size, received, pieces) = (None, 0, VecDeque::new());
        self.bodies.push(Body { ticket, uid, size, received, pieces, confirmed: false });
        Ok(ticket)
    }

    /// The next octets of the section, once some have come. Until the answer is there and OK, and
    /// [`Conversation::end_body`] has said how many there were, they may be anybody's.
    pub fn take_body(&mut self, ticket: Ticket) -> Option<Vec<u8>> {
        self.body_mut(ticket)?.pieces.pop_front()
    }

    /// How far the section has come.
    #[must_use]
    pub fn body_progress(&self, ticket: Ticket) -> Progress {
        let body = self.bodies.iter().find(|body| body.ticket == ticket);
        body.map_or_else(Progress::default, |body| Progress {
            done: body.received,
            of: body.size.unwrap_or_default(),
        })
    }

    /// Forgets the section, and passes over what is still to come of it. Says how many octets there were; `None` when
    /// the server had none: the message or the part is not there.
    pub fn end_body(&mut self, ticket: Ticket) -> Option<u64> {
        let at = self.bodies.iter().position(|body| body.ticket == ticket)?;
        let body = self.bodies.swap_remove(at);
        body.size.filter(|_| body.confirmed)
    }

    /// Forgets all sections: nobody takes them any more.
    pub(crate) fn end_bodies(&mut self) {
        self.bodies.clear();
    }

    /// How many octets are held: those received that are not yet part of an answer, and those to be sent.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let out = self.out.iter().map(|(_, piece)| match piece {
            Piece::Octets(octets) => octets.len(),
            Piece::Wait | Piece::Supply(_) => 0,
        });
        let bodies = self.bodies.iter().flat_map(|body| body.pieces.iter().map(Vec::len));
        self.framer.held_bytes() + out.sum::<usize>() + bodies.sum::<usize>()
    }

    fn body_mut(&mut self, ticket: Ticket) -> Option<&mut Body> {
        self.bodies.iter_mut().find(|body| body.ticket == ticket)
    }

    /// The section that the oldest command waits for; `None` also when nobody wants it any more.
    fn awaited_body(&mut self) -> Option<&mut Body> {
        let pending = self.pending.front().filter(|pending| pending.streams)?;
        self.body_mut(pending.ticket)
    }

    /// A section's length is known.
    pub(super) fn begin_body(&mut self, size: u64) -> Result<(), Error> {
        match self.awaited_body() {
            Some(Body { size: Some(_), .. }) => {
                Err(Error::Protocol("a section came twice where one was asked for".into()))
            }
            Some(body) => {
                body.size = Some(size);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A section's octets have come.
    pub(super) fn take_octets(&mut self, octets: Vec<u8>) {
        if let Some(body) = self.awaited_body().filter(|_| !octets.is_empty()) {
            body.received += octets.len() as u64;
            body.pieces.push_back(octets);
        }
    }

    /// Takes the section out of the response, and sees whose it was.
    pub(super) fn settle_body(&mut self, mut response: Response) -> Result<Response, Error> {
        if !self.pending.front().is_some_and(|pending| pending.streams) {
            return Ok(response);
        }
        let Response::Fetch { items, .. } = &mut response else { return Ok(response) };
        let mut sections = Vec::new();
        items.retain_mut(|item| match item {
            FetchData::Section(section) => {
                sections.push(section.octets.take());
                false
            }
            _ => true,
        });
        for octets in sections {
            // One that was no literal.
            if let Some(octets) = octets {
                self.begin_body(octets.len() as u64)?;
                self.take_octets(octets);
            }
            let Some(body) = self.awaited_body() else { continue };
            let named = items.contains(&FetchData::Uid(body.uid));
            if body.size.is_some() && !named {
                let why = format!("a section of another message than UID {}", body.uid);
                return Err(Error::Protocol(why));
            }
            body.confirmed = true;
        }
        Ok(response)
    }
}
