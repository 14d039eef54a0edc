//! One FETCH line.

use super::Items;
use crate::refusal::Stop;
use crate::session::Session;
use crate::shared::Sink;
use imap::command::{DateTime, FetchItem};
use imap::encode::FetchLine;
use imap::number::SeqNum;
use store::{Body, Message};

impl Session {
    /// Writes the line: what is short first, then the pieces of the message.
    pub(super) async fn send_line<S: Sink>(
        &mut self,
        seq: SeqNum,
        message: &Message,
        body: Option<&Body>,
        items: Items<'_>,
        sink: &mut S,
    ) -> Result<(), Stop> {
        let store = self.shared.store.clone();
        let view = self.selected()?;
        let mut line = FetchLine::begin(sink.buffer(), seq);
        if items.uid {
            line.uid(message.uid);
        }
        for item in items.list {
            match item {
                FetchItem::Flags => {
                    line.flags(&view.flags_text(message));
                }
                FetchItem::InternalDate => {
                    line.internal_date(message.internal_date);
                }
                FetchItem::SaveDate => {
                    line.save_date(Some(DateTime { unix: message.save_date, zone_minutes: 0 }));
                }
                FetchItem::Size => {
                    line.size(message.size);
                }
                FetchItem::Envelope => {
                    line.raw("ENVELOPE", body.map_or(b"NIL", |b| b.structure.envelope()));
                }
                FetchItem::Body => {
                    line.raw("BODY", body.map_or(b"NIL", |b| b.structure.body()));
                }
                FetchItem::BodyStructure => {
                    line.raw("BODYSTRUCTURE", body.map_or(b"NIL", |b| b.structure.bodystructure()));
                }
                FetchItem::Uid | FetchItem::ModSeq | FetchItem::Section(_) => {}
            }
        }
        if items.mod_seq {
            line.mod_seq(message.mod_seq);
            view.note_sent(message.mod_seq);
        }
        todo!()
    }
}
