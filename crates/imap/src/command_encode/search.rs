//! SEARCH as a client writes it.

use super::{EncodeError, Writer, Written, unless};
use crate::command::{Date, EntryKind, ModSeqItem, Search, SearchKey, SearchReturn};
use crate::encode::put;
use crate::flag::SystemFlag;
use std::io::Write;

/// How deep criteria may nest: as deep as the parser follows.
const DEPTH_MAX: usize = 64;

impl Writer {
    /// `search = "SEARCH" [search-return-opts] SP [charset SP] search-key *(SP search-key)` (RFC 4466 §2.6)
    pub(super) fn search(&mut self, search: &Search) -> Written {
        unless(search.keys.is_empty(), "a search key")?;
        self.uid(search.uid);
        self.text("SEARCH ");
        if let Some(returns) = &search.returns {
            self.text("RETURN ");
            self.list(returns, |w, option| {
                w.text(match option {
                    SearchReturn::Min => "MIN",
                    SearchReturn::Max => "MAX",
                    SearchReturn::All => "ALL",
                    SearchReturn::Count => "COUNT",
                    SearchReturn::Save => "SAVE",
                });
                Ok(())
            })?;
            self.text(" ");
        }
        if let Some(charset) = &search.charset {
            self.text("CHARSET ");
            self.astring(charset.as_bytes())?;
            self.text(" ");
        }
        self.spaced(&search.keys, |w, key| w.key(key, 0))
    }

    /// `search-key`
    fn key(&mut self, key: &SearchKey, depth: usize) -> Written {
        unless(depth > DEPTH_MAX, "at most 64 levels of criteria")?;
        match key {
            SearchKey::All => self.text("ALL"),
            SearchKey::New => self.text("NEW"),
            SearchKey::Old => self.text("OLD"),
            SearchKey::Recent => self.text("RECENT"),
            SearchKey::SaveDateSupported => self.text("SAVEDATESUPPORTED"),
            SearchKey::Flag(flag) => self.text(flag_key(*flag)),
            SearchKey::NotFlag(flag) => {
                self.text("UN");
                self.text(flag_key(*flag));
            }
            SearchKey::Keyword(keyword) => put!(self.out, "KEYWORD {keyword}"),
            SearchKey::NotKeyword(keyword) => put!(self.out, "UNKEYWORD {keyword}"),
            SearchKey::Header(name, text) => self.header(name, text)?,
            SearchKey::Body(text) => self.worded("BODY ", text)?,
            SearchKey::Text(text) => self.worded("TEXT ", text)?,
            SearchKey::Numbers(set) => self.set(set)?,
            SearchKey::Uid(set) => {
                self.text("UID ");
                self.set(set)?;
            }
            SearchKey::ModSeq { item, at_least } => {
                self.text("MODSEQ ");
                if let Some(item) = item {
                    self.entry(item)?;
                }
                put!(self.out, "{at_least}");
            }
            SearchKey::Not(key) => {
                self.text("NOT ");
                self.key(key, depth + 1)?;
            }
            SearchKey::Or(one, other) => {
                self.text("OR ");
                self.key(one, depth + 1)?;
                self.text(" ");
                self.key(other, depth + 1)?;
            }
            SearchKey::And(keys) => {
                unless(keys.is_empty(), "a search key between parentheses")?;
                self.list(keys, |w, key| w.key(key, depth + 1))?;
            }
            of_number_or_date => self.measured(of_number_or_date)?,
        }
        Ok(())
    }

    /// The keys that take a number or a day.
    fn measured(&mut self, key: &SearchKey) -> Written {
        let (word, day) = match key {
            SearchKey::Larger(octets) => return self.numbered("LARGER ", *octets),
            SearchKey::Smaller(octets) => return self.numbered("SMALLER ", *octets),
            SearchKey::Older(seconds) => return self.seconds("OLDER ", *seconds),
            SearchKey::Younger(seconds) => return self.seconds("YOUNGER ", *seconds),
            SearchKey::Before(day) => ("BEFORE ", day),
            SearchKey::On(day) => ("ON ", day),
            SearchKey::Since(day) => ("SINCE ", day),
            SearchKey::SentBefore(day) => ("SENTBEFORE ", day),
            SearchKey::SentOn(day) => ("SENTON ", day),
            SearchKey::SentSince(day) => ("SENTSINCE ", day),
            SearchKey::SavedBefore(day) => ("SAVEDBEFORE ", day),
            SearchKey::SavedOn(day) => ("SAVEDON ", day),
            SearchKey::SavedSince(day) => ("SAVEDSINCE ", day),
            _ => return unless(true, "a search key with a number or a day"),
        };
        self.text(word);
        self.day(*day)
    }

    fn numbered(&mut self, word: &str, number: u64) -> Written {
        self.text(word);
        self.number(number)
    }

    fn seconds(&mut self, word: &str, seconds: u32) -> Written {
        unless(seconds == 0, "a number of seconds from 1")?;
        self.numbered(word, u64::from(seconds))
    }

    fn worded(&mut self, word: &str, text: &[u8]) -> Written {
        self.text(word);
        self.astring(text)
    }

    /// `date-text = date-day "-" date-month "-" date-year`
    fn day(&mut self, day: Date) -> Written {
        let text = day.text().ok_or(EncodeError { expected: "a day of the years 1 to 9999" })?;
        self.text(&text);
        Ok(())
    }

    /// The fields that have a word of their own use it.
    fn header(&mut self, name: &[u8], text: &[u8]) -> Written {
        match name {
            b"BCC" | b"CC" | b"FROM" | b"TO" | b"SUBJECT" => self.out.extend_from_slice(name),
            name => self.worded("HEADER ", name)?,
        }
        self.text(" ");
        self.astring(text)
    }

    /// `DQUOTE "/flags/" attr-flag DQUOTE SP entry-type-req SP` (RFC 7162 §3.1.5)
    fn entry(&mut self, item: &ModSeqItem) -> Written {
        let flag = item.flag.as_ref().ok_or(EncodeError { expected: "a flag that is known" })?;
        self.string(format!("/flags/{flag}").as_bytes())?;
        self.text(match item.kind {
            EntryKind::Private => " priv ",
            EntryKind::Shared => " shared ",
            EntryKind::All => " all ",
        });
        Ok(())
    }
}

/// The word that SEARCH has for the flag.
fn flag_key(flag: SystemFlag) -> &'static str {
    match flag {
        SystemFlag::Answered => "ANSWERED",
        SystemFlag::Flagged => "FLAGGED",
        SystemFlag::Deleted => "DELETED",
        SystemFlag::Seen => "SEEN",
        SystemFlag::Draft => "DRAFT",
    }
}
