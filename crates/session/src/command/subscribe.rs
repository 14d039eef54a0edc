//! SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6 and §6.3.7). A name may be subscribed to that no mailbox has.

use super::create::checked_name;
use crate::refusal::Stop;
use crate::session::{Reply, Session};
use imap::command::MailboxName;
use store::AccountChange;

impl Session {
    /// Adds a name to the list.
    pub(crate) async fn subscribe(&mut self, mailbox: MailboxName) -> Result<Reply, Stop> {
        let name = checked_name(&mailbox)?.to_owned();
        let account = self.login()?.account.id();
        self.shared.store.submit_account(account, AccountChange::Subscribe { name }).await?;
        Ok(Reply::ok("Subscribed"))
    }

    /// Takes a name off the list; one that is not there is no error.
    pub(crate) async fn unsubscribe(&mut self, mailbox: MailboxName) -> Result<Reply, Stop> {
        let name = mailbox.0.trim_end_matches('/').to_owned();
        let account = self.login()?.account.id();
        self.shared.store.submit_account(account, AccountChange::Unsubscribe { name }).await?;
        Ok(Reply::ok("No longer subscribed"))
    }
}
