//! ENABLE (RFC 5161) [S-108, S-109, S-110].

use crate::refusal::Stop;
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;

impl Session {
    /// Switches on what is known, says what *this* command switched on, and passes over the rest. Both
    /// names in either order mean the same, and QRESYNC brings CONDSTORE along. Allowed while a mailbox is
    /// selected [S-111].
    pub(crate) fn enable<S: Sink>(
        &mut self,
        names: &[String],
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let mut enabled: Vec<&str> = Vec::new();
        for name in names {
            match name.as_str() {
                // Also when another command made the session aware: to leave it out would say that it could
                // not be enabled (RFC 5161 §3.2).
                "CONDSTORE" if self.has_mod_seqs() && !self.voice.condstore => {
                    self.voice.condstore = true;
                    enabled.push("CONDSTORE");
                }
                "QRESYNC" if self.offers("QRESYNC") && !self.voice.qresync => {
                    self.voice.qresync = true;
                    enabled.push("QRESYNC");
                }
                _ => {}
            }
        }
        encode::enabled(sink.buffer(), &enabled);
        if !enabled.is_empty() {
            self.become_aware(sink);
        }
        Ok(Reply::ok("Enabled"))
    }
}
