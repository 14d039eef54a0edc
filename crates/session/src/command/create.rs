//! CREATE (RFC 3501 §6.3.3) with USE (RFC 6154 §3).

use crate::names::Place;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use imap::command::MailboxName;
use imap::encode::Code;
use store::{AccountChange, SpecialUse};

/// The greatest length of a mailbox name in octets.
const NAME_BYTES_MAX: usize = 1024;

/// The name without the delimiter at its end, which only says that there will be others below
/// (RFC 3501 §6.3.3), if it can be a mailbox's.
pub(super) fn checked_name(mailbox: &MailboxName) -> Result<&str, Refusal> {
    let name = mailbox.0.strip_suffix('/').unwrap_or(&mailbox.0);
    let wild = |c: char| c.is_control() || c == '%' || c == '*';
    if name.len() > NAME_BYTES_MAX {
        return Err(Refusal::coded(Code::Limit, "A mailbox name has at most 1024 octets"));
    }
    if name.split('/').any(str::is_empty) || name.contains(wild) {
        let text = "A mailbox name has no empty level, no control character, no % and no *";
        return Err(Refusal::coded(Code::Cannot, text));
    }
    Ok(name)
}

impl Session {
    /// Makes a mailbox.
    pub(crate) async fn create(
        &mut self,
        mailbox: &MailboxName,
        uses: Option<&[String]>,
    ) -> Result<Reply, Stop> {
        let name = checked_name(mailbox)?.to_owned();
        let special_use = uses
            .unwrap_or_default()
            .iter()
            .map(|name| SpecialUse::parse(name))
            .collect::<Option<Vec<SpecialUse>>>()
            .ok_or_else(|| {
                let text = "USE takes \\All \\Archive \\Drafts \\Flagged \\Important \\Junk \\Sent \\Trash";
                Refusal::coded(Code::UseAttr, text)
            })?;
        let user = self.login()?.identity.account;
        let place = self.place(&name).await;
        if !special_use.is_empty() && !place.as_ref().is_ok_and(|place| place.own) {
            // The owner's clients would put there what is not meant for others (RFC 6154 §7).
            let text = "Special uses are for mailboxes of one's own";
            return Err(Refusal::coded(Code::UseAttr, text).into());
        }
        // Below a name that is not the user's, what is not there and what may not be seen are answered alike.
        let Place { owner, name, .. } = place.map_err(|_| Refusal::no_permission())?;
        let change = AccountChange::Create { name, special_use };
        self.shared.store.submit_account_by(user, owner, change).await?;
        Ok(Reply::ok("Created"))
    }
}
