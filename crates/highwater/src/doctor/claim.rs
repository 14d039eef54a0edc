//! Races for messages by conditional STORE: claim, arrival, burst, lease, and claims on what is gone.
//!
//! # Standards
//! RFC 7162 §3.1.3 (UNCHANGEDSINCE, MODIFIED).

use client::{Answer, Error};
use imap::command::StoreAction;
use imap::flag::{Flag, SystemFlag};
use imap::number::{ModSeq, Uid};
use imap::response::FlagName;
use imap::set::UidSet;

use super::field::{Field, States, Volley, claim, keyword, own_marks};
use super::judge::{Outcome, outcome};
use super::resync::{names, shown};
use super::tally::{Race, Tally};
use super::transcript::Transcript;

/// Rounds of one slice of the slower races.
const SLICE: usize = 16;
/// Messages that a burst claims in one STORE.
const BURST: usize = 20;

/// A message for which there was a race.
struct Raced {
    uid: Uid,
    outcome: Outcome,
}

/// How each client claims.
struct Form {
    action: StoreAction,
    marks: Vec<Vec<Flag>>,
}

impl Form {
    fn of(race: Race, clients: usize) -> Result<Self, Error> {
        let same = |flag: Flag| vec![vec![flag]; clients];
        let marks = match race {
            Race::ClaimKeyword | Race::ArrivalKeyword => same(keyword("$doctor")?),
            Race::ClaimFlagged => same(Flag::System(SystemFlag::Flagged)),
            _ => own_marks(clients)?,
        };
        let replaces = matches!(race, Race::ClaimReplace | Race::Lease);
        let action = if replaces { StoreAction::Replace } else { StoreAction::Add };
        Ok(Self { action, marks })
    }

    /// Has every client claim the messages.
    async fn volley(
        &self,
        field: &mut Field,
        uids: &UidSet,
        since: ModSeq,
    ) -> Result<Volley, Error> {
        let mark = |client: usize| self.marks.get(client).map(Vec::as_slice).unwrap_or_default();
        field.volley(|client| claim(uids, since, self.action, mark(client))).await
    }
}

/// One slice of claims, message by message.
pub(super) async fn claims(field: &mut Field, race: Race, tally: &mut Tally) -> Result<(), Error> {
    let form = Form::of(race, field.clients.len())?;
    let mut raced = Vec::new();
    for (uid, since) in field.pool().await? {
        raced.push(round(field, race, tally, &form, uid, since).await?);
    }
    let end = field.look_at_all().await?;
    count_ends(race, tally, &form.marks, &raced, &end);
    Ok(())
}

/// One slice of messages that arrive one by one, each claimed as soon as all have heard of it.
pub(super) async fn arrivals(
    field: &mut Field,
    race: Race,
    tally: &mut Tally,
) -> Result<(), Error> {
    let form = Form::of(race, field.clients.len())?;
    let mut raced = Vec::new();
    for _ in 0..SLICE {
        let Some(uid) = field.add(1).await?.pop() else { continue };
        field.hear().await?;
        let uids = UidSet::from_ranges([(uid.value(), uid.value())]);
        let Some(set) = client::store::sequence(&uids) else { continue };
        // Nothing has changed since: its mod-sequence is the mailbox's highest.
        let Some((_, since)) = field.look(set).await?.remove(&uid) else { continue };
        raced.push(round(field, race, tally, &form, uid, since).await?);
    }
    let end = field.look_at_all().await?;
    count_ends(race, tally, &form.marks, &raced, &end);
    field.remove(raced.iter().map(|raced| raced.uid)).await
}

/// One slice of claims of many messages in one STORE.
pub(super) async fn bursts(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    let race = Race::BurstOwn;
    let form = Form::of(race, field.clients.len())?;
    for _ in 0..SLICE {
        let mut pool = field.pool().await?;
        pool.truncate(BURST);
        let uids: UidSet = pool
            .iter()
            .map(|(uid, _)| *uid)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let Some(since) = pool.iter().map(|(_, mod_seq)| *mod_seq).max() else { continue };
        let volley = form.volley(field, &uids, since).await?;
        tally.round(volley.in_flight);
        let mut raced = Vec::new();
        for (uid, _) in pool {
            raced.push(judge(field, race, tally, &form, &volley, uid, since));
        }
        let end = field.look_at_all().await?;
        count_ends(race, tally, &form.marks, &raced, &end);
    }
    Ok(())
}

