//! One FETCH line.

use super::Items;
use crate::refusal::{Refusal, Stop};
use crate::session::Session;
use crate::shared::Sink;
use imap::command::{DateTime, FetchItem};
use imap::encode::FetchLine;
use imap::number::SeqNum;
use std::sync::Arc;
use store::{Body, Message};

impl Session {
    /// Writes the line: what is short first, then the pieces of the message.
    pub(super) async fn send_line<S: Sink>(
        &mut self,
        seq: SeqNum,
        message: &Message,
        body: Option<&Arc<Body>>,
        items: Items<'_>,
        sink: &mut S,
    ) -> Result<(), Stop> {
        let begin = sink.buffer().len();
        let mut begins = if self.write_short(seq, message, body.map(Arc::as_ref), items, sink)? {
            None
        } else {
            Some(seq)
        };
        let mut on_its_way = false;
        for item in items.list {
            let (FetchItem::Section(section), Some(body)) = (item, body) else { continue };
            let sent = self.send_section(begins.take(), section, body, &mut on_its_way, sink).await;
            match sent {
                Ok(()) => {}
                Err(Stop::Refused(refusal)) if !on_its_way => {
                    // Nothing of this line has left: it is as if it had never begun.
                    sink.buffer().truncate(begin);
                    return Err(self.unreadable(message, refusal)?.into());
                }
                // Half a line cannot be taken back.
                Err(_) => return Err(Stop::Closed),
            }
        }
        FetchLine::resume(sink.buffer()).end();
        Ok(())
    }

    /// The items that need no octets of the message; answers whether there were any.
    fn write_short<S: Sink>(
        &mut self,
        seq: SeqNum,
        message: &Message,
        body: Option<&Body>,
        items: Items<'_>,
        sink: &mut S,
    ) -> Result<bool, Refusal> {
        let short = |item: &FetchItem| !matches!(item, FetchItem::Section(_));
        if !items.uid && !items.mod_seq && !items.list.iter().any(short) {
            return Ok(false);
        }
        let view = self.selected()?;
        let mut line = FetchLine::begin(sink.buffer(), seq);
        let nil = b"NIL".as_slice();
        if items.uid {
            line.uid(message.uid);
        }
        for item in items.list {
            match item {
                FetchItem::Flags => line.flags(view.flag_names(message)),
                FetchItem::InternalDate => line.internal_date(message.internal_date),
                FetchItem::SaveDate => {
                    line.save_date(Some(DateTime { unix: message.save_date, zone_minutes: 0 }))
                }
                FetchItem::Size => line.size(message.size),
                FetchItem::Envelope => {
                    line.raw("ENVELOPE", body.map_or(nil, |b| b.structure.envelope()))
                }
                FetchItem::Body => line.raw("BODY", body.map_or(nil, |b| b.structure.body())),
                FetchItem::BodyStructure => {
                    line.raw("BODYSTRUCTURE", body.map_or(nil, |b| b.structure.bodystructure()))
                }
                FetchItem::Uid | FetchItem::ModSeq | FetchItem::Section(_) => continue,
            };
        }
        if items.mod_seq {
            line.mod_seq(message.mod_seq);
            view.note_sent(message.mod_seq);
        }
        Ok(true)
    }
}
