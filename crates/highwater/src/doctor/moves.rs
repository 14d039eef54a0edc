//! Races of UID MOVE: a message that several clients move is to end up in one place once.
//!
//! # Standards
//! RFC 6851 does not promise one winner: what is found here is told, and does not make a server UNSAFE.

use client::{Answer, Error};
use imap::command::{CommandBody, MailboxName, StatusItem, Transfer};
use imap::encode::Code;
use imap::number::Uid;
use imap::response::Response;
use imap::set::UidSet;

use super::field::Field;
use super::tally::{Race, Tally};

/// Rounds of one slice.
const SLICE: usize = 16;

/// One slice: all clients move the same message, message by message.
pub(super) async fn moves(field: &mut Field, tally: &mut Tally) -> Result<(), Error> {
    let mut pool = field.pool().await?;
    pool.truncate(SLICE);
    let before = moved(field).await?;
    let (mut several, mut rounds) = (0, 0);
    for (uid, _) in pool {
        let uids = UidSet::from_ranges([(uid.value(), uid.value())]);
        let Some(set) = client::store::sequence(&uids) else { continue };
        let mailbox = MailboxName(field.scratch.moved.clone());
        let transfer = Transfer { uid: true, set, mailbox };
        let volley = field.volley(|_| CommandBody::Move(transfer.clone())).await?;
        tally.round(volley.in_flight);
        rounds += 1;
        let winners: Vec<usize> = volley
            .answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| has_moved(answer, uid))
            .map(|(number, _)| number)
            .collect();
        tally.none += u64::from(winners.is_empty());
        tally.most = tally.most.max(winners.len());
        several += u64::from(winners.len() > 1);
        if winners.len() > 1 && tally.first.is_none() {
            let what = format!(
                "{}, UID MOVE: UID {uid}: clients {winners:?} were all told COPYUID",
                Race::Move
            );
            tally.first = Some(field.transcript(what, &volley, &winners));
        }
    }
    // A server may copy more often than it tells.
    let copies = moved(field).await?.saturating_sub(before).saturating_sub(rounds);
    tally.several += several.max(u64::from(copies > 0));
    Ok(())
}

fn has_moved(answer: &Answer, uid: Uid) -> bool {
    let names =
        |code: &Code| matches!(code, Code::CopyUid(_, from, _) if from.contains(uid.value()));
    answer.codes().any(names)
}

/// How many messages were moved so far.
async fn moved(field: &mut Field) -> Result<u64, Error> {
    let mailbox = MailboxName(field.scratch.moved.clone());
    let items = vec![StatusItem::Messages];
    let answer = field.control.run(CommandBody::Status { mailbox, items }).await?;
    let count = answer.untagged.iter().find_map(|response| match response {
        Response::MailboxStatus { items, .. } => items.iter().find_map(|(_, count)| *count),
        _ => None,
    });
    Ok(count.unwrap_or_default())
}
