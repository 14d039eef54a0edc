//! LIST, plain and extended.
//!
//! # Standards
//! RFC 3501 §6.3.8, RFC 5258 (LIST-EXTENDED), RFC 3348 (CHILDREN), RFC 5819 (LIST-STATUS), RFC 6154 (SPECIAL-USE),
//! RFC 8440 (LIST-MYRIGHTS).

use crate::names::{Listed, Listing};
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use crate::shared::{Sink, relieve, yield_now};
use imap::command::{List, ListReturn, ListSelect, StatusItem};
use imap::encode;
use std::collections::BTreeSet;
use std::ops::Bound;
use store::AccountState;

/// Names that are looked at together: those whose STATUS is asked for are read in one go.
const AHEAD: usize = 256;

/// A reference and patterns as one list of patterns.
pub(super) struct Patterns(Vec<String>);

impl Patterns {
    pub(super) fn new(reference: &str, patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| format!("{reference}{pattern}")).collect())
    }

    /// Whether one of them matches. INBOX is itself in any case, also as the first level (RFC 3501 §5.1).
    pub(super) fn match_name(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| {
            let begins = pattern.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("INBOX"));
            let matches = |pattern: &str| imap::pattern::matches(pattern, name, '/');
            if name == "INBOX" {
                matches(&pattern.to_ascii_uppercase())
            } else if begins && name.starts_with("INBOX/") {
                matches(&format!("INBOX{}", pattern.get(5..).unwrap_or_default()))
            } else {
                matches(pattern)
            }
        })
    }
}

