//! NOTIFY as a server reads it.
//!
//! # Standards
//! RFC 5465 §8.

use super::{Cursor, DecodeError, Parsed};
use crate::command::{CommandBody, Notify, NotifyEvent, NotifyGroup, NotifyMailboxes};

/// `notify = "NOTIFY" SP ("NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group))`
pub(super) fn notify(c: &mut Cursor<'_>) -> Parsed<CommandBody> {
    c.space()?;
    let at = c.at();
    let word = c.atom("SET or NONE")?;
    if word.eq_ignore_ascii_case(b"NONE") {
        return Ok(CommandBody::Notify(None));
    }
    if !word.eq_ignore_ascii_case(b"SET") {
        return Err(DecodeError::new(at, "SET or NONE"));
    }
    c.space()?;
    let status = c.peek() != Some(b'(');
    if status {
        c.word("STATUS")?;
        c.space()?;
    }
    let mut groups = vec![group(c)?];
    while c.take(b' ') {
        groups.push(group(c)?);
    }
    Ok(CommandBody::Notify(Some(Notify { status, groups })))
}

/// `event-group = "(" filter-mailboxes SP events ")"`
fn group(c: &mut Cursor<'_>) -> Parsed<NotifyGroup> {
    c.byte(b'(', "a group of events")?;
    let at = c.at();
    let word = c.atom("selected or mailboxes")?;
    let mailboxes = if word.eq_ignore_ascii_case(b"selected") {
        NotifyMailboxes::Selected
    } else if word.eq_ignore_ascii_case(b"mailboxes") {
        c.space()?;
        NotifyMailboxes::Mailboxes(mailboxes(c)?)
    } else {
        return Err(DecodeError::new(at, "selected or mailboxes"));
    };
    c.space()?;
    let events = events(c)?;
    c.byte(b')', "the end of the group")?;
    Ok(NotifyGroup { mailboxes, events })
}

/// `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`
fn mailboxes(c: &mut Cursor<'_>) -> Parsed<Vec<crate::command::MailboxName>> {
    if !c.take(b'(') {
        return Ok(vec![c.mailbox()?]);
    }
    let mut mailboxes = vec![c.mailbox()?];
    while !c.take(b')') {
        mailboxes.push(c.spaced_mailbox()?);
    }
    Ok(mailboxes)
}

/// `events = "(" event *(SP event) ")" / "NONE"`
fn events(c: &mut Cursor<'_>) -> Parsed<Vec<NotifyEvent>> {
    if !c.take(b'(') {
        c.word("NONE")?;
        return Ok(Vec::new());
    }
    let mut events = Vec::new();
    loop {
        let at = c.at();
        let name = c.atom("an event")?;
        let expected = "MessageNew, MessageExpunge or FlagChange";
        events.push(NotifyEvent::from_name(name).ok_or(DecodeError::new(at, expected))?);
        if c.take(b')') {
            return Ok(events);
        }
        c.space()?;
    }
}
