//! UNSELECT (RFC 3691): closes without expunging, and says nothing more.

use crate::session::{Reply, Session};

impl Session {
    /// Leaves the mailbox, without CLOSED: nothing follows that could be mistaken [S-153].
    pub(crate) fn unselect(&mut self) -> Reply {
        self.view = None;
        Reply::ok("Nothing is selected now")
    }
}
