//! A client drops in the middle of others' changes and comes back by mod-sequence: it must end up with what a plain
//! FETCH shows.
//!
//! # Standards
//! RFC 7162 §3.1.4 (CHANGEDSINCE), §3.2.5 (QRESYNC) and §6 (how a client resynchronises).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use client::{Answer, Connection, Error};
use imap::command::{CommandBody, Fetch, FetchItem, MailboxName, QResync, Select, StoreAction};
use imap::encode::Code;
use imap::flag::Flag;
use imap::number::{ModSeqOrZero, Uid, UidValidity};
use imap::response::{FetchData, FlagName, Response};
use imap::set::UidSet;

use super::door::Door;
use super::field::{Field, all, own_marks};
use super::tally::{Race, Tally};
use super::transcript::Transcript;

/// Rounds of one slice.
const SLICE: usize = 4;
/// Messages that are shown when a client is wrong about them.
const SHOWN_MAX: usize = 10;
/// Changes of each client in one round.
const CHANGES: usize = 3;

/// What a client knows of a mailbox.
#[derive(Default)]
struct Mirror {
    uid_validity: Option<UidValidity>,
    mod_seq: Option<ModSeqOrZero>,
    messages: BTreeMap<u32, BTreeSet<String>>,
}

impl Mirror {
    /// Takes in what the server says, in its order.
    fn take(&mut self, untagged: &[Response]) {
        for response in untagged {
            match response {
                Response::Vanished { uids, .. } => {
                    self.messages.retain(|uid, _| !uids.contains(*uid));
                }
                Response::Fetch { items, .. } => self.take_items(items),
                _ => {}
            }
        }
    }

    fn take_items(&mut self, items: &[FetchData]) {
        let (mut uid, mut told) = (None, None);
        for item in items {
            match item {
                FetchData::Uid(value) => uid = Some(value.value()),
                FetchData::Flags(flags) => told = Some(names(flags)),
                _ => {}
            }
        }
        if let (Some(uid), Some(flags)) = (uid, told) {
            self.messages.insert(uid, flags);
        }
    }

    /// Selects the mailbox and catches up.
    async fn catch_up(&mut self, client: &mut Connection, mailbox: &str) -> Result<(), Error> {
        let known = self.uid_validity.zip(self.mod_seq);
        let has_qresync = client.has("QRESYNC");
        let qresync = known.filter(|_| has_qresync).map(|(uid_validity, mod_seq)| QResync {
            uid_validity,
            mod_seq,
            known_uids: None,
            match_data: None,
        });
        let whole = qresync.is_none();
        let mailbox = MailboxName(mailbox.to_owned());
        let select = Select { mailbox, read_only: false, condstore: whole, qresync };
        let selected = client.run(CommandBody::Select(select)).await?;
        let (uid_validity, mod_seq) = numbers(&selected)?;
        if known.is_some_and(|(known, _)| known != uid_validity) {
            return Err(Error::Protocol("UIDVALIDITY has changed".into()));
        }
        self.take(&selected.untagged);
        if whole {
            self.fetch(client).await?;
        }
        // What SELECT has told is what the resync covers, not what came since.
        (self.uid_validity, self.mod_seq) = (Some(uid_validity), Some(mod_seq));
        Ok(())
    }

    /// Without QRESYNC: what has changed, and then what there is.
    async fn fetch(&mut self, client: &mut Connection) -> Result<(), Error> {
        let items = vec![FetchItem::Uid, FetchItem::Flags];
        let changed_since = self.mod_seq;
        let fetch = Fetch { uid: true, set: all(), items, changed_since, vanished: false };
        self.take(&client.run(CommandBody::Fetch(fetch)).await?.untagged);
        let items = vec![FetchItem::Uid];
        let fetch = Fetch { uid: true, set: all(), items, changed_since: None, vanished: false };
        let there = client.run(CommandBody::Fetch(fetch)).await?;
        let there: BTreeSet<u32> = there.fetched().map(|fetched| fetched.uid.value()).collect();
        self.messages.retain(|uid, _| there.contains(uid));
        Ok(())
    }
}

fn numbers(selected: &Answer) -> Result<(UidValidity, ModSeqOrZero), Error> {
    let mut found = (None, None);
    for code in selected.codes() {
        match code {
            Code::UidValidity(number) => found.0 = Some(*number),
            Code::HighestModSeq(number) => found.1 = Some(ModSeqOrZero::from(*number)),
            _ => {}
        }
    }
    found.0.zip(found.1).ok_or(Error::Lacks("UIDVALIDITY and HIGHESTMODSEQ in answer to SELECT"))
}

pub(super) fn names(flags: &[FlagName]) -> BTreeSet<String> {
    let kept = flags.iter().filter_map(|flag| match flag {
        FlagName::Flag(flag) => Some(flag.to_string().to_ascii_lowercase()),
        FlagName::Recent | FlagName::Any => None,
        FlagName::Other(name) => Some(name.to_ascii_lowercase()),
    });
    kept.collect()
}

async fn enter(door: &Door) -> Result<Connection, Error> {
    let mut client = door.open().await?;
    if client.has("QRESYNC") {
        client.run(CommandBody::Enable(vec!["QRESYNC".to_owned()])).await?;
    }
    Ok(client)
}

