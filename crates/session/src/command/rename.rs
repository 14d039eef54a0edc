//! RENAME (RFC 3501 §6.3.5). Mailboxes below go along and keep UIDVALIDITY, UIDs and mod-sequences [S-156];
//! RENAME INBOX moves its messages [S-157].

use super::create::checked_name;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use imap::acl::Rights;
use imap::command::MailboxName;
use imap::encode::Code;
use store::AccountChange;

impl Session {
    /// Renames.
    pub(crate) async fn rename(
        &mut self,
        from: MailboxName,
        to: &MailboxName,
    ) -> Result<Reply, Stop> {
        let user = self.login()?.identity.account;
        let from = self.place(from.0.strip_suffix('/').unwrap_or(&from.0)).await?;
        if !from.own {
            from.find(Rights::DELETE_MAILBOX)?;
        }
        let elsewhere = || {
            let text = "A mailbox stays with its owner: copy the messages instead";
            Refusal::coded(Code::Cannot, text)
        };
        // Whether the other shares anything, or is there at all, makes no difference.
        let to = self.place(checked_name(to)?).await.map_err(|_| elsewhere())?;
        if from.owner != to.owner {
            return Err(elsewhere().into());
        }
        if to.own && to.state.mailbox(&to.name).is_some() {
            // Also a name that is there for the sake of others: those below must not fall upon each other.
            return Err(store::Error::AlreadyExists.into());
        }
        let change = AccountChange::Rename { from: from.name, to: to.name };
        self.shared.store.submit_account_by(user, from.owner, change).await?;
        Ok(Reply::ok("Renamed"))
    }
}
