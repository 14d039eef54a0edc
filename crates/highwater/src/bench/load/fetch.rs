//! What is read: flags, envelopes, bodies.

use crate::bench::Failed;
use crate::bench::mail::message;
use crate::bench::scan::{after, has, numbered};
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::{Measured, to_float};

use super::append::append_one;

const ENVELOPE: &str = "FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)";
/// Octets of a body that is fetched.
const BODY_OCTETS: usize = 30 * 1024;
/// Different bodies.
const BODIES: u64 = 64;

/// Flags, perhaps with mod-sequences, of all messages of the large mailbox.
pub(super) async fn flags(stage: &mut Stage, with_mod_seq: bool) -> Result<Measured, Failed> {
    if with_mod_seq {
        stage.need_condstore()?;
    }
    let large = stage.large().await?;
    let mut line = stage.line(0).await?;
    stage.select(&mut line, &large).await?;
    let items = if with_mod_seq { "(UID FLAGS MODSEQ)" } else { "(FLAGS)" };
    let command = format!("UID FETCH 1:* {items}");
    let right = stage.unseen(&large);
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let (mut count, mut last, mut unseen) = (0, 0, 0);
            line.must(&command, |response| {
                let Some(number) = numbered(response, b"FETCH (") else { return Ok(()) };
                count += 1;
                equal("the next message of FETCH", number, count)?;
                let uid = after(response, b"UID ").unwrap_or_default();
                let whole = uid > last && has(response, b"FLAGS (");
                let mod_seq = !with_mod_seq || after(response, b"MODSEQ (").is_some_and(|n| n > 0);
                last = uid;
                unseen += u64::from(!has(response, b"\\Seen"));
                if whole && mod_seq { Ok(()) } else { Err(lacking(response)) }
            })
            .await?;
            equal("messages by FETCH", count, large.count)?;
            equal("messages without \\Seen by FETCH", unseen, right.unwrap_or(unseen))?;
            Ok(count)
        })
        .await?;
    line.log_out().await?;
    Ok(measured)
}

/// Envelopes of a mailbox that nobody has read.
pub(super) async fn envelope_first(stage: &mut Stage) -> Result<Measured, Failed> {
    let fresh = stage.filled("unread", stage.tenth()).await?;
    let mut lines = stage.lines(1).await?;
    for line in &mut lines {
        stage.select(line, &fresh).await?;
    }
    let running = stage.begin(&lines).await?;
    let mut samples = crate::bench::tally::Samples::default();
    for line in &mut lines {
        let begun = std::time::Instant::now();
        samples.did(envelopes(line, &fresh).await?);
        samples.add(begun.elapsed());
    }
    let measured = stage.end(running, &lines, samples).await?;
    stage.close(lines).await?;
    stage.remove(0, &fresh.name).await?;
    Ok(measured)
}

/// Envelopes of the middle mailbox, again and again.
pub(super) async fn envelope_again(stage: &mut Stage) -> Result<Measured, Failed> {
    let middle = stage.middle().await?;
    let mut line = stage.line(0).await?;
    stage.select(&mut line, &middle).await?;
    let measured = stage.repeat(&mut line, async |line, _| envelopes(line, &middle).await).await?;
    line.log_out().await?;
    Ok(measured)
}

async fn envelopes(line: &mut crate::bench::Line, filled: &Filled) -> Result<u64, Failed> {
    let mut count = 0;
    line.must(ENVELOPE, |response| {
        let Some(number) = numbered(response, b"FETCH (") else { return Ok(()) };
        count += 1;
        equal("the next message of FETCH", number, count)?;
        equal("RFC822.SIZE", after(response, b"RFC822.SIZE "), 1024)?;
        let parts: [&[u8]; 4] =
            [b"ENVELOPE (", b"BODYSTRUCTURE (", b"INTERNALDATE \"", b"@example.org>"];
        if parts.iter().all(|part| has(response, part)) { Ok(()) } else { Err(lacking(response)) }
    })
    .await?;
    equal("messages by FETCH", count, filled.count)?;
    Ok(count)
}

/// Bodies, one by one or all of them by one command; each octet is compared.
pub(super) async fn bodies(stage: &mut Stage, at_once: bool) -> Result<Measured, Failed> {
    let bodies: Vec<_> = (0..BODIES).map(|number| message(number, BODY_OCTETS)).collect();
    let name = stage.make(0, if at_once { "stream" } else { "bodies" }).await?;
    let mut line = stage.line(0).await?;
    for body in &bodies {
        append_one(&mut line, &name, body, stage.has("LITERAL+")).await?;
    }
    stage.select(&mut line, &Filled { name: name.clone(), count: BODIES }).await?;
    let each = if at_once { BODIES } else { 1 };
    let mut measured = stage
        .repeat(&mut line, async |line, turn| {
            let first = 1 + turn * each % BODIES;
            let command = format!("FETCH {first}:{} BODY.PEEK[]", first + each - 1);
            let mut next = first;
            line.must(&command, |response| {
                let Some(number) = numbered(response, b"FETCH (") else { return Ok(()) };
                equal("the next message of FETCH", number, next)?;
                let right = usize::try_from(number - 1).ok().and_then(|at| bodies.get(at));
                next += 1;
                if right.is_some_and(|right| is_body(response, right)) {
                    return Ok(());
                }
                Err(Failed::wrong(format!("message {number} is not what was appended")))
            })
            .await?;
            equal("bodies by FETCH", next - first, each)?;
            Ok(each)
        })
        .await?;
    line.log_out().await?;
    stage.remove(0, &name).await?;
    let rate = to_float(measured.received) / measured.seconds / 1e6;
    measured.details.push(("megabytes_per_second", rate));
    Ok(measured)
}

/// Whether the one literal of the response is this.
fn is_body(response: &[u8], right: &[u8]) -> bool {
    let begin = memchr::memchr(b'\n', response).map_or(response.len(), |at| at + 1);
    let announced = format!("BODY[] {{{}}}\r\n", right.len());
    let head = response.get(..begin).unwrap_or_default();
    head.ends_with(announced.as_bytes())
        && response.get(begin..begin + right.len()).is_some_and(|octets| octets == right)
}

pub(super) fn lacking(response: &[u8]) -> Failed {
    Failed::wrong(format!("FETCH lacks what was asked for: {}", crate::bench::scan::text(response)))
}
