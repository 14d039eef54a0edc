//! Conditional STORE without anybody in between: what each costs.
//!
//! # Standards
//! RFC 7162 §3.1.3.

use std::cell::Cell;

use crate::bench::Failed;
use crate::bench::scan::{after, numbered};
use crate::bench::stage::{Filled, Stage};
use crate::bench::tally::Measured;

/// Each client on one message that nobody else changes; in one mailbox, or each in a mailbox of its own.
pub(super) async fn run(
    stage: &mut Stage,
    clients: usize,
    in_one: bool,
) -> Result<Measured, Failed> {
    stage.need_condstore()?;
    let mut boxes = Vec::new();
    for client in 0..clients {
        let (user, what) =
            if in_one { (0, "store".into()) } else { (client, format!("store-{client}")) };
        if !in_one || client == 0 {
            let name = stage.make(user, &what).await?;
            let mut line = stage.line(user).await?;
            let mut samples = crate::bench::tally::Samples::default();
            stage.fill(&mut line, &name, clients as u64, &mut samples).await?;
            line.log_out().await?;
        }
        boxes.push((user, Filled { name: stage.name(&what), count: clients as u64 }));
    }
    let mut lines = Vec::new();
    let mut known = Vec::new();
    for (user, filled) in &boxes {
        let mut line = stage.line(*user).await?;
        known.push(Cell::new(stage.select(&mut line, filled).await?.0));
        lines.push(line);
    }
    let measured = stage
        .together(&mut lines, async |client, line, turn| {
            let Some(known) = known.get(client) else { return Ok(()) };
            let number = client as u64 + 1;
            let sign = if turn % 2 == 0 { '+' } else { '-' };
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
    stage.close(lines).await?;
    boxes.dedup_by(|one, other| one.1.name == other.1.name);
    for (user, filled) in boxes {
        stage.remove(user, &filled.name).await?;
    }
    Ok(measured)
}
