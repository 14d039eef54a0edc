//! LOGOUT (RFC 3501 §6.1.3).

use crate::session::{Next, Session};
use crate::shared::Sink;
use imap::command::Tag;
use imap::encode::{self, Status};

impl Session {
    /// BYE first, then the tagged OK.
    pub(crate) fn logout<S: Sink>(&mut self, tag: &Tag, sink: &mut S) -> Next {
        self.view = None;
        encode::untagged(sink.buffer(), Status::Bye, None, "Until next time");
        encode::tagged(sink.buffer(), tag, Status::Ok, None, "Logged out");
        Next::Close
    }
}
