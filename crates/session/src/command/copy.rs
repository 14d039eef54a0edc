//! COPY and UID COPY (RFC 3501 §6.4.7), with COPYUID (RFC 4315 §3).

use super::create::checked_name;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session, Tell};
use imap::acl::Rights;
use imap::command::{MailboxName, Transfer};
use imap::encode::Code;
use imap::set::{SequenceSet, UidSet};
use store::{Change, MailboxId, MailboxState, Outcome, Transferred};

impl Session {
    /// Copies, all or nothing. Copies are new messages in the target; here nothing changes [S-154].
    pub(crate) async fn copy(&mut self, transfer: &Transfer) -> Result<Reply, Stop> {
        let done = self.transfer(transfer, false).await?;
        Ok(Reply { code: self.copy_uid(&done)?, ..Reply::ok("Copied") })
    }

    /// COPYUID, unless nothing was taken, or the target may not be read (RFC 4315 §3).
    pub(super) fn copy_uid(&self, done: &Transferred) -> Result<Option<Code>, Refusal> {
        let (from, to) = (done.source_uids.clone(), done.target_uids.clone());
        let told = !from.is_empty() && self.may_read(&done.target_after)?;
        Ok(told.then_some(Code::CopyUid(done.uid_validity, from, to)))
    }

    /// Whether the user may know how the mailbox is in this state.
    pub(super) fn may_read(&self, state: &MailboxState) -> Result<bool, Refusal> {
        let login = self.login()?;
        let rights = state.rights(login.identity.account, login.directory().directory());
        Ok(rights.contains(Rights::READ))
    }

    /// What COPY and MOVE have in common.
    pub(super) async fn transfer(
        &mut self,
        transfer: &Transfer,
        remove: bool,
    ) -> Result<Transferred, Stop> {
        let target = self.target(&transfer.mailbox).await?;
        let view = self.selected()?;
        if remove && view.read_only {
            return Err(Refusal::read_only().into());
        }
        let (source, user) = (view.mailbox.id(), view.user());
        let uids = if transfer.uid {
            view.uids_of_uids(&transfer.set)
        } else {
            let uids = view.uids_of_numbers(&transfer.set).ok_or_else(numbers_expected)?;
            // [S-147]
            let gone = uids.difference(&view.newest()?.tree().existing(&uids));
            if !gone.is_empty() && transfer.set != SequenceSet::Saved {
                let text = "Some of the messages are gone: NOOP tells which";
                return Err(Refusal::coded(Code::ExpungeIssued, text).into());
            }
            uids
        };
        let change = Change::Transfer { source, target, uids, remove };
        match self.shared.store.submit_by(user, change).await {
            Ok(Outcome::Transferred(done)) => Ok(done),
            Ok(_) => Err(Refusal::no("The store answered something else").into()),
            Err(error) => Err(Refusal::from(error).for_target().into()),
        }
    }

    /// The mailbox with this name, as the target of a command that may be told to create it: not with a
    /// name that CREATE refuses (RFC 3501 §6.3.11, §6.4.7).
    pub(super) async fn target(&mut self, mailbox: &MailboxName) -> Result<MailboxId, Refusal> {
        let place = self.place(checked_name(mailbox)?).await?;
        let login = self.login()?;
        let (user, directory) = (login.identity.account, login.directory());
        let absent = |refusal: &Refusal| refusal.code == Some(Code::NonExistent);
        match place.find(Rights::INSERT) {
            Err(r) if absent(&r) && place.may_create(user, directory.directory()) => {
                let text = "There is no mailbox with this name: CREATE it first";
                Err(Refusal::coded(Code::TryCreate, text))
            }
            found => found,
        }
    }
}

/// BAD for a message number above EXISTS.
pub(super) fn numbers_expected() -> Refusal {
    Refusal::bad("expected message numbers from 1 to EXISTS")
}

/// Everything up to the source's state after the change, what was moved included.
pub(super) fn up_to_source(done: &Transferred) -> Tell {
    Tell::UpTo { state: done.source_after.clone(), expunges: true, known: UidSet::new() }
}
