//! Workers that claim messages by conditional STORE, all of one mailbox, all at once.
//!
//! # Standards
//! RFC 7162 §3.1.3: of two that claim a message at the same mod-sequence one is told MODIFIED.

use std::time::Instant;

use futures_util::future::join_all;

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::mail::Draw;
use crate::bench::scan::{after, has, numbered};
use crate::bench::stage::{Stage, equal};
use crate::bench::tally::{Measured, Samples, to_float};

use super::store::keyword;

const WORKERS: usize = 16;
/// Among how many of the first that nobody has claimed a worker chooses.
const CHOICE: u64 = 8;

/// What a worker knows of the messages: the mod-sequence of each that may be free.
type Free = Vec<Option<u64>>;

/// All workers until all is claimed; double claims are counted.
pub(super) async fn run(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.need_condstore()?;
    let jobs = stage.filled("jobs", stage.plan.jobs).await?;
    let mut lines = Vec::new();
    let mut known = Vec::new();
    for _ in 0..WORKERS {
        let mut line = stage.line(0).await?;
        stage.select(&mut line, &jobs).await?;
        known.push(free(&mut line, jobs.count).await?);
        lines.push(line);
    }
    let running = stage.begin(&lines).await?;
    let workers = lines.iter_mut().zip(known).enumerate();
    let done = join_all(workers.map(|(k, (line, free))| work(line, free, k as u64))).await;
    let (mut samples, mut claims) = (Samples::default(), vec![0_u64; to_size(jobs.count)]);
    for worker in done {
        let (took, claimed) = worker?;
        samples.join(took);
        for at in claimed {
            if let Some(claims) = claims.get_mut(at) {
                *claims += 1;
            }
        }
    }
    samples.did(jobs.count);
    let attempts = samples.count();
    let mut measured = stage.end(running, &lines, samples).await?;
    let unclaimed = claims.iter().filter(|claims| **claims == 0).count() as u64;
    equal("messages that nobody got, though each was asked for", unclaimed, 0)?;
    let doubles = claims.iter().map(|claims| claims.saturating_sub(1)).sum::<u64>();
    for line in lines.iter_mut().take(1) {
        equal("messages with the keyword", keyword(line, "$Claimed").await?, jobs.count)?;
    }
    measured.details.push(("double_claims", to_float(doubles)));
    measured.details.push(("attempts", to_float(attempts)));
    stage.close(lines).await?;
    stage.remove(0, &jobs.name).await?;
    Ok(measured)
}

async fn free(line: &mut Line, count: u64) -> Result<Free, Failed> {
    let mut free = Vec::new();
    line.must("FETCH 1:* (MODSEQ)", |response| {
        if numbered(response, b"FETCH (").is_some() {
            free.push(after(response, b"MODSEQ ("));
        }
        Ok(())
    })
    .await?;
    equal("messages by FETCH", free.iter().flatten().count() as u64, count)?;
    Ok(free)
}

/// One worker: what each claim took, and which it got.
async fn work(line: &mut Line, mut free: Free, seed: u64) -> Result<(Samples, Vec<usize>), Failed> {
    let (mut samples, mut claimed) = (Samples::default(), Vec::new());
    let (mut draw, mut low) = (Draw(seed), 0);
    while let Some((at, mod_seq)) = choose(&free, &mut low, &mut draw) {
        let command =
            format!("STORE {} (UNCHANGEDSINCE {mod_seq}) +FLAGS.SILENT ($Claimed)", at + 1);
        let begun = Instant::now();
        let (done, answer) = line
            .ask(&command, |response| {
                let number = numbered(response, b"FETCH (").map(to_size);
                // What others claim is told sooner or later, and spares an attempt.
                if let Some(taken) = number.and_then(|number| free.get_mut(number.wrapping_sub(1)))
                    && has(response, b"$Claimed")
                {
                    *taken = None;
                }
                Ok(())
            })
            .await?;
        samples.add(begun.elapsed());
        if let Some(taken) = free.get_mut(at) {
            *taken = None;
        }
        match (done, answer.contains("[MODIFIED ")) {
            (true, false) => claimed.push(at),
            (_, true) => {}
            (false, false) => return Err(crate::bench::line::refused(&command, &answer)),
        }
    }
    Ok((samples, claimed))
}

/// One of the first that may be free.
fn choose(free: &Free, low: &mut usize, draw: &mut Draw) -> Option<(usize, u64)> {
    let rest = free.get(*low..)?;
    *low += rest.iter().take_while(|mod_seq| mod_seq.is_none()).count();
    let all = free.iter().enumerate().skip(*low);
    let first: Vec<_> =
        all.filter_map(|(at, mod_seq)| Some((at, (*mod_seq)?))).take(to_size(CHOICE)).collect();
    first.get(to_size(draw.below(first.len() as u64))).copied()
}

/// A number of messages as an index.
fn to_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
