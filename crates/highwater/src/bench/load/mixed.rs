//! What people's mail clients do, several at once: much reading, some writing.

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::mail::{Draw, message};
use crate::bench::scan::{after, found, has, numbered};
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::{Measured, Samples};

use super::append::append_one;

/// Messages in each mailbox at first.
const MESSAGES: u64 = 500;
/// Messages whose flags are read at once: what a screen shows.
const SCREEN: u64 = 20;

/// Each client in a mailbox of its own.
pub(super) async fn run(stage: &mut Stage) -> Result<Measured, Failed> {
    let mut boxes = Vec::new();
    let mut lines = Vec::new();
    for client in 0..stage.plan.clients {
        let name = stage.make(client, &format!("mixed-{client}")).await?;
        let mut line = stage.line(client).await?;
        stage.fill(&mut line, &name, MESSAGES, &mut Samples::default()).await?;
        let filled = Filled { name, count: MESSAGES };
        stage.select(&mut line, &filled).await?;
        boxes.push(filled);
        lines.push(line);
    }
    let shown = &*stage;
    let new = message(3, stage.plan.octets);
    let measured = shown
        .together(&mut lines, async |client, line, turn| {
            let Some(filled) = boxes.get(client) else { return Ok(()) };
            let mut draw = Draw((client as u64) << 32 | turn);
            operation(shown, line, filled, &mut draw, &new).await
        })
        .await?;
    stage.close(lines).await?;
    for (client, filled) in boxes.iter().enumerate() {
        stage.remove(client, &filled.name).await?;
    }
    Ok(measured)
}

async fn operation(
    stage: &Stage,
    line: &mut Line,
    filled: &Filled,
    draw: &mut Draw,
    new: &[u8],
) -> Result<(), Failed> {
    match draw.below(100) {
        0..30 => screen(line, 1 + draw.below(MESSAGES - SCREEN)).await,
        30..50 => body(line, 1 + draw.below(MESSAGES)).await,
        50..70 => {
            let sign = if draw.below(2) == 0 { '+' } else { '-' };
            let number = 1 + draw.below(MESSAGES);
            line.done(&format!("STORE {number} {sign}FLAGS.SILENT (\\Flagged)")).await.map(|_| ())
        }
        70..80 => append_one(line, &filled.name, new, stage.has("LITERAL+")).await,
        80..90 => unseen(line).await,
        90..95 => match stage.count(line, &filled.name).await? {
            count if count >= MESSAGES => Ok(()),
            count => equal("messages by STATUS", count, MESSAGES),
        },
        _ => select(line, filled).await,
    }
}

async fn screen(line: &mut Line, first: u64) -> Result<(), Failed> {
    let mut count = 0;
    line.must(&format!("FETCH {first}:{} (UID FLAGS)", first + SCREEN - 1), |response| {
        let number = numbered(response, b"FETCH (").unwrap_or_default();
        let asked = (first..first + SCREEN).contains(&number) && after(response, b"UID ").is_some();
        count += u64::from(asked);
        Ok(())
    })
    .await?;
    // What others told of changes may come twice.
    equal("messages by FETCH", count.min(SCREEN), SCREEN)
}

async fn body(line: &mut Line, number: u64) -> Result<(), Failed> {
    let mut whole = 0;
    line.must(&format!("FETCH {number} BODY.PEEK[]"), |response| {
        let right =
            numbered(response, b"FETCH (") == Some(number) && has(response, b"BODY[] {1024}\r\n");
        whole += u64::from(right);
        Ok(())
    })
    .await?;
    equal("bodies by FETCH", whole, 1)
}

async fn unseen(line: &mut Line) -> Result<(), Failed> {
    let mut count = None;
    line.must("SEARCH UNSEEN", |response| {
        count = found(response).map(|(count, _)| count).or(count);
        Ok(())
    })
    .await?;
    match count {
        Some(count) if count >= MESSAGES / 10 => Ok(()),
        count => equal("messages by SEARCH UNSEEN", count, MESSAGES / 10),
    }
}

async fn select(line: &mut Line, filled: &Filled) -> Result<(), Failed> {
    let mut exists = None;
    line.must(&format!("SELECT {}", filled.name), |response| {
        exists = numbered(response, b"EXISTS").or(exists);
        Ok(())
    })
    .await?;
    match exists {
        Some(count) if count >= filled.count => Ok(()),
        count => equal("messages by SELECT", count, filled.count),
    }
}
