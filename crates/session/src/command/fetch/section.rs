//! The octets of a message, sent in pieces.

use crate::refusal::Stop;
use crate::session::Session;
use crate::shared::{FLUSH_BYTES, Sink};
use imap::command::FetchSection;
use imap::encode::FetchLine;
use imap::message::{Piece, filter_fields};
use imap::number::SeqNum;
use std::ops::Range;
use std::sync::Arc;
use store::Body;

impl Session {
    /// Writes one section, the first thing of its line when `begins` names the message. `on_its_way` is set
    /// once something of the line has left the buffer.
    pub(super) async fn send_section<S: Sink>(
        &mut self,
        begins: Option<SeqNum>,
        section: &FetchSection,
        body: &Arc<Body>,
        on_its_way: &mut bool,
        sink: &mut S,
    ) -> Result<(), Stop> {
        let store = self.shared.store.clone();
        let mut fields = Vec::new();
        let piece = body.structure.section(section);
        if let Some(Piece::Fields { header, names, not }) = &piece {
            let mut octets = Vec::new();
            store.fetch(body, header.clone(), &mut octets).await?;
            fields = filter_fields(&octets, names, *not);
        }
        let mut line = match begins {
            Some(seq) => FetchLine::begin(sink.buffer(), seq),
            None => FetchLine::resume(sink.buffer()),
        };
        let mut range = match piece {
            None => {
                line.section(section, None);
                return Ok(());
            }
            Some(Piece::Fields { .. }) => {
                let part = within(section, 0..fields.len() as u64);
                line.section(section, Some(slice(&fields, &part)));
                return Ok(());
            }
            Some(Piece::Octets(range)) => within(section, range),
        };
        line.section_literal_header(section, range.end - range.start);
        while range.start < range.end {
            let next = range.end.min(range.start + FLUSH_BYTES as u64);
            store.fetch(body, range.start..next, sink.buffer()).await?;
            range.start = next;
            if sink.buffer().len() >= FLUSH_BYTES {
                *on_its_way = true;
                sink.flush().await?;
            }
        }
        Ok(())
    }
}

/// The octets in the range, as far as there are any.
fn slice<'a>(octets: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
    from.ok().zip(to.ok()).and_then(|(from, to)| octets.get(from..to)).unwrap_or_default()
}

/// The part of the octets that `<start.count>` names; beyond the end it is empty (RFC 3501 §6.4.5).
fn within(section: &FetchSection, octets: Range<u64>) -> Range<u64> {
    let Some((start, count)) = section.partial else { return octets };
    let from = octets.start.saturating_add(start).min(octets.end);
    from..from.saturating_add(count).min(octets.end)
}
