//! A client drops in the middle of others' changes and comes back by mod-sequence: it must end up with what a plain
//! FETCH shows.
//!
//! # Standards
//! RFC 7162 §3.1.4 (CHANGEDSINCE), §3.2.5 (QRESYNC) and §6 (how a client resynchronises).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use client::mirror::{Mirror, Reason};
use client::store::{sequence, store};
use client::{Connection, Error};
use imap::command::{CommandBody, StoreAction};
use imap::flag::{Flag, SystemFlag};
use imap::number::Uid;
use imap::response::FlagName;
use imap::set::UidSet;

use super::chance::Chance;
use super::field::{Field, own_marks};
use super::tally::{Race, Tally};
use super::transcript::Transcript;

/// Rounds of one slice.
const SLICE: usize = 4;
/// Messages that are shown when a client is wrong about them.
const SHOWN_MAX: usize = 10;
/// Changes of each client in one round.
const CHANGES: usize = 3;

/// What there is, or what a client believes: the flags of each message.
type Messages = BTreeMap<Uid, BTreeSet<String>>;

/// One slice: the client drops and comes back in the midst of changes, and again when all is quiet.
pub(super) async fn resyncs(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    field.pool().await?;
    let mut mirror = Mirror::new(&field.scratch.mailbox);
    let mut client = field.door.connect().await?;
    catch_up(&mut mirror, &mut client).await?;
    for _ in 0..SLICE {
        let begun = Instant::now();
        let fell_back = mirror.reasons().len();
        drop(client);
        client = field.door.connect().await?;
        client.record();
        let in_flight = amid_changes(field, &mut mirror, &mut client).await?;
        tally.round(in_flight);
        catch_up(&mut mirror, &mut client).await?;
        let there = field.look_at_all().await?;
        let there = there.into_iter().map(|(uid, (flags, _))| (uid, names(&flags))).collect();
        let believed = mirror.messages().map(|(uid, state)| (uid, lower(&state.flags))).collect();
        let unlike = differences(&believed, &there);
        let contradictions = mirror.reasons().iter().skip(fell_back).filter(is_contradiction);
        let contradictions = contradictions.count() as u64;
        tally.otherwise += unlike.len() as u64 + contradictions;
        if !unlike.is_empty() || contradictions > 0 {
            let what = format!(
                "{}: the client is wrong about {} messages, and the server contradicted itself {contradictions} times",
                Race::Resync,
                unlike.len(),
            );
            let who = [(field.clients.len(), &client)].into_iter();
            let said = Transcript::of(what, begun, None, who);
            let lines = unlike.into_iter().take(SHOWN_MAX).chain(said.lines).collect();
            tally.first.get_or_insert(Transcript { lines, what: said.what });
            mirror = Mirror::new(&field.scratch.mailbox);
        }
    }
    client.close().await;
    Ok(())
}

/// Selects the mailbox and takes in what has changed; what it believes then is all there is to commit.
async fn catch_up(mirror: &mut Mirror, client: &mut Connection) -> Result<(), Error> {
    mirror.sync(client).await?.commit();
    Ok(())
}

/// Whether the client had to ask for everything because what it was told by mod-sequence did not add up.
fn is_contradiction(reason: &&Reason) -> bool {
    matches!(reason, Reason::CountDiffers | Reason::NumberUnknown | Reason::ModSeqFell)
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
            for command in change(&mut field.chance, &uids, &marks) {
                own.push(writer.submit(command)?);
            }
        }
        tickets.push(own);
    }
    for writer in &mut field.clients {
        writer.flush().await?;
    }
    let in_flight = field.clients.iter().filter(|writer| !writer.has_input()).count();
    catch_up(mirror, client).await?;
    for (writer, own) in field.clients.iter_mut().zip(tickets) {
        for ticket in own {
            writer.answer(ticket).await?;
        }
    }
    Ok(in_flight)
}

/// A change of some message: mostly of a flag, at times an expunge.
fn change(chance: &mut Chance, uids: &[Uid], marks: &[Flag]) -> Vec<CommandBody> {
    let this: UidSet = uids.get(chance.below(uids.len())).copied().into_iter().collect();
    let Some(set) = sequence(&this) else { return Vec::new() };
    let mark: Vec<Flag> = marks.get(chance.below(marks.len())).cloned().into_iter().collect();
    let change = |action, flags: &[Flag]| store(set.clone(), None, action, flags);
    match chance.below(10) {
        0 => {
            let deleted = [Flag::System(SystemFlag::Deleted)];
            let expunge = CommandBody::Expunge(Some(set.clone()));
            vec![change(StoreAction::Add, &deleted), expunge]
        }
        1..=3 => vec![change(StoreAction::Remove, &mark)],
        4..=5 => vec![change(StoreAction::Replace, &mark)],
        _ => vec![change(StoreAction::Add, &mark)],
    }
}

/// Flags as they can be compared and shown.
pub(super) fn names(flags: &[FlagName]) -> BTreeSet<String> {
    let kept = flags.iter().filter_map(|flag| match flag {
        FlagName::Flag(flag) => Some(flag.to_string()),
        FlagName::Recent | FlagName::Any => None,
        FlagName::Other(name) => Some(name.clone()),
    });
    lower(&kept.collect::<Vec<_>>())
}

fn lower(flags: &[String]) -> BTreeSet<String> {
    flags.iter().map(|flag| flag.to_ascii_lowercase()).collect()
}

/// What one side has otherwise than the other, a line for each message.
fn differences(believed: &Messages, there: &Messages) -> Vec<String> {
    let uids: BTreeSet<Uid> = believed.keys().chain(there.keys()).copied().collect();
    let unlike = uids.into_iter().filter(|uid| believed.get(uid) != there.get(uid));
    let line = |uid: Uid| {
        let (believed, there) = (shown(believed.get(&uid)), shown(there.get(&uid)));
        format!("UID {uid}: the client has {believed}, a plain FETCH {there}")
    };
    unlike.map(line).collect()
}

/// Flags in parentheses, or that there is no message.
pub(super) fn shown(flags: Option<&BTreeSet<String>>) -> String {
    let joined = |flags: &BTreeSet<String>| {
        format!("({})", flags.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    };
    flags.map_or("nothing".to_owned(), joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_change_a_lost_expunge_and_a_lost_message_show() {
        let messages = |list: &[(u32, &str)]| -> Messages {
            let flags = |flags: &str| flags.split_whitespace().map(str::to_owned).collect();
            list.iter().map(|(uid, text)| (Uid::new(*uid).unwrap(), flags(text))).collect()
        };
        let there = messages(&[(1, "$a \\seen"), (2, ""), (4, "$b")]);
        assert_eq!(differences(&there, &there), [""; 0]);
        let believed = messages(&[(1, "$a"), (2, ""), (3, "$c")]);
        let expected = [
            "UID 1: the client has ($a), a plain FETCH ($a \\seen)",
            "UID 3: the client has ($c), a plain FETCH nothing",
            "UID 4: the client has nothing, a plain FETCH ($b)",
        ];
        assert_eq!(differences(&believed, &there), expected);
        assert_eq!(names(&[FlagName::Recent, FlagName::new("$A")]), BTreeSet::from(["$a".into()]));
    }
}
