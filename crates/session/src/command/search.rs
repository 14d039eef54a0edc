//! SEARCH and UID SEARCH.
//!
//! # Standards
//! RFC 3501 §6.4.4, RFC 4731 (ESEARCH), RFC 5182 (SAVE and `$`), RFC 7162 §3.1.5 and §3.1.10.

use super::store::no_mod_seqs;
use crate::refusal::{Refusal, Stop};
use crate::search::{self, Key};
use crate::session::{Reply, Session, Tell};
use crate::shared::{Sink, yield_now};
use crate::view::View;
use imap::command::{Search, SearchReturn, Tag};
use imap::encode::{self, Code, ESearch};
use imap::number::{ModSeq, SeqNum, Uid};
use imap::set::UidSet;
use std::sync::Arc;
use store::{Message, Store};

/// Records tested between two breaths.
const BREATH: usize = 4096;

/// What was found.
#[derive(Default)]
struct Found {
    uids: UidSet,
    numbers: UidSet,
    first: Option<Hit>,
    last: Option<Hit>,
    highest: u64,
    /// A message could not be read because it is gone.
    unread: bool,
}

#[derive(Clone, Copy)]
struct Hit {
    uid: Uid,
    seq: SeqNum,
    mod_seq: ModSeq,
}

impl Found {
    fn add(&mut self, seq: SeqNum, message: &Message) {
        let hit = Hit { uid: message.uid, seq, mod_seq: message.mod_seq };
        self.uids.push(hit.uid.value());
        self.numbers.push(hit.seq.value());
        self.first = self.first.or(Some(hit));
        self.last = Some(hit);
        self.highest = self.highest.max(hit.mod_seq.value());
    }

    /// The mod-sequence that goes with these result options: the highest of all that was found, or of the
    /// first and last alone when only those are returned [S-92, S-98, S-99, S-100].
    fn mod_seq(&self, returns: &[SearchReturn]) -> Option<ModSeq> {
        let asks = |option: SearchReturn| returns.contains(&option);
        let all = asks(SearchReturn::All) || asks(SearchReturn::Count);
        let (min, max) = (asks(SearchReturn::Min), asks(SearchReturn::Max));
        if all || !(min || max) {
            return ModSeq::new(self.highest);
        }
        let min = self.first.filter(|_| min).map(|hit| hit.mod_seq);
        let max = self.last.filter(|_| max).map(|hit| hit.mod_seq);
        min.max(max)
    }

    /// What `$` becomes (RFC 5182 §2.4).
    fn saved(&self, returns: &[SearchReturn]) -> UidSet {
        let asks = |option: SearchReturn| returns.contains(&option);
        let (min, max) = (asks(SearchReturn::Min), asks(SearchReturn::Max));
        if asks(SearchReturn::All) || asks(SearchReturn::Count) || !(min || max) {
            return self.uids.clone();
        }
        let ends = [self.first.filter(|_| min), self.last.filter(|_| max)];
        ends.into_iter().flatten().map(|hit| hit.uid).collect()
    }
}

impl Session {
    /// Finds messages.
    pub(crate) async fn search<S: Sink>(
        &mut self,
        tag: &Tag,
        command: &Search,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let saves = command.returns.as_ref().is_some_and(|list| list.contains(&SearchReturn::Save));
        let result = self.search_now(tag, command, sink).await;
        if let Err(Stop::Refused(Refusal { kind: crate::refusal::Kind::No, .. })) = &result
            && saves
            && let Some(view) = &mut self.view
        {
            // RFC 5182 §2.1: NO empties the variable, BAD leaves it.
            view.saved = UidSet::new();
        }
        result
    }

    async fn search_now<S: Sink>(
        &mut self,
        tag: &Tag,
        command: &Search,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let by_mod_seq = command.keys.iter().any(search::has_mod_seq);
        if by_mod_seq && !self.has_mod_seqs() {
            return Err(no_mod_seqs().into()); // [S-35]
        }
        if let Some(charset) = &command.charset
            && !["UTF-8", "US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        {
            let code = Code::BadCharset(vec!["US-ASCII".into(), "UTF-8".into()]);
            return Err(Refusal::coded(code, "Only US-ASCII and UTF-8 can be searched in").into());
        }
        if by_mod_seq {
            self.become_aware(sink);
        }
        let expunges = command.uid && !command.keys.iter().any(search::has_numbers);
        let (voice, store) = (self.voice, self.shared.store.clone());
        let view = self.selected()?;
        let state = view.newest()?;
        view.tell_numbers(&state, expunges, voice, sink).await?;
        let now = store.now();
        let keys: Vec<Key> = command.keys.iter().map(|k| search::compile(k, view, now)).collect();
        let found = find(view, &store, &keys).await?;
        answer(view, tag, command, by_mod_seq, &found, sink);
        let tell = Tell::UpTo { state, expunges, known: UidSet::new() };
        let reply = Reply::ok("Searched").tell(tell);
        // [S-147]
        Ok(if found.unread { reply.code(Code::ExpungeIssued) } else { reply })
    }
}

