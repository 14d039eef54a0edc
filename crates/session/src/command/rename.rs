//! RENAME (RFC 3501 §6.3.5). Mailboxes below go along and keep UIDVALIDITY, UIDs and mod-sequences [S-156];
//! RENAME INBOX moves its messages [S-157].

use super::create::checked_name;
use crate::refusal::Stop;
use crate::session::{Reply, Session};
use imap::command::MailboxName;
use store::AccountChange;

impl Session {
    /// Renames.
    pub(crate) async fn rename(
        &mut self,
        from: MailboxName,
        to: &MailboxName,
    ) -> Result<Reply, Stop> {
        let to = checked_name(to)?.to_owned();
        let from = from.0.strip_suffix('/').unwrap_or(&from.0).to_owned();
        let login = self.login()?;
        let account = login.account.id();
        if login.account.state().mailbox(&to).is_some() {
            // Also a name that is there for the sake of others: those below must not fall upon each other.
            return Err(store::Error::AlreadyExists.into());
        }
        self.shared.store.submit_account(account, AccountChange::Rename { from, to }).await?;
        Ok(Reply::ok("Renamed"))
    }
}
