//! GETACL (RFC 4314 §3.3).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::{Identifier, Rights};
use imap::command::MailboxName;
use imap::encode;

impl Session {
    /// Shows every entry, the owner's first.
    pub(crate) async fn get_acl<S: Sink>(
        &mut self,
        mailbox: &MailboxName,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        place.find(Rights::ADMINISTER)?;
        let owner = Identifier::new(&place.owner_name).map(|owner| (owner, Rights::ALL));
        let entries = place.state.mailbox(&place.name).map(|entry| entry.acl.entries());
        let entries = entries.into_iter().flatten().filter_map(|entry| {
            let sign = if entry.negative { "-" } else { "" };
            let identifier = Identifier::new(&format!("{sign}{}", entry.grantee.identifier()))?;
            Some((identifier, entry.rights))
        });
        let all: Vec<(Identifier, Rights)> = owner.into_iter().chain(entries).collect();
        let all = all.iter().map(|(identifier, rights)| (identifier, *rights));
        encode::acl(sink.buffer(), &mailbox.0, all);
        Ok(Reply::ok("Those are the rights"))
    }
}
