//! NAMESPACE (RFC 2342): everything is personal, with no prefix and `/` between levels.

use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;

impl Session {
    /// Says where mailboxes are.
    pub(crate) fn namespace<S: Sink>(sink: &mut S) -> Reply {
        encode::namespace(sink.buffer(), '/');
        Reply::ok("That is all")
    }
}
