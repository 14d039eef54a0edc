//! What a client does that comes to a large mailbox, or back to it.
//!
//! # Standards
//! RFC 7162 §3.1.4.1 (CHANGEDSINCE) and §3.2.5 (QRESYNC).

use std::collections::BTreeSet;

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::scan::{after, has, numbered, set_sum};
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::Measured;

use super::fetch::lacking;

/// How many messages are changed, and how many expunged.
const CHANGES: u64 = 10;

/// SELECT, again and again.
pub(super) async fn select(stage: &mut Stage) -> Result<Measured, Failed> {
    let large = stage.large().await?;
    let mut line = stage.line(0).await?;
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let mut exists = None;
            line.must(&format!("SELECT {}", large.name), |response| {
                exists = numbered(response, b"EXISTS").or(exists);
                Ok(())
            })
            .await?;
            equal("messages by SELECT", exists, large.count)?;
            Ok(1)
        })
        .await?;
    line.log_out().await?;
    Ok(measured)
}

/// STATUS of a mailbox that this client has not selected, and another has.
pub(super) async fn status(stage: &mut Stage) -> Result<Measured, Failed> {
    let large = stage.large().await?;
    let mut other = stage.line(0).await?;
    stage.select(&mut other, &large).await?;
    let mut line = stage.line(0).await?;
    let more = if stage.need_condstore().is_ok() { " HIGHESTMODSEQ" } else { "" };
    let command = format!("STATUS {} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN{more})", large.name);
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let mut messages = None;
            line.must(&command, |response| {
                messages = after(response, b"(MESSAGES ").or(messages);
                Ok(())
            })
            .await?;
            equal("messages by STATUS", messages, large.count)?;
            Ok(1)
        })
        .await?;
    stage.close(vec![line, other]).await?;
    Ok(measured)
}

/// Ten changes, and what FETCH with CHANGEDSINCE says of them.
pub(super) async fn changed_since(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.need_condstore()?;
    let large = stage.large().await?;
    let mut line = stage.line(0).await?;
    let (known, _) = stage.select(&mut line, &large).await?;
    let changed = spread(large.count, 0);
    change(&mut line, &changed).await?;
    let command = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {known})");
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let mut named = BTreeSet::new();
            line.must(&command, |response| {
                let number = numbered(response, b"FETCH (");
                named.extend(number);
                if number.is_none() { Ok(()) } else { is_change(response, known) }
            })
            .await?;
            if named == changed { Ok(1) } else { Err(named_wrongly("CHANGEDSINCE", &named)) }
        })
        .await?;
    line.log_out().await?;
    Ok(measured)
}

/// Ten changes and ten expunges, and what SELECT with QRESYNC says of them.
pub(super) async fn resync(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.need("QRESYNC")?;
    let large = stage.large().await?;
    let mut line = stage.line(0).await?;
    line.done("ENABLE QRESYNC").await?;
    let (known, validity) = stage.select(&mut line, &large).await?;
    let changed = uids(&mut line, &spread(large.count, 0)).await?;
    let gone = uids(&mut line, &spread(large.count, 1)).await?;
    change(&mut line, &spread(large.count, 0)).await?;
    expunge(&mut line, &gone).await?;
    let left = Filled { name: large.name, count: large.count - CHANGES };
    stage.set_large(left.clone());
    let command = format!("SELECT {} (QRESYNC ({validity} {known}))", left.name);
    let gone_sum = gone.iter().sum::<u64>();
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let (mut named, mut vanished, mut exists) = (BTreeSet::new(), (0, 0), None);
            line.must(&command, |response| {
                exists = numbered(response, b"EXISTS").or(exists);
                if let Some(set) = response.strip_prefix(b"* VANISHED (EARLIER) ") {
                    let (count, sum) = set_sum(set);
                    vanished = (vanished.0 + count, vanished.1 + sum);
                } else if numbered(response, b"FETCH (").is_some() {
                    named.extend(after(response, b"UID "));
                    is_change(response, known)?;
                }
                Ok(())
            })
            .await?;
            equal("messages by SELECT", exists, left.count)?;
            if vanished != (CHANGES, gone_sum) {
                let why =
                    format!("{} messages vanished, and {CHANGES} others are right", vanished.0);
                return Err(Failed::wrong(why));
            }
            if named == changed { Ok(1) } else { Err(named_wrongly("QRESYNC", &named)) }
        })
        .await?;
    line.log_out().await?;
    Ok(measured)
}

/// Ten numbers, all over so many messages; another `offset` gives others.
fn spread(count: u64, offset: u64) -> BTreeSet<u64> {
    (0..CHANGES).map(|n| 1 + n * (count / CHANGES) + offset).collect()
}

fn joined(numbers: &BTreeSet<u64>) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// A keyword that each of them has not, on each: a change, however often this was measured.
async fn change(line: &mut Line, numbers: &BTreeSet<u64>) -> Result<(), Failed> {
    let set = joined(numbers);
    line.done(&format!("STORE {set} -FLAGS.SILENT ($Late)")).await?;
    line.done(&format!("STORE {set} +FLAGS.SILENT ($Late)")).await?;
    Ok(())
}

async fn uids(line: &mut Line, numbers: &BTreeSet<u64>) -> Result<BTreeSet<u64>, Failed> {
    let mut uids = BTreeSet::new();
    line.must(&format!("FETCH {} (UID)", joined(numbers)), |response| {
        uids.extend(after(response, b"(UID "));
        Ok(())
    })
    .await?;
    equal("UIDs by FETCH", uids.len() as u64, numbers.len() as u64)?;
    Ok(uids)
}

async fn expunge(line: &mut Line, uids: &BTreeSet<u64>) -> Result<(), Failed> {
    let set = joined(uids);
    line.done(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)")).await?;
    line.done(&format!("UID EXPUNGE {set}")).await?;
    Ok(())
}

/// An error unless a FETCH response tells the flag that was added, and a later mod-sequence than the known one.
fn is_change(response: &[u8], known: u64) -> Result<(), Failed> {
    let later = after(response, b"MODSEQ (").is_some_and(|mod_seq| mod_seq > known);
    if later && has(response, b"$Late") { Ok(()) } else { Err(lacking(response)) }
}

fn named_wrongly(what: &str, named: &BTreeSet<u64>) -> Failed {
    let first: Vec<_> = named.iter().take(12).collect();
    Failed::wrong(format!(
        "{what} names {} messages, {first:?} first: not those that changed",
        named.len()
    ))
}
