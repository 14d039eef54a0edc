//! DELETE (RFC 3501 §6.3.4).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use imap::command::MailboxName;
use store::AccountChange;

impl Session {
    /// Removes a mailbox; with others below it, its name stays as `\Noselect`. A session that deletes the
    /// mailbox that it has selected leaves it.
    pub(crate) async fn delete(&mut self, mailbox: MailboxName) -> Result<Reply, Stop> {
        let login = self.login()?;
        let name = mailbox.0.strip_suffix('/').unwrap_or(&mailbox.0).to_owned();
        let account = login.account.id();
        let id = login.account.state().mailbox(&name).and_then(|entry| entry.id);
        self.shared.store.submit_account(account, AccountChange::Delete { name }).await?;
        if self.view.as_ref().is_some_and(|view| Some(view.mailbox.id()) == id) {
            self.view = None;
        }
        Ok(Reply::ok("Deleted"))
    }
}
