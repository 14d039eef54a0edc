//! STATUS (RFC 3501 §6.3.10), and what LIST RETURN (STATUS …) says (RFC 5819).
//!
//! # Standards
//! RFC 7162 §3.1.7 (HIGHESTMODSEQ), RFC 8438 (SIZE), RFC 7889 (APPENDLIMIT), RFC 9051 §6.3.11 (DELETED).

use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::Rights;
use imap::command::{MailboxName, StatusItem};
use imap::encode;
use store::MailboxId;

impl Session {
    /// Says how a mailbox is, without opening it for the client. Asking for HIGHESTMODSEQ enables CONDSTORE,
    /// whichever mailbox is asked about [S-23, S-26].
    pub(crate) async fn status<S: Sink>(
        &mut self,
        mailbox: &MailboxName,
        items: &[StatusItem],
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let id = self.place(&mailbox.0).await?.find(Rights::READ)?;
        if items.contains(&StatusItem::HighestModSeq) {
            self.become_aware(sink);
        }
        self.tell_status(&mailbox.0, id, items, sink).await?;
        Ok(Reply::ok("That is how it is"))
    }

    /// Writes one STATUS line, all of it from one state.
    pub(super) async fn tell_status<S: Sink>(
        &mut self,
        name: &str,
        id: MailboxId,
        items: &[StatusItem],
        sink: &mut S,
    ) -> Result<(), Stop> {
        let mailbox = self.shared.store.mailbox(id).await?;
        let state = mailbox.state();
        if !self.may_read(&state)? {
            return Err(Refusal::no_permission().into());
        }
        let glance = state.glance(self.login()?.identity.account);
        let highest = if self.has_mod_seqs() { glance.highest.value() } else { 0 };
        let recent = || state.exists() - state.tree().count_up_to(mailbox.peek_recent());
        let deleted_octets = || state.tree().iter_deleted().map(|(_, message)| message.size).sum();
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => u64::from(state.exists()),
            StatusItem::Recent => u64::from(recent()),
            StatusItem::UidNext => u64::from(state.uid_next()),
            StatusItem::UidValidity => u64::from(state.uid_validity().value()),
            StatusItem::Unseen => u64::from(glance.unseen),
            StatusItem::Deleted => u64::from(state.deleted()),
            StatusItem::DeletedStorage => deleted_octets(),
            StatusItem::Size => state.size(),
            // 0 where there are no mod-sequences [S-38].
            StatusItem::HighestModSeq => highest,
            StatusItem::AppendLimit => self.shared.config.limits.message_bytes_max,
        };
        let values: Vec<(StatusItem, Option<u64>)> =
            items.iter().map(|item| (*item, Some(value(item)))).collect();
        encode::status(sink.buffer(), name, &values);
        Ok(())
    }
}
