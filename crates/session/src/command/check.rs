//! CHECK (RFC 3501 §6.4.1): nothing is ever left to be checked, so it is NOOP.

use crate::session::{Reply, Session};

impl Session {
    /// Tells what is pending.
    pub(crate) fn check() -> Reply {
        Reply::ok("Everything told is durable")
    }
}
