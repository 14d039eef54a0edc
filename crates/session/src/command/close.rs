//! CLOSE (RFC 3501 §6.4.2): expunges in silence. No EXPUNGE, no VANISHED, no HIGHESTMODSEQ [S-139].

use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use store::Change;

impl Session {
    /// Expunges, unless the mailbox was opened with EXAMINE, and leaves it.
    pub(crate) async fn close_mailbox(&mut self) -> Result<Reply, Stop> {
        let view = self.view.take().ok_or_else(Refusal::unselected)?;
        if !view.read_only {
            let change = Change::Expunge { mailbox: view.mailbox.id(), uids: None };
            match self.shared.store.submit_by(view.user(), change).await {
                // Deleted by somebody else, or without `e` (RFC 4314 §4): closed is what it is.
                Ok(_) | Err(store::Error::NonExistent | store::Error::NoPermission) => {}
                Err(error) => {
                    self.view = Some(view);
                    return Err(error.into());
                }
            }
        }
        Ok(Reply::ok("Closed"))
    }
}
