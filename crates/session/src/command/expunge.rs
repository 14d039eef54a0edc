//! EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1).
//!
//! # Standards
//! RFC 7162 §3.2.7 and §3.2.9: with QRESYNC the tagged OK says the new HIGHESTMODSEQ [S-137, S-140], and
//! before it the client is told of every other change up to it [S-138].

use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session, Tell};
use imap::set::{SequenceSet, UidSet};
use store::{Change, Outcome};

impl Session {
    /// Removes the messages with `\Deleted`, those of the set only where one is given.
    pub(crate) async fn expunge(&mut self, set: Option<&SequenceSet>) -> Result<Reply, Stop> {
        let view = self.selected()?;
        if view.read_only {
            return Err(Refusal::read_only().into());
        }
        let (mailbox, user) = (view.mailbox.id(), view.user());
        let uids = set.map(|set| view.uids_of_uids(set));
        let change = Change::Expunge { mailbox, uids };
        let outcome = self.shared.store.submit_by(user, change).await?;
        let Outcome::Expunged(expunged) = outcome else {
            return Err(Refusal::no("The store answered something else").into());
        };
        let tell = Tell::UpTo { state: expunged.after, expunges: true, known: UidSet::new() };
        let mut reply = Reply::ok("Expunged").tell(tell);
        reply.highest_due = expunged.mod_seq.is_some();
        Ok(reply)
    }
}
