//! SELECT and EXAMINE (RFC 3501 §6.3.1 and §6.3.2).
//!
//! # Standards
//! RFC 7162 §3.1.2 (HIGHESTMODSEQ and NOMODSEQ), §3.1.8 (CONDSTORE), §3.2.5 (QRESYNC), §3.2.11 (CLOSED).

use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session, Tell};
use crate::shared::Sink;
use crate::view::View;
use imap::acl::Rights;
use imap::command::Select;
use imap::encode::{self, Code, Status};
use imap::number::Uid;

impl Session {
    /// Leaves the mailbox before and opens this one. Whatever goes wrong, nothing is selected then.
    pub(crate) async fn select<S: Sink>(
        &mut self,
        select: &Select,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        self.close_view(sink);
        if select.qresync.is_some() && !self.voice.qresync {
            // Everything else was checked by the parser, before anything is opened [S-112, S-115, S-116].
            return Err(Refusal::bad("QRESYNC needs ENABLE QRESYNC first").into());
        }
        if select.condstore || select.qresync.is_some() {
            // Before HIGHESTMODSEQ is read, so that no change falls between [S-29].
            self.become_aware(sink);
        }
        let id = self.place(&select.mailbox.0).await?.find(Rights::READ)?;
        let login = self.login()?;
        let (user, directory) = (login.identity.account, login.directory.clone());
        let mailbox = self.shared.store.mailbox_of(id, user).await?;
        let view = View::open(mailbox, select.read_only, user, directory)?;
        let writable = view.is_writable();
        self.describe_view(&view, sink);
        self.view = Some(view);
        if let Some(qresync) = &select.qresync {
            // Only after all that a SELECT without it says [S-117].
            self.resync(qresync, sink).await?;
        }
        let code = if writable { Code::ReadWrite } else { Code::ReadOnly };
        Ok(Reply::ok("Selected").code(code).tell(Tell::Nothing))
    }

    /// Leaves the selected mailbox for another one: CLOSED is the boundary [S-152].
    pub(crate) fn close_view<S: Sink>(&mut self, sink: &mut S) {
        if self.view.take().is_some() {
            let text = "What follows is about no mailbox, or about the next";
            encode::untagged(sink.buffer(), Status::Ok, Some(&Code::Closed), text);
        }
    }

    /// What RFC 3501 §6.3.1 asks for, and HIGHESTMODSEQ, always [S-33] and with a text [S-37].
    fn describe_view<S: Sink>(&self, view: &View, sink: &mut S) {
        let out = sink.buffer();
        let state = view.state();
        view.write_flag_lists(out);
        encode::exists(out, view.exists());
        encode::recent(out, view.recent_count());
        if let Some(seq) = state.first_unseen().and_then(|uid| view.seq_of(uid)) {
            let code = Code::Unseen(seq);
            encode::untagged(out, Status::Ok, Some(&code), "The first that was not seen");
        }
        let code = Code::UidNext(Uid::new(state.uid_next()).unwrap_or(Uid::MAX));
        encode::untagged(out, Status::Ok, Some(&code), "The next UID, or less than it");
        let code = Code::UidValidity(state.uid_validity());
        encode::untagged(out, Status::Ok, Some(&code), "UIDs are valid");
        // One of the two, always [S-33, S-34].
        let (code, text) = if self.has_mod_seqs() {
            (Code::HighestModSeq(state.highest_mod_seq()), "The highest")
        } else {
            (Code::NoModSeq, "Mod-sequences are switched off here")
        };
        encode::untagged(out, Status::Ok, Some(&code), text);
    }
}
