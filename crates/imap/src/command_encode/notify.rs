//! NOTIFY as a client writes it.
//!
//! # Standards
//! RFC 5465 §8.

use super::{Writer, Written, unless};
use crate::command::{Notify, NotifyMailboxes};

impl Writer {
    /// `notify = "NOTIFY" SP ("NONE" / "SET" [SP "STATUS"] SP event-group *(SP event-group))`
    pub(super) fn notify(&mut self, notify: Option<&Notify>) -> Written {
        let Some(notify) = notify else {
            self.text("NOTIFY NONE");
            return Ok(());
        };
        unless(notify.groups.is_empty(), "something to be told of")?;
        self.text(if notify.status { "NOTIFY SET STATUS " } else { "NOTIFY SET " });
        self.spaced(&notify.groups, |w, group| {
            match &group.mailboxes {
                NotifyMailboxes::Selected => w.text("(selected "),
                NotifyMailboxes::Mailboxes(mailboxes) => {
                    unless(mailboxes.is_empty(), "a mailbox to be told of")?;
                    w.text("(mailboxes ");
                    w.list(mailboxes, Self::mailbox)?;
                    w.text(" ");
                }
            }
            if group.events.is_empty() {
                w.text("NONE");
            } else {
                w.list(&group.events, |w, event| {
                    w.text(event.as_str());
                    Ok(())
                })?;
            }
            w.text(")");
            Ok(())
        })
    }
}
