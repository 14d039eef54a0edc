//! DELETE (RFC 3501 §6.3.4).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use imap::acl::Rights;
use imap::command::MailboxName;
use store::AccountChange;

impl Session {
    /// Removes a mailbox; with others below it, its name stays as `\Noselect`. A session that deletes the
    /// mailbox that it has selected leaves it.
    pub(crate) async fn delete(&mut self, mailbox: MailboxName) -> Result<Reply, Stop> {
        let user = self.login()?.identity.account;
        let place = self.place(mailbox.0.strip_suffix('/').unwrap_or(&mailbox.0)).await?;
        if !place.own {
            place.find(Rights::DELETE_MAILBOX)?;
        }
        let id = place.state.mailbox(&place.name).and_then(|entry| entry.id);
        let change = AccountChange::Delete { name: place.name };
        self.shared.store.submit_account_by(user, place.owner, change).await?;
        if self.view.as_ref().is_some_and(|view| Some(view.mailbox.id()) == id) {
            self.view = None;
        }
        Ok(Reply::ok("Deleted"))
    }
}
