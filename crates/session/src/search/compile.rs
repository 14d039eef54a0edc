//! From what was typed to what can be tested.

use super::{Days, Item, Key};
use crate::view::View;
use imap::command::{ModSeqItem, SearchKey};
use imap::flag::{Flag, SystemFlag};
use imap::set::{SequenceSet, UidSet};
use store::FlagBit;

/// Whether MODSEQ is among the criteria, however deep [S-92].
pub(crate) fn has_mod_seq(key: &SearchKey) -> bool {
    any(key, &|key| matches!(key, SearchKey::ModSeq { .. }))
}

/// Whether message numbers are among the criteria: then nothing may be renumbered before the answer [S-143].
pub(crate) fn has_numbers(key: &SearchKey) -> bool {
    any(key, &|key| matches!(key, SearchKey::Numbers(SequenceSet::Ranges(_))))
}

fn any(key: &SearchKey, test: &dyn Fn(&SearchKey) -> bool) -> bool {
    match key {
        SearchKey::Not(inner) => any(inner, test),
        SearchKey::Or(left, right) => any(left, test) || any(right, test),
        SearchKey::And(keys) => keys.iter().any(|key| any(key, test)),
        key => test(key),
    }
}

/// Compiles the criteria against the view, at this moment in seconds since 1970.
pub(crate) fn compile(key: &SearchKey, view: &View, now: i64) -> Key {
    let bit = |flag: &SystemFlag| Key::Has(Some(FlagBit::system(*flag)));
    let not = |key: Key| Key::Not(Box::new(key));
    let seen = || bit(&SystemFlag::Seen);
    let keywords = view.state().keywords();
    match key {
        SearchKey::All | SearchKey::SaveDateSupported => Key::All,
        SearchKey::Flag(flag) => bit(flag),
        SearchKey::NotFlag(flag) => not(bit(flag)),
        SearchKey::Keyword(keyword) => Key::Has(keywords.bit(keyword)),
        SearchKey::NotKeyword(keyword) => not(Key::Has(keywords.bit(keyword))),
        SearchKey::New => Key::And(vec![Key::Recent, not(seen())]),
        SearchKey::Old => not(Key::Recent),
        SearchKey::Recent => Key::Recent,
        SearchKey::Header(name, words) => Key::Header(name.clone(), fold(words)),
        SearchKey::Body(words) => Key::Body(fold(words)),
        SearchKey::Text(words) => Key::Text(fold(words)),
        SearchKey::Before(date) => Key::Arrived(Days::before(*date)),
        SearchKey::On(date) => Key::Arrived(Days::on(*date)),
        SearchKey::Since(date) => Key::Arrived(Days::since(*date)),
        SearchKey::SentBefore(date) => Key::Sent(Days::before(*date)),
        SearchKey::SentOn(date) => Key::Sent(Days::on(*date)),
        SearchKey::SentSince(date) => Key::Sent(Days::since(*date)),
        SearchKey::SavedBefore(date) => Key::Saved(Days::before(*date)),
        SearchKey::SavedOn(date) => Key::Saved(Days::on(*date)),
        SearchKey::SavedSince(date) => Key::Saved(Days::since(*date)),
        SearchKey::Larger(octets) => Key::Larger(*octets),
        SearchKey::Smaller(octets) => Key::Smaller(*octets),
        SearchKey::Older(seconds) => Key::Until(now.saturating_sub(i64::from(*seconds))),
        SearchKey::Younger(seconds) => Key::From(now.saturating_sub(i64::from(*seconds))),
        SearchKey::Uid(set) => Key::Among(view.uids_of_uids(set)),
        SearchKey::Numbers(set) => Key::Among(numbered(set, view)),
        SearchKey::ModSeq { item, at_least } => {
            Key::ModSeq(item.as_ref().map_or(Item::Message, |i| known(i, view)), at_least.value())
        }
        SearchKey::Not(inner) => not(compile(inner, view, now)),
        SearchKey::Or(left, right) => {
            Key::Or(Box::new((compile(left, view, now), compile(right, view, now))))
        }
        SearchKey::And(keys) => Key::And(keys.iter().map(|k| compile(k, view, now)).collect()),
    }
}

/// The UIDs of message numbers; numbers above EXISTS match nothing.
fn numbered(set: &SequenceSet, view: &View) -> UidSet {
    match set.resolve(view.exists()) {
        Some(numbers) => view.numbering().spans_of_seqs(&numbers),
        None => view.saved.clone(),
    }
}

fn known(item: &ModSeqItem, view: &View) -> Item {
    let bit = item.flag.as_ref().and_then(|flag| match flag {
        Flag::System(flag) => Some(FlagBit::system(*flag)),
        Flag::Keyword(keyword) => view.state().keywords().bit(keyword),
    });
    bit.map_or(Item::Unknown, Item::Flag)
}

/// Words as they are compared: without regard to case (RFC 3501 §6.4.4).
fn fold(words: &[u8]) -> String {
    String::from_utf8_lossy(words).to_lowercase()
}
