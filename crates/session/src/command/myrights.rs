//! MYRIGHTS (RFC 4314 §3.5).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::Rights;
use imap::command::MailboxName;
use imap::encode;

/// Any of these is enough to be told (RFC 4314 §4).
const ENOUGH: Rights = Rights::LOOKUP
    .union(Rights::READ)
    .union(Rights::INSERT)
    .union(Rights::CREATE)
    .union(Rights::DELETE_MAILBOX)
    .union(Rights::ADMINISTER);

impl Session {
    /// Says what the user may do.
    pub(crate) async fn my_rights<S: Sink>(
        &mut self,
        mailbox: &MailboxName,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        place.find(Rights::NONE)?;
        if place.rights.intersection(ENOUGH).is_empty() {
            return Err(store::Error::NonExistent.into());
        }
        encode::my_rights(sink.buffer(), &mailbox.0, place.rights);
        Ok(Reply::ok("Those are your rights"))
    }
}
