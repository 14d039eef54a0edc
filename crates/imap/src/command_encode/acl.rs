//! SETACL and the commands that name an entry of an access control list.

use super::{Writer, Written};
use crate::acl::{Identifier, RightsChange};
use crate::command::MailboxName;

impl Writer {
    /// `setacl = "SETACL" SP mailbox SP identifier SP mod-rights` (RFC 4314 §7)
    pub(super) fn set_acl(
        &mut self,
        mailbox: &MailboxName,
        identifier: &Identifier,
        change: RightsChange,
    ) -> Written {
        self.acl_entry("SETACL ", mailbox, identifier)?;
        let mod_rights = match change {
            RightsChange::Set(rights) => rights.to_string(),
            RightsChange::Add(rights) => format!("+{rights}"),
            RightsChange::Remove(rights) => format!("-{rights}"),
        };
        self.text(" ");
        self.astring(mod_rights.as_bytes())
    }

    /// `word mailbox SP identifier`
    pub(super) fn acl_entry(
        &mut self,
        word: &str,
        mailbox: &MailboxName,
        identifier: &Identifier,
    ) -> Written {
        self.text(word);
        self.mailbox(mailbox)?;
        self.text(" ");
        self.astring(identifier.as_str().as_bytes())
    }
}