/// The names above this one, the nearest last.
pub(super) fn superiors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// What LIST was asked for.
struct Wanted<'a> {
    list: &'a List,
    patterns: Patterns,
    subscribed: bool,
    special_use: bool,
    recursive: bool,
    names: &'a Listing<'a>,
    subscriptions: BTreeSet<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(
        list: &'a List,
        names: &'a Listing<'a>,
        state: &'a AccountState,
    ) -> Result<Self, Refusal> {
        let selects = |option: &ListSelect| list.select.contains(option);
        let wanted = Self {
            patterns: Patterns::new(&list.reference, &list.patterns),
            subscribed: selects(&ListSelect::Subscribed),
            special_use: selects(&ListSelect::SpecialUse),
            recursive: selects(&ListSelect::RecursiveMatch),
            subscriptions: state.subscriptions().collect(),
            names,
            list,
        };
        if wanted.recursive && !wanted.subscribed && !wanted.special_use {
            // RFC 5258 §3.1: on its own it says nothing.
            return Err(Refusal::bad("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE beside it"));
        }
        Ok(wanted)
    }

    /// The names that may be answered, in order: what exists and, where subscriptions select, those and what
    /// is above them.
    fn candidates(&self) -> Vec<&'a str> {
        let names = self.names.keys().map(AsRef::as_ref);
        if !self.subscribed {
            return names.filter(|name| self.patterns.match_name(name)).collect();
        }
        let mut names: BTreeSet<&str> = names.collect();
        for name in &self.subscriptions {
            names.insert(name);
            if self.recursive {
                names.extend(superiors(name));
            }
        }
        names.into_iter().filter(|name| self.patterns.match_name(name)).collect()
    }

    /// Whether the selection options choose the name.
    fn selects(&self, name: &str) -> bool {
        let special = || self.names.get(name).is_some_and(|entry| !entry.special_use.is_empty());
        (!self.subscribed || self.subscriptions.contains(name)) && (!self.special_use || special())
    }

    /// Whether a name below this one is chosen, of those that are `not_shown` only, or of all.
    fn selects_below(&self, name: &str, not_shown: bool) -> bool {
        let below = format!("{name}/");
        let chosen = |inferior: &str| {
            self.selects(inferior) && (!not_shown || !self.patterns.match_name(inferior))
        };
        if self.subscribed {
            let range = (Bound::Included(below.as_str()), Bound::Unbounded);
            let mut names = self.subscriptions.range::<str, _>(range);
            return names.by_ref().take_while(|n| n.starts_with(&below)).any(|n| chosen(n));
        }
        self.inferiors(name).any(chosen)
    }

    /// The names below this one.
    fn inferiors(&self, name: &str) -> impl Iterator<Item = &str> {
        let below = format!("{name}/");
        let range = (Bound::Included(below.as_str()), Bound::Unbounded);
        let names = self.names.range::<str, _>(range).map(|(name, _)| name.as_ref());
        names.take_while(move |name| name.starts_with(&below))
    }

    fn has_inferiors(&self, name: &str) -> bool {
        let after = (Bound::Excluded(name), Bound::Unbounded);
        let next = self.names.range::<str, _>(after).next();
        // Another name that begins so may stand between, such as one with a space behind.
        next.and_then(|(next, _)| next.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('/') || self.inferiors(name).next().is_some())
    }

    fn attributes(&self, name: &str, entry: Option<&Listed>) -> Vec<&'static str> {
        let mut attributes = Vec::new();
        if entry.is_none_or(|entry| entry.id.is_none()) {
            attributes.push("\\Noselect");
            if self.list.extended {
                attributes.push("\\NonExistent");
            }
        }
        attributes.push(if self.has_inferiors(name) { "\\HasChildren" } else { "\\HasNoChildren" });
        let returns = |option: &ListReturn| self.list.returns.contains(option);
        if (self.subscribed || returns(&ListReturn::Subscribed))
            && self.subscriptions.contains(name)
        {
            attributes.push("\\Subscribed");
        }
        // RFC 6154 §2: a plain LIST may show special uses too, and clients look there.
        if let Some(entry) = entry {
            attributes.extend(entry.special_use.iter().map(|special_use| special_use.as_str()));
        }
        attributes
    }

    /// CHILDINFO: which selection options choose something below (RFC 5258 §4).
    fn child_info(&self) -> Vec<&'static str> {
        let named = [(self.subscribed, "SUBSCRIBED"), (self.special_use, "SPECIAL-USE")];
        named.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }

    fn status_items(&self) -> Option<&'a [StatusItem]> {
        self.list.returns.iter().find_map(|option| match option {
            ListReturn::Status(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// Writes the line for this name, if one is due; answers the mailbox when it can be asked for STATUS and
    /// MYRIGHTS.
    fn write(&self, name: &str, out: &mut Vec<u8>) -> Option<&Listed> {
        let entry = self.names.get(name);
        let selected = self.selects(name);
        // A name that only leads to others is shown when one of those is not shown itself.
        let below = self.recursive && self.selects_below(name, !selected);
        if !selected && !below {
            return None;
        }
        let info = self.child_info();
        let info = below.then_some(info.as_slice());
        encode::list(out, false, &self.attributes(name, entry), Some('/'), name, info);
        // RFC 5819 §2: what is shown for the sake of others only has no STATUS.
        let entry = entry.filter(|entry| selected && entry.id.is_some())?;
        if self.list.returns.contains(&ListReturn::MyRights) {
            encode::my_rights(out, name, entry.rights);
        }
        Some(entry)
    }
}

impl Session {
    /// Lists names.
    pub(crate) async fn list<S: Sink>(&mut self, list: &List, sink: &mut S) -> Result<Reply, Stop> {
        if !list.extended && list.patterns.iter().all(String::is_empty) {
            // Only the delimiter is asked for (RFC 3501 §6.3.8).
            encode::list(sink.buffer(), false, &["\\Noselect"], Some('/'), "", None);
            return Ok(Reply::ok("That is the delimiter"));
        }
        if list.returns.contains(&ListReturn::MyRights) && !self.offers("LIST-MYRIGHTS") {
            return Err(Refusal::bad("LIST-MYRIGHTS is switched off here").into());
        }
        let state = self.login()?.account.state();
        let sharers = self.sharers().await?;
        let names = self.listing(&state, &sharers)?;
        let wanted = Wanted::new(list, &names, &state)?;
        let status = wanted.status_items();
        if status.is_some_and(|items| items.contains(&StatusItem::HighestModSeq)) {
            self.become_aware(sink);
        }
        for some in wanted.candidates().chunks(AHEAD) {
            // In memory together, for as long as they are told of.
            let ids = some.iter().filter_map(|name| wanted.names.get(*name)?.id);
            let _open = match status {
                Some(_) => self.shared.store.mailboxes(&ids.collect::<Vec<_>>()).await,
                None => Vec::new(),
            };
            for name in some {
                let entry = wanted.write(name, sink.buffer());
                if let (Some(id), Some(items)) = (entry.and_then(|entry| entry.id), status) {
                    match self.tell_status(name, id, items, sink).await {
                        // Deleted meanwhile, or without `r`: there is no STATUS to send (RFC 5819 §2).
                        Ok(()) | Err(Stop::Refused(_)) => {}
                        Err(Stop::Closed) => return Err(Stop::Closed),
                    }
                }
            }
            relieve(sink).await?;
            yield_now().await;
        }
        Ok(Reply::ok("Those are the names"))
    }
}