/// One slice: the client comes back over the same connection by selecting anew, and once over another connection.
pub(super) async fn resyncs(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    field.pool().await?;
    let mailbox = field.scratch.mailbox.clone();
    let mut mirror = Mirror::default();
    let mut client = enter(&field.door).await?;
    mirror.catch_up(&mut client, &mailbox).await?;
    for at in 0..SLICE {
        if at == SLICE / 2 {
            drop(client);
            client = enter(&field.door).await?;
        }
        let begun = Instant::now();
        client.record();
        let in_flight = amid_changes(field, &mut mirror, &mut client).await?;
        tally.round(in_flight);
        mirror.catch_up(&mut client, &mailbox).await?;
        let there: BTreeMap<u32, BTreeSet<String>> = field
            .look_at_all()
            .await?
            .into_iter()
            .map(|(uid, (flags, _))| (uid.value(), names(&flags)))
            .collect();
        let unlike = differences(&mirror.messages, &there);
        if !unlike.is_empty() {
            tally.several += unlike.len() as u64;
            let what = format!(
                "{}: after the resync the client is wrong about {} messages",
                Race::Resync,
                unlike.len()
            );
            let said =
                Transcript::of(what, begun, None, [(field.clients.len(), &client)].into_iter());
            let lines = unlike.into_iter().take(SHOWN_MAX).chain(said.lines).collect();
            tally.first.get_or_insert(Transcript { lines, what: said.what });
            mirror.messages = there;
        }
    }
    client.close().await;
    Ok(())
}

/// Catches up while the changes of all others are in flight; answers how many of them were when it began.
async fn amid_changes(
    field: &mut Field,
    mirror: &mut Mirror,
    client: &mut Connection,
) -> Result<usize, Error> {
    let uids: Vec<Uid> = field.look_at_all().await?.into_keys().collect();
    let marks: Vec<Flag> = own_marks(field.clients.len())?.into_iter().flatten().collect();
    let mut tickets = Vec::new();
    for writer in &mut field.clients {
        let mut own = Vec::new();
        for _ in 0..CHANGES {
            let change = change(&mut field.chance, &uids, &marks);
            for command in change {
                own.push(writer.submit(command)?);
            }
        }
        tickets.push(own);
    }
    for writer in &mut field.clients {
        writer.flush().await?;
    }
    let in_flight = field.clients.iter().filter(|writer| !writer.has_input()).count();
    mirror.catch_up(client, &field.scratch.mailbox).await?;
    for (writer, own) in field.clients.iter_mut().zip(tickets) {
        for ticket in own {
            writer.answer(ticket).await?;
        }
    }
    Ok(in_flight)
}

/// A change of some message: mostly of a flag, at times an expunge.
fn change(chance: &mut super::chance::Chance, uids: &[Uid], marks: &[Flag]) -> Vec<CommandBody> {
    let uid = uids.get(chance.below(uids.len())).map_or(1, |uid| uid.value());
    let Some(set) = client::store::sequence(&UidSet::from_ranges([(uid, uid)])) else {
        return Vec::new();
    };
    let mark: Vec<Flag> = marks.get(chance.below(marks.len())).cloned().into_iter().collect();
    let store = |action, flags: &[Flag]| client::store::store(set.clone(), None, action, flags);
    match chance.below(10) {
        0 => {
            let deleted = [Flag::System(imap::flag::SystemFlag::Deleted)];
            let expunge = CommandBody::Expunge(Some(set.clone()));
            vec![store(StoreAction::Add, &deleted), expunge]
        }
        1..=3 => vec![store(StoreAction::Remove, &mark)],
        4..=5 => vec![store(StoreAction::Replace, &mark)],
        _ => vec![store(StoreAction::Add, &mark)],
    }
}

/// What one side has otherwise than the other, a line for each message.
fn differences(
    mirror: &BTreeMap<u32, BTreeSet<String>>,
    there: &BTreeMap<u32, BTreeSet<String>>,
) -> Vec<String> {
    let uids: BTreeSet<u32> = mirror.keys().chain(there.keys()).copied().collect();
    let unlike = uids.into_iter().filter(|uid| mirror.get(uid) != there.get(uid));
    unlike
        .map(|uid| {
            format!(
                "UID {uid}: the client has {}, a plain FETCH {}",
                shown(mirror.get(&uid)),
                shown(there.get(&uid))
            )
        })
        .collect()
}

pub(super) fn shown(flags: Option<&BTreeSet<String>>) -> String {
    flags.map_or("nothing".to_owned(), |flags| {
        format!("({})", flags.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::response::parse;

    #[test]
    fn a_mirror_takes_changes_in_their_order_and_a_lost_one_shows() {
        let mut mirror = Mirror::default();
        let lines: [&[u8]; 5] = [
            b"* 1 FETCH (UID 1 FLAGS (\\Recent $A) MODSEQ (5))",
            b"* 2 FETCH (UID 2 FLAGS () MODSEQ (6))",
            b"* VANISHED (EARLIER) 1,9:12",
            b"* 1 FETCH (FLAGS (\\Seen) UID 2)",
            b"* 1 FETCH (UID 2 MODSEQ (9))",
        ];
        let told: Vec<Response> = lines.iter().map(|line| parse(line).unwrap()).collect();
        mirror.take(&told);
        let there = BTreeMap::from([(2, BTreeSet::from(["\\seen".to_owned()]))]);
        assert_eq!(differences(&mirror.messages, &there), [""; 0]);
        mirror.take(&told[..1]);
        let lost = differences(&mirror.messages, &there);
        assert_eq!(lost, ["UID 1: the client has ($a), a plain FETCH nothing"]);
    }
}
