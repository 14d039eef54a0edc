//! Sync points: where what others did is told, in an order that keeps every number valid [S-146].
//!
//! First what is gone, when that may be said at all; then how many messages there are; then flags.
//!
//! # Standards
//! RFC 3501 §5.2 and §7, RFC 7162 §3.2.4, §3.2.10.2.

use super::{View, Voice};
use crate::shared::{Closed, Sink, relieve};
use imap::acl::Rights;
use imap::encode::{self, Code, FetchLine, Status};
use imap::number::{SeqNum, Uid};
use imap::set::UidSet;
use std::sync::Arc;
use store::{MailboxState, Message};

/// What a line of an unsolicited FETCH holds besides what the session's [`Voice`] asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// FLAGS.
    pub(crate) flags: bool,
    /// UID, because a UID command caused it (RFC 3501 §6.4.8).
    pub(crate) uid: bool,
}

/// Writes VANISHED for the UIDs, in lines that are sent on as they come: memory does not grow with the set.
pub(crate) async fn write_vanished<S: Sink>(
    earlier: bool,
    uids: &UidSet,
    sink: &mut S,
) -> Result<(), Closed> {
    const RANGES_AT_ONCE: usize = 1800;
    for ranges in uids.ranges().chunks(RANGES_AT_ONCE) {
        let some = UidSet::from_ranges(ranges.iter().copied());
        encode::vanished(sink.buffer(), earlier, &some);
        relieve(sink).await?;
    }
    Ok(())
}

impl View {
    /// Brings the numbering to this state: what is gone when `expunges` may be told [S-60, S-143], then what
    /// has come. The flags are [`View::tell_flags`]'s.
    pub(crate) async fn tell_numbers<S: Sink>(
        &mut self,
        state: &Arc<MailboxState>,
        expunges: bool,
        voice: Voice,
        sink: &mut S,
    ) -> Result<(), Closed> {
        let removed = self.numbering.removed_in(state.tree());
        let told_all = removed.is_empty() || expunges;
        self.held_back = if told_all { 0 } else { removed.len() };
        if expunges && !removed.is_empty() {
            self.tell_removed(&removed, voice, sink).await?;
        }
        let arrivals = UidSet::from_ranges([(self.announced.saturating_add(1), u32::MAX)]);
        let came: Vec<Message> =
            state.tree().iter_uids(&arrivals).map(|(_, message)| message.clone()).collect();
        let upto = state.uid_next().saturating_sub(1);
        if !came.is_empty() {
            let after = if self.read_only {
                self.mailbox.peek_recent()
            } else {
                self.mailbox.take_recent(upto)
            };
            let mine = UidSet::from_ranges([(after.max(self.announced).saturating_add(1), upto)]);
            self.recent = self.recent.union(&mine);
        }
        self.announced = self.announced.max(upto);
        if told_all {
            self.numbering = state.tree().clone();
            self.expunges_told = state.highest_mod_seq().value();
        } else {
            self.numbering = self.numbering.with_appended(&came);
        }
        self.state = Arc::clone(state);
        if !came.is_empty() {
            encode::exists(sink.buffer(), self.numbering.len());
            encode::recent(sink.buffer(), self.recent_count());
        }
        Ok(())
    }

    /// Says which messages are gone, and shifts the numbers as the client does [S-113, S-145].
    async fn tell_removed<S: Sink>(
        &mut self,
        removed: &UidSet,
        voice: Voice,
        sink: &mut S,
    ) -> Result<(), Closed> {
        if voice.qresync {
            write_vanished(false, removed, sink).await?;
        } else {
            // From the greatest number down, so that each is still valid when the client reads it.
            let numbers = self.numbering.seqs_of_uids(removed);
            for &(low, high) in numbers.ranges().iter().rev() {
                for number in (low..=high).rev() {
                    if let Some(seq) = SeqNum::new(number) {
                        encode::expunge(sink.buffer(), seq);
                    }
                    relieve(sink).await?;
                }
            }
        }
        self.numbering = self.numbering.without(removed);
        relieve(sink).await
    }

