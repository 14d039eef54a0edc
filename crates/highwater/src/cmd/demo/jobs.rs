//! The queue: many workers race, three are cut off while they hold jobs, and each job is acknowledged once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use client::imap::command::{CommandBody, MailboxName};
use client::queue::{Job, NewJob, Policy, Queue, Settle, Settled, Standing, message};
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
    let work =
        |number| tokio::spawn(worker(reach.clone(), number, Arc::clone(&ledger), bar.clone()));
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
    let took = begun.elapsed();
    let left = left(reach).await?;
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let twice = ledger.acknowledged.values().filter(|count| **count > 1).count();
    let once = ledger.acknowledged.len() - twice;
    // Gone, and nobody lived to tell: acknowledged in the last breath of a worker that was cut off.
    let unheard = (jobs as usize).saturating_sub(ledger.acknowledged.len() + left);
    line(&format!(
        "  {} acknowledged once, {unheard} of them by workers that were cut off before they heard it; {twice} twice, \
         {left} lost.",
        grouped((once + unheard) as u64),
    ))?;
    line(&format!(
        "  {} taken over from the dead; {:.1} s, {} jobs a second.",
        ledger.taken_over,
        took.as_secs_f64(),
        grouped(u64::from(jobs) * 1_000_000 / u64::try_from(took.as_micros()).unwrap_or(1).max(1)),
    ))?;
    must(twice == 0 && left == 0 && ledger.refused == 0, "every job is acknowledged exactly once")?;
    must(unheard <= KILLED * BATCH, "only what the dead held can be unheard")
}

/// Jobs that nobody has acknowledged.
async fn left(reach: &Reach) -> Result<usize> {
    let mut queue = Queue::open(reach.connect().await?, MAILBOX, policy()).await?;
    queue.load().await?;
    Ok(open_jobs(&queue))
}

/// How many jobs are neither acknowledged nor gone, as far as this connection knows.
fn open_jobs(queue: &Queue) -> usize {
    let now = Instant::now();
    let open =
        |job: &&Job| !matches!(queue.policy().standing(job, now), Standing::Done | Standing::Other);
    queue.view().jobs().filter(open).count()
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
async fn worker(reach: Reach, number: u32, ledger: Shared, bar: ProgressBar) -> Result<()> {
    let mut queue = Queue::open(reach.connect().await?, MAILBOX, policy()).await?;
    queue.load().await?;
    queue.register(&format!("worker {number}"), "demo").await?;
    while open_jobs(&queue) > 0 {
        let mut claims = queue.claim(BATCH).await?;
        if claims.is_empty() {
            queue.wait(tokio::time::sleep(Duration::from_millis(20))).await?;
            queue.upkeep().await?;
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
