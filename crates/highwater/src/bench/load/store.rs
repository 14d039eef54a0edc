//! STORE of many messages by one command, and of single ones by many commands in one go.

use std::time::Instant;

use crate::bench::Failed;
use crate::bench::line::{Line, refused};
use crate::bench::scan::{found, numbered};
use crate::bench::stage::{Stage, equal};
use crate::bench::tally::{Measured, Samples};

/// Turns of either sign.
const TURNS: u64 = 3;
/// Commands in one go.
const COMMANDS: u64 = 100;

/// Sets a keyword on all of the middle mailbox silently, and takes it away again aloud; one of both is measured.
pub(super) async fn all(stage: &mut Stage, adding: bool) -> Result<Measured, Failed> {
    let middle = stage.middle().await?;
    let mut lines = stage.lines(1).await?;
    for line in &mut lines {
        stage.select(line, &middle).await?;
    }
    let mut sum: Option<Measured> = None;
    for turn in 1..=TURNS {
        for sign in ['+', '-'] {
            let running = stage.begin(&lines).await?;
            let mut samples = Samples::default();
            for line in &mut lines {
                let begun = Instant::now();
                samples.did(middle.count);
                let told = store_all(line, sign).await?;
                samples.add(begun.elapsed());
                if sign == '-' {
                    equal("messages that STORE tells of", told, middle.count)?;
                }
            }
            let measured = stage.end(running, &lines, samples).await?;
            for line in &mut lines {
                let with = if sign == '+' { middle.count } else { 0 };
                equal("messages with the keyword", keyword(line, "$Bench").await?, with)?;
            }
            if adding == (sign == '+') {
                match &mut sum {
                    Some(sum) => sum.join(measured, u32::try_from(turn).unwrap_or(1)),
                    None => sum = Some(measured),
                }
            }
        }
    }
    stage.close(lines).await?;
    sum.ok_or_else(|| Failed::wrong("nothing was measured"))
}

async fn store_all(line: &mut Line, sign: char) -> Result<u64, Failed> {
    let silent = if sign == '+' { ".SILENT" } else { "" };
    let mut told = 0;
    line.must(&format!("STORE 1:* {sign}FLAGS{silent} ($Bench)"), |response| {
        told += u64::from(numbered(response, b"FETCH (").is_some());
        Ok(())
    })
    .await?;
    Ok(told)
}

/// How many messages have a keyword.
pub(super) async fn keyword(line: &mut Line, keyword: &str) -> Result<u64, Failed> {
    let mut count = None;
    line.must(&format!("SEARCH KEYWORD {keyword}"), |response| {
        count = found(response).map(|(count, _)| count).or(count);
        Ok(())
    })
    .await?;
    count.ok_or_else(|| Failed::wrong("SEARCH finds nothing, not even none"))
}

/// 100 STOREs in one write.
pub(super) async fn pipeline(stage: &mut Stage) -> Result<Measured, Failed> {
    let filled = stage.filled("pipeline", COMMANDS).await?;
    let mut line = stage.line(0).await?;
    stage.select(&mut line, &filled).await?;
    let measured = stage
        .repeat(&mut line, async |line, turn| {
            let sign = if turn % 2 == 0 { '+' } else { '-' };
            let (mut out, mut tags) = (String::new(), Vec::new());
            for number in 1..=COMMANDS {
                let tag = line.tag();
                out += &format!("{tag} STORE {number} {sign}FLAGS.SILENT ($Go)\r\n");
                tags.push(tag);
            }
            line.raw.send(out.as_bytes()).await?;
            for tag in tags {
                let (done, answer) = line.answer(&tag, |_| Ok(())).await?;
                if !done {
                    return Err(refused("STORE", &answer));
                }
            }
            Ok(1)
        })
        .await?;
    let turns = measured.samples.count();
    let with = if turns % 2 == 0 { COMMANDS } else { 0 };
    equal("messages with the keyword", keyword(&mut line, "$Go").await?, with)?;
    line.log_out().await?;
    stage.remove(0, &filled.name).await?;
    Ok(measured)
}
