//! MOVE and UID MOVE (RFC 6851).
//!
//! # Standards
//! RFC 6851 §4.3 (COPYUID in an untagged OK, before EXPUNGE), RFC 7162 §3.2 and RFC 6851 §4.4 [S-15, S-141].

use super::copy::up_to_source;
use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::command::Transfer;
use imap::encode::{self, Status};

impl Session {
    /// Moves in one commit: nobody sees a message twice or not at all.
    pub(crate) async fn move_messages<S: Sink>(
        &mut self,
        transfer: &Transfer,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let done = self.transfer(transfer, true).await?;
        let mut reply = Reply::ok("Moved").tell(up_to_source(&done));
        reply.highest_due = !done.source_uids.is_empty();
        if let Some(code) = self.copy_uid(&done)? {
            encode::untagged(sink.buffer(), Status::Ok, Some(&code), "Moved");
        }
        Ok(reply)
    }
}
