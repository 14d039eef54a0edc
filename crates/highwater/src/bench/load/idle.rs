//! Connections that wait on one mailbox: what they weigh, and when the last of them hears of a change.
//!
//! # Standards
//! RFC 2177 (IDLE).

use std::time::Instant;

use futures_util::future::join_all;

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::mail::message;
use crate::bench::scan::{has, numbered};
use crate::bench::stage::{Filled, Stage};
use crate::bench::tally::{Measured, Samples, to_float};

use super::append::append_one;

/// Connections that are opened at once.
const AT_ONCE: usize = 32;
/// Notices that are measured.
const TURNS: u64 = 10;
const WHAT: &str = "idle";
/// Messages in their mailbox at first.
const MESSAGES: u64 = 10;

/// Opens them; they stay for what comes next.
pub(super) async fn connections(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.need("IDLE")?;
    let name = stage.name(WHAT);
    if stage.has_made(&name) {
        stage.remove(0, &name).await?;
    }
    let filled = stage.filled(WHAT, MESSAGES).await?;
    open_files(stage.plan.idlers);
    let before = memory(stage).await?;
    let running = stage.begin(&[]).await?;
    let mut samples = Samples::default();
    while stage.idlers.len() < stage.plan.idlers {
        let count = AT_ONCE.min(stage.plan.idlers - stage.idlers.len());
        let shared = &*stage;
        let opening = (0..count).map(|_| idler(shared, &filled));
        let opened = join_all(opening).await;
        for opened in opened {
            let (line, took) = opened?;
            samples.add(took);
            stage.idlers.push(line);
        }
    }
    let mut measured = stage.end(running, &[], samples).await?;
    if let (Some(before), Some(after)) = (before, memory(stage).await?) {
        let each = (to_float(after) - to_float(before)) / to_float(stage.plan.idlers as u64);
        measured.details.push(("kib_each", each));
    }
    Ok(measured)
}

async fn memory(stage: &Stage) -> Result<Option<u64>, Failed> {
    let Some(gauge) = &stage.gauge else { return Ok(None) };
    gauge.rest().await?;
    gauge.memory().map(Some)
}

/// Lets this process have so many connections, as far as the system allows.
fn open_files(count: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let wanted = count as u64 + 256;
    if limits.current.is_some_and(|current| current < wanted) {
        let current = Some(limits.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // Where it is not allowed, the connection that is too many says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limits.maximum });
    }
}

async fn idler(stage: &Stage, filled: &Filled) -> Result<(Line, std::time::Duration), Failed> {
    let begun = Instant::now();
    let mut line = stage.line(0).await?;
    stage.select(&mut line, filled).await?;
    let tag = line.tag();
    line.raw.send(format!("{tag} IDLE\r\n").as_bytes()).await?;
    line.continuation().await?;
    Ok((line, begun.elapsed()))
}

/// One STORE, or one APPEND, at a time, and when the last has heard of it.
pub(super) async fn notices(stage: &mut Stage, append: bool) -> Result<Measured, Failed> {
    if stage.idlers.is_empty() {
        connections(stage).await?;
    }
    let name = stage.name(WHAT);
    let mut lines = stage.lines(1).await?;
    let mut count = 0;
    for line in &mut lines {
        count = stage.count(line, &name).await?;
        stage.select(line, &Filled { name: name.clone(), count }).await?;
    }
    let mut idlers = std::mem::take(&mut stage.idlers);
    let running = stage.begin(&lines).await?;
    let mut samples = Samples::default();
    let message = message(1, stage.plan.octets);
    for turn in 0..TURNS {
        let begun = Instant::now();
        for line in &mut lines {
            if append {
                append_one(line, &name, &message, stage.has("LITERAL+")).await?;
                count += 1;
            } else {
                let sign = if turn % 2 == 0 { '+' } else { '-' };
                line.done(&format!("STORE 1 {sign}FLAGS.SILENT (\\Flagged)")).await?;
            }
        }
        let news = if append { News::Exists(count) } else { News::Flagged(turn % 2 == 0) };
        for heard in join_all(idlers.iter_mut().map(|line| hear(line, news))).await {
            heard?;
        }
        samples.add(begun.elapsed());
    }
    let measured = stage.end(running, &lines, samples).await?;
    stage.close(lines).await?;
    stage.idlers = idlers;
    Ok(measured)
}

#[derive(Clone, Copy)]
enum News {
    Exists(u64),
    Flagged(bool),
}

/// Waits for it.
async fn hear(line: &mut Line, news: News) -> Result<(), Failed> {
    loop {
        let response = line.raw.response().await?;
        if !response.starts_with(b"* ") || response.starts_with(b"* BYE") {
            let why = format!("one that idles is told {}", crate::bench::scan::text(response));
            return Err(Failed::wrong(why));
        }
        let heard = match news {
            News::Exists(count) => numbered(response, b"EXISTS") == Some(count),
            News::Flagged(flagged) => {
                numbered(response, b"FETCH (") == Some(1) && has(response, b"\\Flagged") == flagged
            }
        };
        if heard {
            return Ok(());
        }
    }
}
