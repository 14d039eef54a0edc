//! GETQUOTAROOT (RFC 9208 §4.1.2).

use super::getquota::tell_quota;
use crate::names::SHARED;
use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::Rights;
use imap::command::MailboxName;
use imap::encode;
use imap::quota::QuotaRoot;

impl Session {
    /// Names the root that a mailbox counts against, there or not, and shows it. Another's is shown to those who
    /// may put messages into the mailbox, whom it concerns, and read it: how much there is, is told by it
    /// (RFC 9208 §6).
    pub(crate) async fn get_quota_root<S: Sink>(
        &mut self,
        mailbox: &MailboxName,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        if !place.own {
            place.find(Rights::LOOKUP)?;
        }
        if !place.own && !place.rights.contains(Rights::READ.union(Rights::INSERT)) {
            encode::quota_root(sink.buffer(), &mailbox.0, &[]);
            return Ok(Reply::ok("Its quota is not yours to see"));
        }
        let name = if place.owner_name.is_empty() { SHARED } else { place.owner_name.as_str() };
        let root = QuotaRoot(name.as_bytes().to_vec());
        let account = self.shared.store.account(place.owner).await?;
        encode::quota_root(sink.buffer(), &mailbox.0, std::slice::from_ref(&root));
        tell_quota(&root, &account, sink);
        Ok(Reply::ok("That is the quota"))
    }
}
