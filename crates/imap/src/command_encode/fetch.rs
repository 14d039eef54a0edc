//! FETCH as a client writes it.

use super::{Writer, Written, unless};
use crate::command::{Fetch, FetchItem, FetchSection, SectionLabel, SectionText};
use crate::encode::put;
use std::io::Write;

impl Writer {
    /// `fetch = "FETCH" SP sequence-set SP "(" fetch-att *(SP fetch-att) ")" [fetch-modifiers]`
    pub(super) fn fetch(&mut self, fetch: &Fetch) -> Written {
        unless(fetch.items.is_empty(), "a FETCH item")?;
        self.uid(fetch.uid);
        self.text("FETCH ");
        self.set(&fetch.set)?;
        self.text(" ");
        self.list(&fetch.items, Self::fetch_item)?;
        match (fetch.changed_since, fetch.vanished) {
            (None, false) => {}
            (None, true) => self.text(" (VANISHED)"),
            (Some(since), vanished) => {
                put!(self.out, " (CHANGEDSINCE {since}");
                self.text(if vanished { " VANISHED)" } else { ")" });
            }
        }
        Ok(())
    }

    /// `fetch-att`
    fn fetch_item(&mut self, item: &FetchItem) -> Written {
        self.text(match item {
            FetchItem::Envelope => "ENVELOPE",
            FetchItem::Flags => "FLAGS",
            FetchItem::InternalDate => "INTERNALDATE",
            FetchItem::SaveDate => "SAVEDATE",
            FetchItem::Size => "RFC822.SIZE",
            FetchItem::Uid => "UID",
            FetchItem::ModSeq => "MODSEQ",
            FetchItem::Body => "BODY",
            FetchItem::BodyStructure => "BODYSTRUCTURE",
            FetchItem::Section(section) => return self.section(section),
        });
        Ok(())
    }

    /// `"BODY" [".PEEK"] section ["<" number "." nz-number ">"]`
    fn section(&mut self, section: &FetchSection) -> Written {
        match section.label {
            SectionLabel::Rfc822 => self.text("RFC822"),
            SectionLabel::Rfc822Header => self.text("RFC822.HEADER"),
            SectionLabel::Rfc822Text => self.text("RFC822.TEXT"),
            SectionLabel::Body => {
                self.text(if section.peek { "BODY.PEEK[" } else { "BODY[" });
                self.section_spec(section)?;
                self.text("]");
            }
        }
        if let Some((start, count)) = section.partial {
            unless(count == 0, "a count from 1")?;
            self.text("<");
            self.number(start)?;
            self.text(".");
            self.number(count)?;
            self.text(">");
        }
        Ok(())
    }

    /// `section-spec = section-msgtext / (section-part ["." section-text])`
    fn section_spec(&mut self, section: &FetchSection) -> Written {
        for (i, part) in section.part.iter().enumerate() {
            unless(*part == 0, "part numbers from 1")?;
            put!(self.out, "{}{part}", if i > 0 { "." } else { "" });
        }
        if !section.part.is_empty() && section.text != SectionText::All {
            self.text(".");
        }
        let (word, names) = match &section.text {
            SectionText::All => ("", None),
            SectionText::Header => ("HEADER", None),
            SectionText::Text => ("TEXT", None),
            SectionText::Mime => {
                unless(section.part.is_empty(), "MIME only behind a part")?;
                ("MIME", None)
            }
            SectionText::HeaderFields(names) => ("HEADER.FIELDS ", Some(names)),
            SectionText::HeaderFieldsNot(names) => ("HEADER.FIELDS.NOT ", Some(names)),
        };
        self.text(word);
        let Some(names) = names else { return Ok(()) };
        unless(names.is_empty(), "a field name")?;
        self.list(names, |w, name| w.astring(name))
    }
}
