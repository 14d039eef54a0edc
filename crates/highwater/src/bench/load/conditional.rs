//! Conditional STORE without anybody in between: what each costs.
//!
//! # Standards
//! RFC 7162 §3.1.3.

use std::cell::Cell;

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::scan::{after, has, numbered};
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::Measured;

/// Each client on one message that nobody else changes; in one mailbox, or each in a mailbox of its own.
pub(super) async fn run(
    stage: &mut Stage,
    clients: usize,
    in_one: bool,
) -> Result<Measured, Failed> {
    stage.need_condstore()?;
    let mut boxes = mailboxes(stage, clients, in_one).await?;
    let mut lines = Vec::new();
    let (mut known, mut flagged) = (Vec::new(), Vec::new());
    for (user, filled) in &boxes {
        let mut line = stage.line(*user).await?;
        known.push(Cell::new(stage.select(&mut line, filled).await?.0));
        flagged.push(Cell::new(false));
        lines.push(line);
    }
    let measured = stage
        .together(&mut lines, async |client, line, turn| {
            let (Some(known), Some(flagged)) = (known.get(client), flagged.get(client)) else {
                return Ok(());
            };
            let number = client as u64 + 1;
            flagged.set(turn % 2 == 0);
            let sign = if flagged.get() { '+' } else { '-' };
            let since = known.get();
            let command =
                format!("STORE {number} (UNCHANGEDSINCE {since}) {sign}FLAGS.SILENT (\\Flagged)");
            let answer = line
                .must(&command, |response| {
                    if numbered(response, b"FETCH (") == Some(number)
                        && let Some(mod_seq) = after(response, b"MODSEQ (")
                    {
                        known.set(mod_seq);
                    }
                    Ok(())
                })
                .await?;
            if answer.contains("[MODIFIED ") {
                return Err(Failed::wrong(format!(
                    "nobody changed it, and {command} is answered {answer}"
                )));
            }
            if known.get() > since {
                return Ok(());
            }
            Err(Failed::wrong(format!("{command} is answered OK without a greater MODSEQ")))
        })
        .await?;
    for (client, line) in lines.iter_mut().enumerate() {
        let right = known.get(client).zip(flagged.get(client));
        if let Some((known, flagged)) = right {
            is_so(line, client as u64 + 1, known.get(), flagged.get()).await?;
        }
    }
    stage.close(lines).await?;
    boxes.dedup_by(|one, other| one.1.name == other.1.name);
    for (user, filled) in boxes {
        stage.remove(user, &filled.name).await?;
    }
    Ok(measured)
}

/// A mailbox for each client, or one for all: whose it is, and what it is called.
async fn mailboxes(
    stage: &mut Stage,
    clients: usize,
    in_one: bool,
) -> Result<Vec<(usize, Filled)>, Failed> {
    let mut boxes = Vec::new();
    for client in 0..clients {
        let (user, what) = if in_one {
            (0, "store".into())
        } else {
            (client, format!("store-{clients}-{client}"))
        };
        if !in_one || client == 0 {
            let name = stage.make(user, &what).await?;
            let mut line = stage.line(user).await?;
            let mut samples = crate::bench::tally::Samples::default();
            stage.fill(&mut line, &name, clients as u64, &mut samples).await?;
            line.log_out().await?;
        }
        boxes.push((user, Filled { name: stage.name(&what), count: clients as u64 }));
    }
    Ok(boxes)
}

/// An error unless the message is as its last STORE was told to have left it.
async fn is_so(line: &mut Line, number: u64, known: u64, flagged: bool) -> Result<(), Failed> {
    let mut found = None;
    line.must(&format!("FETCH {number} (FLAGS MODSEQ)"), |response| {
        if numbered(response, b"FETCH (") == Some(number) {
            found = after(response, b"MODSEQ (").zip(Some(has(response, b"\\Flagged")));
        }
        Ok(())
    })
    .await?;
    equal("MODSEQ after the last conditional STORE", found.map(|(mod_seq, _)| mod_seq), known)?;
    let is = found.is_some_and(|(_, is)| is);
    equal("\\Flagged after the last conditional STORE", u64::from(is), u64::from(flagged))
}
