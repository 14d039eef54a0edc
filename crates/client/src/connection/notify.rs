//! Waiting on many mailboxes over one connection.
//!
//! # Standards
//! RFC 5465 (NOTIFY).

use super::Connection;
use crate::answer::Answer;
use crate::error::Error;
use imap::command::{CommandBody, MailboxName, Notify, NotifyEvent, NotifyGroup, NotifyMailboxes};

impl Connection {
    /// Has the server tell what happens in the selected mailbox, once there is one, and in these; in place of what it
    /// was asked to tell before. With no names it tells of the selected mailbox alone.
    ///
    /// How the named mailboxes stand comes with the answer, [`Answer::statuses`]; what happens later comes with the
    /// answers to other commands, [`Connection::idle`] above all: STATUS for the named mailboxes, what is usual for the
    /// selected one.
    ///
    /// # Errors
    /// [`Error::Lacks`] without NOTIFY, and as [`Connection::run`].
    pub async fn notify(&mut self, mailboxes: &[&str]) -> Result<Answer, Error> {
        if !self.has("NOTIFY") {
            return Err(Error::Lacks("NOTIFY"));
        }
        let group = |mailboxes| NotifyGroup { mailboxes, events: NotifyEvent::ALL.to_vec() };
        let mut groups = vec![group(NotifyMailboxes::Selected)];
        if !mailboxes.is_empty() {
            let names = mailboxes.iter().map(|name| MailboxName((*name).to_owned()));
            groups.push(group(NotifyMailboxes::Mailboxes(names.collect())));
        }
        let status = !mailboxes.is_empty();
        self.run(CommandBody::Notify(Some(Notify { status, groups }))).await
    }
}