/// One slice in which whoever holds the message extends its lease while all others take it over: the winner holds it
/// next.
pub(super) async fn leases(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    let mut form = Form::of(Race::Lease, field.clients.len())?;
    let Some((uid, mut since)) = field.pool().await?.pop() else { return Ok(()) };
    let beat = keyword("$doctorbeat")?;
    let this = UidSet::from_ranges([(uid.value(), uid.value())]);
    for _ in 0..super::field::POOL {
        let raced = round(field, Race::Lease, tally, &form, uid, since).await?;
        let Some(set) = client::store::sequence(&this) else { continue };
        let end = field.look(set).await?;
        count_ends(Race::Lease, tally, &form.marks, std::slice::from_ref(&raced), &end);
        let Some((flags, mod_seq)) = end.get(&uid) else { break };
        since = *mod_seq;
        field.hear().await?;
        // A heartbeat must change something, or two may have what they want: the holder sets the beat and clears it.
        let has = |flag: &Flag| flags.contains(&FlagName::Flag(flag.clone()));
        form.marks = own_marks(field.clients.len())?;
        let holder = form.marks.iter_mut().find(|mark| mark.iter().all(has));
        if let Some(mark) = holder.filter(|_| !has(&beat)) {
            mark.push(beat.clone());
        }
    }
    Ok(())
}

/// One slice of claims on messages that are gone when the claims come, whether the clients have heard of it or not.
pub(super) async fn ghosts(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    let form = Form::of(Race::Ghost, field.clients.len())?;
    let mut pool = field.pool().await?;
    pool.truncate(SLICE);
    for (at, (uid, since)) in pool.into_iter().enumerate() {
        field.remove([uid]).await?;
        // Half of them claim from an old list what they were told is gone.
        if at % 2 == 0 {
            field.hear().await?;
        }
        round(field, Race::Ghost, tally, &form, uid, since).await?;
    }
    Ok(())
}

async fn round(
    field: &mut Field,
    race: Race,
    tally: &mut Tally,
    form: &Form,
    uid: Uid,
    since: ModSeq,
) -> Result<Raced, Error> {
    let uids = UidSet::from_ranges([(uid.value(), uid.value())]);
    let volley = form.volley(field, &uids, since).await?;
    tally.round(volley.in_flight);
    Ok(judge(field, race, tally, form, &volley, uid, since))
}

/// Counts what the volley came to for one message.
fn judge(
    field: &Field,
    race: Race,
    tally: &mut Tally,
    form: &Form,
    volley: &Volley,
    uid: Uid,
    since: ModSeq,
) -> Raced {
    let answers: &[Answer] = &volley.answers;
    let outcome = outcome(uid, since, &form.marks, answers);
    let (plain, proven) = (outcome.plain.len(), outcome.proven.len());
    tally.none += u64::from(plain == 0);
    tally.several += u64::from(plain > 1);
    tally.most = tally.most.max(plain);
    tally.refused += outcome.refused.len() as u64;
    if race.has_proof() {
        tally.proof_none += u64::from(proven == 0);
        tally.proof_several += u64::from(proven > 1);
    }
    let wrong = if proven > 1 && race.has_proof() {
        Some((&outcome.proven, "a proof"))
    } else {
        (plain > 1 && race.has_one_winner()).then_some((&outcome.plain, "OK without MODIFIED"))
    };
    let is_worse = proven > 1 && tally.proof_several == 1;
    if let Some((winners, what)) = wrong.filter(|_| tally.first.is_none() || is_worse) {
        let what = format!(
            "{race}, {}: UID {uid} (UNCHANGEDSINCE {since}): clients {winners:?} were all told {what}",
            race.request()
        );
        tally.first = Some(field.transcript(what, volley, winners));
    }
    Raced { uid, outcome }
}

/// Compares what one winner was told with what there is.
fn count_ends(race: Race, tally: &mut Tally, marks: &[Vec<Flag>], raced: &[Raced], end: &States) {
    for Raced { uid, outcome } in raced {
        let flags = end.get(uid).map(|(flags, _)| flags.as_slice()).unwrap_or_default();
        if outcome.ends_otherwise(marks, flags) {
            tally.otherwise += 1;
            let what = format!(
                "{race}, {}: UID {uid}: client {:?} alone was told OK, and the message ends with {}",
                race.request(),
                outcome.plain,
                shown(Some(&names(flags)))
            );
            tally.first.get_or_insert(Transcript { what, lines: Vec::new() });
        }
    }
}
