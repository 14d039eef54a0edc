//! Whether a message answers the criteria: asked of its record, then of its header, then of all of it.

use super::Key;
use crate::shared::yield_now;
use crate::view::View;
use imap::command::Date;
use imap::message::{searchable_field, searchable_text, sent_date};
use std::cell::OnceCell;

use store::{Message, Store};

/// What is known about a message so far.
struct Facts<'a> {
    view: &'a View,
    message: &'a Message,
    header: Option<Vec<u8>>,
    whole: Option<Whole>,
}

/// A whole message, its words in lower case once they are asked for.
struct Whole {
    octets: Vec<u8>,
    body: OnceCell<String>,
    text: OnceCell<String>,
}

impl Whole {
    fn body(&self) -> &str {
        self.body.get_or_init(|| searchable_text(&self.octets, false).to_lowercase())
    }

    fn text(&self) -> &str {
        self.text.get_or_init(|| searchable_text(&self.octets, true).to_lowercase())
    }
}

/// Whether all criteria hold, if the record alone can tell.
pub(crate) fn holds_by_record(keys: &[Key], view: &View, message: &Message) -> Option<bool> {
    all(keys, &Facts { view, message, header: None, whole: None })
}

/// Whether all criteria hold, for a message whose record alone cannot tell.
///
/// # Errors
/// When the message had to be read and could not be.
pub(crate) async fn holds(
    keys: &[Key],
    view: &View,
    message: &Message,
    store: &Store,
) -> Result<bool, store::Error> {
    let mut facts = Facts { view, message, header: None, whole: None };
    let body = store.body(message.body).await?;
    if keys.iter().any(asks_header) {
        let mut octets = Vec::new();
        store.fetch(&body, body.structure.header(), &mut octets).await?;
        facts.header = Some(octets);
        if let Some(known) = all(keys, &facts) {
            return Ok(known);
        }
    }
    let mut octets = Vec::new();
    store.fetch(&body, 0..body.body.len, &mut octets).await?;
    facts.whole = Some(Whole { octets, body: OnceCell::new(), text: OnceCell::new() });
    let known = all(keys, &facts).unwrap_or(false);
    drop(facts);
    yield_now().await;
    Ok(known)
}

/// Whether the header can tell something about the criterion.
fn asks_header(key: &Key) -> bool {
    match key {
        Key::Header(..) | Key::Sent(_) => true,
        Key::Not(key) => asks_header(key),
        Key::And(keys) => keys.iter().any(asks_header),
        Key::Or(keys) => asks_header(&keys.0) || asks_header(&keys.1),
        _ => false,
    }
}

/// All of them, as far as is known: `None` when more must be read.
fn all(keys: &[Key], facts: &Facts<'_>) -> Option<bool> {
    let mut known = Some(true);
    for key in keys {
        match one(key, facts) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = None,
        }
    }
    known
}

fn one(key: &Key, facts: &Facts<'_>) -> Option<bool> {
    let message = facts.message;
    Some(match key {
        Key::All => true,
        Key::Among(uids) => uids.contains(message.uid.value()),
        Key::Has(bit) => bit.is_some_and(|bit| message.flags.contains(bit)),
        Key::Recent => facts.view.is_recent(message.uid),
        Key::ModSeq(item, at_least) => item.of(message) >= *at_least,
        Key::Arrived(days) => days.contains(message.internal_date.local_date()),
        Key::Saved(days) => {
            let days_since = message.save_date.div_euclid(86_400);
            days.contains(Date { days: i32::try_from(days_since).unwrap_or(i32::MAX) })
        }
        Key::Larger(octets) => message.size > *octets,
        Key::Smaller(octets) => message.size < *octets,
        Key::Until(moment) => message.internal_date.unix <= *moment,
        Key::From(moment) => message.internal_date.unix >= *moment,
        Key::Sent(days) => {
            let header = facts.header.as_deref()?;
            sent_date(header).is_some_and(|date| days.contains(date))
        }
        Key::Header(name, words) => {
            let values = searchable_field(facts.header.as_deref()?, name);
            values.iter().any(|value| value.to_lowercase().contains(words.as_str()))
        }
        Key::Body(words) => facts.whole.as_ref()?.body().contains(words.as_str()),
        Key::Text(words) => facts.whole.as_ref()?.text().contains(words.as_str()),
        Key::Not(key) => !one(key, facts)?,
        Key::And(keys) => return all(keys, facts),
        Key::Or(keys) => match (one(&keys.0, facts), one(&keys.1, facts)) {
            (Some(true), _) | (_, Some(true)) => true,
            (Some(false), Some(false)) => false,
            _ => return None,
        },
    })
}