    /// Tells every flag change up to the state of the last [`View::tell_numbers`], except those of `known`,
    /// which the command itself has answered for.
    pub(crate) async fn tell_flags<S: Sink>(
        &mut self,
        known: &UidSet,
        voice: Voice,
        sink: &mut S,
    ) -> Result<(), Closed> {
        self.tell_keywords(sink);
        let state = Arc::clone(&self.state);
        let since = self.told;
        for (_, message) in state.tree().changed_since(since) {
            // What arrived since was told by EXISTS; its flags are the client's to fetch.
            if message.arrival.value() > since || known.contains(message.uid.value()) {
                continue;
            }
            self.tell_message(message, Line { flags: true, uid: false }, voice, sink);
            relieve(sink).await?;
        }
        self.told = self.told.max(state.highest_mod_seq().value());
        Ok(())
    }

    /// One unsolicited FETCH for a message, by the number that this client has for it [S-31, S-51];
    /// MODSEQ only to those who asked for mod-sequences [S-30, S-56].
    pub(crate) fn tell_message<S: Sink>(
        &mut self,
        message: &Message,
        line: Line,
        voice: Voice,
        sink: &mut S,
    ) {
        let Some(seq) = self.numbering.seq_of(message.uid) else { return };
        let mut out = FetchLine::begin(sink.buffer(), seq);
        if voice.aware || line.uid {
            out.uid(message.uid);
        }
        if line.flags {
            out.flags(self.flag_names(message));
        }
        if voice.aware {
            out.mod_seq(message.mod_seq);
        }
        out.end();
        if voice.aware {
            self.note_sent(message.mod_seq);
        }
    }

    /// Says FLAGS again when the mailbox has keywords that the client has not heard of (RFC 3501 §7.2.6), or
    /// other flags may be changed than before.
    pub(crate) fn tell_keywords<S: Sink>(&mut self, sink: &mut S) {
        let now = (self.state.keywords().names().count(), self.rights);
        if now != self.lists_told {
            self.lists_told = now;
            self.write_flag_lists(sink.buffer());
        }
    }

    /// FLAGS and PERMANENTFLAGS: those that the user may change; `\*` stands there while a new keyword would find
    /// a place (RFC 3501 §7.1, RFC 4314 §4).
    pub(crate) fn write_flag_lists(&self, out: &mut Vec<u8>) {
        let keywords = self.state.keywords();
        let system = [
            ("\\Answered", Rights::WRITE),
            ("\\Flagged", Rights::WRITE),
            ("\\Deleted", Rights::DELETE_MESSAGES),
            ("\\Seen", Rights::SEEN),
            ("\\Draft", Rights::WRITE),
        ];
        let own = keywords.names().map(|keyword| (keyword.as_str(), Rights::WRITE));
        let all: Vec<(&str, Rights)> = system.into_iter().chain(own).collect();
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        encode::flags(out, &names.join(" "));
        let has = |right| !self.read_only && self.rights.contains(right);
        let kept = all.iter().filter(|(_, right)| has(*right)).map(|(name, _)| *name);
        let room = (has(Rights::WRITE) && keywords.room()).then_some("\\*");
        let kept: Vec<&str> = kept.chain(room).collect();
        let text = if kept.is_empty() { "None can be kept" } else { "These are kept" };
        let code = Code::PermanentFlags(kept.join(" "));
        encode::untagged(out, Status::Ok, Some(&code), text);
    }

    /// Whether what the client was told is older than what it was told of this message.
    pub(crate) fn untold(&self, message: &Message) -> bool {
        message.mod_seq.value() > self.told
    }

    /// Whether a change at or below this mod-sequence may not have been told.
    pub(crate) fn has_untold_up_to(&self, mod_seq: u64) -> bool {
        mod_seq > self.told
    }

    /// Whether the message is numbered still and gone all the same.
    pub(crate) fn is_gone(&self, uid: Uid) -> bool {
        self.state.tree().get(uid).is_none()
    }
}
