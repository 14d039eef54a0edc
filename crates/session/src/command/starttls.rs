//! STARTTLS (RFC 3501 §6.2.1).

use crate::session::{Next, Session};
use crate::shared::Sink;
use imap::command::Tag;
use imap::encode::{self, Status};

impl Session {
    /// Answers OK and has the handshake done. What the client sent behind the command is thrown away: it
    /// came in the clear and may be somebody else's.
    pub(crate) fn start_tls<S: Sink>(&mut self, tag: &Tag, sink: &mut S) -> Next {
        if self.peer.secure || !self.peer.starttls_offered {
            let text = if self.peer.secure { "TLS is on already" } else { "There is no TLS here" };
            encode::tagged(sink.buffer(), tag, Status::Bad, None, text);
            return self.count_bad(sink);
        }
        self.framer.discard_buffered();
        encode::tagged(sink.buffer(), tag, Status::Ok, None, "Begin TLS now");
        Next::StartTls
    }
}
