//! The queue: many workers race, three are cut off while they hold jobs, and each job is acknowledged once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use client::imap::command::{CommandBody, MailboxName};
use client::queue::{NewJob, Policy, Queue, Settle, Settled, message};
use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::{Reach, bar, grouped, line, must, seconds};

const MAILBOX: &str = "Jobs";
/// How long a claim stands without a sign of life.
const LEASE: Duration = Duration::from_secs(1);
/// Jobs that a worker claims at once.
const BATCH: usize = 5;
/// What the work on a batch takes.
const WORK: Duration = Duration::from_millis(5);
const KILLED: usize = 3;

/// What the workers did, by UID.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<u32, u32>,
    taken_over: u32,
    refused: u32,
}

type Shared = Arc<Mutex<Ledger>>;

pub(super) async fn show(reach: &Reach, jobs: u32, workers: u32) -> Result<()> {
    let begun = Instant::now();
    put(reach, jobs).await?;
    line(&format!(
        "Queue: {} jobs are put into the mailbox {MAILBOX} ({}).",
        grouped(jobs.into()),
        seconds(begun)
    ))?;
    line(&format!(
        "{workers} workers race for them, a lease is {} s; {KILLED} are cut off holding jobs.",
        LEASE.as_secs()
    ))?;
    let begun = Instant::now();
    let ledger = Shared::default();
    let bar = bar(jobs, "acknowledged");
    let work = |number| {
        tokio::spawn(worker(reach.clone(), number, jobs, Arc::clone(&ledger), bar.clone()))
    };
    let running: Vec<JoinHandle<Result<()>>> = (1..=workers).map(work).collect();
    cut_off(&running, jobs, &ledger).await;
    for (number, task) in running.into_iter().enumerate() {
        match task.await {
            Ok(done) => done?,
            // Aborted, as was meant.
            Err(_) if number < KILLED => {}
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let twice = ledger.acknowledged.values().filter(|count| **count > 1).count();
    let once = ledger.acknowledged.len() - twice;
    line(&format!(
        "  {} acknowledged once, {twice} twice, {} lost; {} taken over from the dead; {}, {} jobs a second.",
        grouped(once as u64),
        u64::from(jobs) - ledger.acknowledged.len() as u64,
        ledger.taken_over,
        seconds(begun),
        grouped(per_second(jobs, begun)),
    ))?;
    must(once == jobs as usize && ledger.refused == 0, "every job is acknowledged exactly once")
}

fn per_second(jobs: u32, begun: Instant) -> u64 {
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    u64::from(jobs) * 1_000_000 / micros
}

async fn put(reach: &Reach, jobs: u32) -> Result<()> {
    let mut connection = reach.connect().await?;
    let mailbox = MailboxName(MAILBOX.into());
    connection.run(CommandBody::Create { mailbox, special_use: None }).await?;
    let mut queue = Queue::open(connection, MAILBOX, policy()).await?;
    let job = |n| NewJob {
        octets: message(&format!("job {n}"), None, b"something to do\n"),
        priority: 0,
        due: None,
    };
    let jobs: Vec<NewJob> = (1..=jobs).map(job).collect();
    queue.put(&jobs).await?;
    Ok(())
}

fn policy() -> Policy {
    Policy { lease: LEASE, ..Policy::default() }
}

/// Cuts the first workers off once a fifth of the jobs is done, whatever they hold.
async fn cut_off(running: &[JoinHandle<Result<()>>], jobs: u32, ledger: &Shared) {
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    let done = || ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.len();
    while done() < jobs as usize / 5 && !running.iter().all(JoinHandle::is_finished) {
        tick.tick().await;
    }
    running.iter().take(KILLED).for_each(JoinHandle::abort);
}

/// Works until every job is acknowledged by somebody.
async fn worker(
    reach: Reach,
    number: u32,
    jobs: u32,
    ledger: Shared,
    bar: ProgressBar,
) -> Result<()> {
    let mut queue = Queue::open(reach.connect().await?, MAILBOX, policy()).await?;
    queue.load().await?;
    queue.register(&format!("worker {number}"), "demo").await?;
    let all_done = || {
        ledger.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.len() >= jobs as usize
    };
    while !all_done() {
        let mut claims = queue.claim(BATCH).await?;
        if claims.is_empty() {
            queue.wait(tokio::time::sleep(Duration::from_millis(20))).await?;
            continue;
        }
        tokio::time::sleep(WORK).await;
        let taken_over = claims.iter().filter(|claim| claim.taken_over).count();
        let settled = queue.settle(claims.iter_mut().map(|c| (c, Settle::Ack)).collect()).await?;
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.taken_over += u32::try_from(taken_over).unwrap_or(0);
        for (claim, settled) in claims.iter().zip(settled) {
            if settled == Settled::Done {
                *ledger.acknowledged.entry(claim.token.uid.value()).or_default() += 1;
                bar.inc(1);
            } else {
                ledger.refused += 1;
            }
        }
    }
    queue.leave().await?;
    Ok(())
}
