//! CAPABILITY (RFC 3501 §6.1.1).

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;

impl Session {
    /// Lists what the server can do [S-1].
    pub(crate) fn capability<S: Sink>(&mut self, sink: &mut S) -> Result<Reply, Stop> {
        let text = self.shared.capabilities(&self.peer, self.account());
        encode::capability(sink.buffer(), &text);
        Ok(Reply::ok("Those are the capabilities"))
    }
}
