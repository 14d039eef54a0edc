//! ID (RFC 2971). What the client says about itself changes nothing.

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;

impl Session {
    /// Says the server's name and version.
    pub(crate) fn id<S: Sink>(&mut self, sink: &mut S) -> Result<Reply, Stop> {
        let config = &self.shared.config;
        let fields =
            [("name", config.server_name.as_str()), ("version", config.server_version.as_str())];
        encode::id(sink.buffer(), &fields);
        Ok(Reply::ok("That is who this is"))
    }
}
