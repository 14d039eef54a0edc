//! LISTRIGHTS (RFC 4314 §3.4).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::{Identifier, Rights};
use imap::command::MailboxName;
use imap::encode;

impl Session {
    /// Says which rights can be given: to the owner none, who has all; to others each alone.
    pub(crate) async fn list_rights<S: Sink>(
        &mut self,
        mailbox: &MailboxName,
        identifier: &Identifier,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        place.find(Rights::ADMINISTER)?;
        if identifier.as_str() == place.owner_name {
            encode::list_rights(sink.buffer(), &mailbox.0, identifier, Rights::ALL, &[]);
        } else {
            let each: Vec<Rights> = Rights::ALL.iter().collect();
            encode::list_rights(sink.buffer(), &mailbox.0, identifier, Rights::NONE, &each);
        }
        Ok(Reply::ok("Those can be given"))
    }
}