/// Tests every message that can match.
async fn find(view: &View, store: &Store, keys: &[Key]) -> Result<Found, Stop> {
    let state = Arc::clone(view.state());
    let numbering = view.numbering().clone();
    let scope = search::scope(keys);
    let level = numbering.ptr_eq(state.tree());
    let mut walk = match (scope.since > 0, &scope.uids) {
        (true, Some(uids)) => state.tree().changed_since_in(scope.since, uids),
        (true, None) => state.tree().changed_since(scope.since),
        (false, Some(uids)) => numbering.iter_uids(uids),
        (false, None) => numbering.iter(),
    };
    // A walk of the state counts by the state's numbers, the client counts by its own.
    let renumber = scope.since > 0 && !level;
    let seq_of =
        |seq, message: &Message| if renumber { view.seq_of(message.uid) } else { Some(seq) };
    let mut found = Found::default();
    loop {
        let mut tested = 0;
        let some = walk.by_ref().take(BREATH).inspect(|_| tested += 1);
        let current = some.map(|(seq, m)| (seq, if level { m } else { view.current(m) }));
        let Some((seq, message)) = test_records(current, keys, view, &seq_of, &mut found) else {
            if tested < BREATH {
                return Ok(found);
            }
            yield_now().await;
            continue;
        };
        match search::holds(keys, view, message, store).await {
            Ok(true) => seq_of(seq, message).into_iter().for_each(|seq| found.add(seq, message)),
            Ok(false) => {}
            Err(_) if view.is_gone(message.uid) => found.unread = true,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Adds what holds by its record; answers the first message whose record cannot tell.
fn test_records<'a>(
    messages: impl Iterator<Item = (SeqNum, &'a Message)>,
    keys: &[Key],
    view: &View,
    seq_of: &impl Fn(SeqNum, &Message) -> Option<SeqNum>,
    found: &mut Found,
) -> Option<(SeqNum, &'a Message)> {
    for (seq, message) in messages {
        match search::holds_by_record(keys, view, message) {
            Some(true) => seq_of(seq, message).into_iter().for_each(|seq| found.add(seq, message)),
            Some(false) => {}
            None => return Some((seq, message)),
        }
    }
    None
}

/// Writes SEARCH, or ESEARCH where result options were given.
fn answer<S: Sink>(
    view: &mut View,
    tag: &Tag,
    command: &Search,
    by_mod_seq: bool,
    found: &Found,
    sink: &mut S,
) {
    let results = if command.uid { &found.uids } else { &found.numbers };
    let returns = command.returns.as_deref().unwrap_or_default();
    // Nothing found, no mod-sequence [S-93, S-101]; no criterion, none either [S-94].
    let mod_seq = found.mod_seq(returns).filter(|_| by_mod_seq && !results.is_empty());
    let asks = |option: SearchReturn| returns.contains(&option);
    if asks(SearchReturn::Save) {
        view.saved = found.saved(returns);
        if returns.iter().all(|option| *option == SearchReturn::Save) {
            return; // [S-106]
        }
    }
    if let Some(mod_seq) = mod_seq {
        view.note_sent(mod_seq);
    }
    if command.returns.is_none() {
        encode::search(sink.buffer(), results, mod_seq);
        return;
    }
    let number = |hit: Hit| if command.uid { hit.uid.value() } else { hit.seq.value() };
    let all = asks(SearchReturn::All) || returns.is_empty();
    let line = ESearch {
        tag,
        uid: command.uid,
        min: found.first.filter(|_| asks(SearchReturn::Min)).map(number),
        max: found.last.filter(|_| asks(SearchReturn::Max)).map(number),
        count: asks(SearchReturn::Count).then(|| results.len()),
        all: (all && !results.is_empty()).then(|| results.clone()),
        mod_seq,
    };
    encode::esearch(sink.buffer(), &line);
}
