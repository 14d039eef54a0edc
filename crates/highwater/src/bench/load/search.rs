//! Searches, and whether they find exactly what is there.

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::mail::{IN_BODY, IN_SUBJECT, has_in_body, has_in_subject};
use crate::bench::scan::found;
use crate::bench::stage::{Stage, day, is_unseen};
use crate::bench::tally::Measured;

/// Which of the middle mailbox's messages arrived since the 15th.
const SINCE: u64 = 15;
/// How many a search by mod-sequence finds.
const CHANGED: u64 = 10;

/// Where words are searched for.
#[derive(Clone, Copy)]
pub(super) enum Where {
    Subject,
    Body,
    /// Everywhere.
    Text,
}

pub(super) async fn unseen(stage: &mut Stage) -> Result<Measured, Failed> {
    search(stage, "UNSEEN", is_unseen).await
}

pub(super) async fn since(stage: &mut Stage) -> Result<Measured, Failed> {
    search(stage, &format!("SINCE {SINCE}-Jan-2026"), |number| day(number) >= SINCE).await
}

pub(super) async fn text(stage: &mut Stage, place: Where) -> Result<Measured, Failed> {
    match place {
        Where::Subject => search(stage, &format!("SUBJECT {IN_SUBJECT}"), has_in_subject).await,
        Where::Body => search(stage, &format!("BODY {IN_BODY}"), has_in_body).await,
        Where::Text => search(stage, &format!("TEXT {IN_BODY}"), has_in_body).await,
    }
}

/// Ten messages are changed, and found by their mod-sequence.
pub(super) async fn mod_seq(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.need_condstore()?;
    let middle = stage.middle().await?;
    let mut line = stage.line(0).await?;
    stage.select(&mut line, &middle).await?;
    let (known, _) = stage.select(&mut line, &middle).await?;
    for sign in ['-', '+'] {
        line.done(&format!("STORE 1:{CHANGED} {sign}FLAGS.SILENT ($Late)")).await?;
    }
    line.log_out().await?;
    search(stage, &format!("MODSEQ {}", known + 1), |number| number < CHANGED).await
}

/// A search in the middle mailbox, which must find those.
async fn search(
    stage: &mut Stage,
    key: &str,
    right: impl Fn(u64) -> bool,
) -> Result<Measured, Failed> {
    let middle = stage.middle().await?;
    let numbers = (0..middle.count).filter(|number| right(*number)).map(|number| number + 1);
    let right = numbers.fold((0, 0), |(count, sum), number| (count + 1, sum + number));
    let mut line = stage.line(0).await?;
    stage.select(&mut line, &middle).await?;
    let command = format!("SEARCH {key}");
    let measured =
        stage.repeat(&mut line, async |line, _| ask(line, &command, right).await).await?;
    line.log_out().await?;
    Ok(measured)
}

async fn ask(line: &mut Line, command: &str, right: (u64, u64)) -> Result<u64, Failed> {
    let mut all = None;
    line.must(command, |response| {
        all = found(response).or(all);
        Ok(())
    })
    .await?;
    match all {
        Some(all) if all == right => Ok(1),
        Some((count, _)) if count != right.0 => {
            Err(Failed::wrong(format!("{command} finds {count}, and {} are right", right.0)))
        }
        Some(_) => Err(Failed::wrong(format!("{command} finds others than are right"))),
        None => Err(Failed::wrong(format!("{command} is answered OK without a result"))),
    }
}
