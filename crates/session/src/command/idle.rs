//! IDLE (RFC 2177) [S-160].

use crate::refusal::Refusal;
use crate::session::{Mode, Next, Reply, Session};
use crate::shared::{Closed, Sink};
use imap::command::Tag;
use imap::encode;

const NAME: &str = "IDLE";

impl Session {
    /// Says what is pending and goes on saying what happens, until DONE.
    pub(crate) async fn idle<S: Sink>(&mut self, tag: Tag, sink: &mut S) -> Result<Next, Closed> {
        encode::continuation(sink.buffer(), "idling");
        self.framer.expect_line();
        self.mode = Mode::Idle(tag);
        self.tell_all(sink).await
    }

    /// The line that ends IDLE; anything but DONE ends it in BAD.
    pub(crate) async fn idle_end<S: Sink>(
        &mut self,
        tag: &Tag,
        line: &[u8],
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let result = if line.eq_ignore_ascii_case(b"DONE") {
            Ok(Reply::ok("No longer idling"))
        } else {
            Err(Refusal::bad("expected DONE").into())
        };
        self.finish_now(tag, NAME, result, sink).await
    }
}
