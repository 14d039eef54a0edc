//! `queue work`: a handler for each job, so many at once, for as long as one likes.
//!
//! One connection and one loop do all that is said to the server; handlers run beside them on leashes of their own,
//! so that a server that is away keeps none of them alive beyond its lease.
//!
//! # Invariants
//! - A handler has ended, a margin before its lease does.
//! - What a handler's end asks for is kept until the server has answered it, through reconnections.

mod report;
mod round;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use client::imap::number::Uid;
use client::queue::{Claim, Policy, Queue, QueueError, Settle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::handler::{Ended, Leash};
use super::metrics::Counts;
use super::remote::{Door, Remote, Shut};
use super::units;
use crate::cmd::{Exit, Failure, tell};
use crate::place::Health;
use report::Reporter;

/// `queue work`
#[derive(Args, Debug)]
#[command(
    after_help = "The handler reads the message from its standard input. Its exit code decides: 0 the job is done · \
                  75 try\nagain later · 65 to the dead letters at once · anything else, also a signal or too much \
                  time, has failed\nand is tried again until --max-attempts. In its environment: QUEUE_UID, \
                  QUEUE_UIDVALIDITY,\nQUEUE_MODSEQ (the fencing token), QUEUE_ATTEMPT, QUEUE_ATTEMPTS_MAX, \
                  QUEUE_DEADLINE, QUEUE_MAILBOX,\nQUEUE_WORKER."
)]
pub(crate) struct Work {
    #[command(flatten)]
    remote: Remote,
    /// So many handlers at once.
    #[arg(short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    slots: u16,
    /// How long a claim stands without a sign of life; the same for all workers [default: the queue's, else 60s].
    #[arg(long, value_name = "TIME", value_parser = units::some_duration)]
    lease: Option<Duration>,
    /// How long a handler may run; its claim is renewed as long [default: one lease].
    #[arg(long, value_name = "TIME", value_parser = units::some_duration)]
    timeout: Option<Duration>,
    /// After how many failed attempts a job is dead [default: the queue's, else 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    max_attempts: Option<u8>,
    /// How long a job rests after its first failure and at most [default: the queue's, else 10s..1h].
    #[arg(long, value_name = "LEAST..MOST", value_parser = units::range)]
    backoff: Option<(Duration, Duration)>,
    /// Move done jobs there instead of deleting them.
    #[arg(long, value_name = "MAILBOX")]
    archive: Option<String>,
    /// Where dead letters go [default: Dead below the queue].
    #[arg(long, value_name = "MAILBOX")]
    dead: Option<String>,
    /// The worker's name in its registration.
    #[arg(long, default_value = "worker")]
    name: String,
    /// End when there is no job that could be claimed now or later.
    #[arg(long)]
    until_empty: bool,
    /// Show what handlers write, on standard error.
    #[arg(long)]
    show_output: bool,
    /// Print one JSON object for each event on standard output.
    #[arg(long)]
    json: bool,
    /// Serve /metrics there over HTTP.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// The handler and its arguments.
    #[arg(last = true, required = true, value_name = "HANDLER")]
    handler: Vec<String>,
}

/// A handler that runs.
struct Running {
    claim: Claim,
    leash: watch::Sender<Leash>,
    /// Until when it may run however often the lease is renewed.
    overdue_at: Instant,
}

/// What a handler's end asks for.
struct Finished {
    claim: Claim,
    settle: Settle,
    why: String,
}

/// The end of a handler, by its number: a job that was lost may be run anew while its old handler still ends.
type Report = (u64, Ended, String);

/// How far the worker's own end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stop {
    No,
    /// No more jobs; those that run may end.
    Finish,
    /// Handlers are ended and their jobs given back.
    Now,
}

/// A worker.
struct Worker {
    options: Work,
    door: Door,
    handler: Arc<[String]>,
    reporter: Reporter,
    running: BTreeMap<u64, Running>,
    /// How many handlers were started.
    started: u64,
    finished: Vec<Finished>,
    ends: mpsc::Receiver<Report>,
    end: mpsc::Sender<Report>,
    stop: watch::Receiver<Stop>,
    /// When the claims are renewed and the queue is looked after next.
    upkeep_at: Instant,
    /// After how many failures a job is dead.
    attempts_max: u8,
}

impl Work {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let door = self.remote.door()?;
        let counts = Arc::new(Counts::new());
        let stop = stop()?;
        let ending = self.serve_metrics(Arc::clone(&counts)).await?;
        let (end, ends) = mpsc::channel(256);
        let mut worker = Worker {
            handler: self.handler.clone().into(),
            reporter: Reporter::new(self.json, counts),
            door,
            running: BTreeMap::new(),
            started: 0,
            finished: Vec::new(),
            ends,
            end,
            stop,
            upkeep_at: Instant::now(),
            attempts_max: 1,
            options: self,
        };
        let worked = worker.work().await;
        // Nobody listens any more when the metrics were not asked for.
        let _ = ending.send(true);
        worked
    }

    async fn serve_metrics(&self, counts: Arc<Counts>) -> Result<watch::Sender<bool>, Failure> {
        let (ending, ended) = watch::channel(false);
        if let Some(address) = self.metrics {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                let why = format!("{address} cannot be listened on");
                Failure::new(Exit::Listen, anyhow::Error::from(error).context(why))
            })?;
            let bound = listener.local_addr().context("the address of the metrics")?;
            tell(&format!("metrics on http://{bound}/metrics"));
            // A queue has no database of its own.
            let (_, health) = watch::channel(Health::Good);
            tokio::spawn(crate::http::serve(listener, counts, health, ended));
        }
        Ok(ending)
    }

    /// The queue's rules, and what the command line says instead.
    fn policy(&self, rules: &Policy) -> Policy {
        let (backoff_min, backoff_max) =
            self.backoff.unwrap_or((rules.backoff_min, rules.backoff_max));
        Policy {
            lease: self.lease.unwrap_or(rules.lease),
            attempts_max: self.max_attempts.unwrap_or(rules.attempts_max),
            backoff_min,
            backoff_max,
        }
    }
}

/// Counts the signals that ask for an end: the first lets jobs finish, the second does not.
fn stop() -> Result<watch::Receiver<Stop>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (told, stop) = watch::channel(Stop::No);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for how in [Stop::Finish, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // The worker may have ended by itself.
            let _ = told.send(how);
        }
        told.closed().await;
    });
    Ok(stop)
}

/// The first and the longest wait before connecting anew.
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(10);

impl Worker {
    async fn work(&mut self) -> Result<(), Failure> {
        let Some(mut queue) = self.begin().await? else {
            self.reporter.stopped();
            return Ok(());
        };
        loop {
            match self.round(&mut queue).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.is_fatal() || matches!(error, QueueError::Renewed) => {
                    self.reporter.disconnected(&error);
                    if !self.reconnect(&mut queue).await? {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.end_handlers(Leash::Stop);
                    return Err(error.into());
                }
            }
        }
        queue.close().await;
        self.reporter.stopped();
        Ok(())
    }

    /// Opens the queue, however often the server is away or cuts the line. Nothing when the worker is to end.
    async fn begin(&mut self) -> Result<Option<Queue>, Failure> {
        let mut wait = RECONNECT_MIN;
        loop {
            let shut = tokio::select! {
                opened = Self::open(&self.door, &self.options) => match opened {
                    Ok((queue, registration)) => {
                        self.attempts_max = queue.policy().attempts_max;
                        self.reporter.registered(registration, &queue);
                        return Ok(Some(queue));
                    }
                    Err(shut) => shut,
                },
                _ = self.stop.wait_for(|stop| *stop != Stop::No) => return Ok(None),
            };
            if !shut.may_pass() {
                return Err(shut.into());
            }
            self.reporter.not_begun(&shut);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.stop.wait_for(|stop| *stop != Stop::No) => return Ok(None),
            }
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// Opens the queue and registers.
    async fn open(door: &Door, options: &Work) -> Result<(Queue, Uid), Shut> {
        let mut queue = door.loaded().await?;
        let rules = queue.policy().clone();
        let policy = options.policy(&rules);
        if policy.lease != rules.lease && queue.sentinel().await?.is_some() {
            tell(&format!(
                "the queue's lease is {:?}, this worker's {:?}: all workers should have the same",
                rules.lease, policy.lease
            ));
        }
        queue.set_policy(policy);
        queue.set_archive(options.archive.clone());
        let dead = match &options.dead {
            Some(dead) => dead.clone(),
            None => queue.below("Dead").await?,
        };
        queue.set_dead(dead);
        let about = format!(
            "process {} of user {}, {} at once, lease {:?}",
            std::process::id(),
            std::env::var("USER").unwrap_or_default(),
            options.slots,
            queue.policy().lease
        );
        let registration = queue.register(&options.name, &about).await?;
        Ok((queue, registration))
    }

    /// Connects anew until it works. Answers false when the worker is to end and has nothing left to say.
    async fn reconnect(&mut self, queue: &mut Queue) -> Result<bool, Failure> {
        let mut wait = RECONNECT_MIN;
        let mut given_up_at = None;
        loop {
            let resumed = match self.door.connect().await {
                Ok(connection) => queue.resume(connection).await.map_err(Shut::from),
                Err(shut) => Err(shut),
            };
            match resumed {
                Ok(same) => {
                    self.reporter.resumed(same);
                    if same {
                        let running = self.running.values().map(|job| &job.claim);
                        queue.hold_only(running.chain(self.finished.iter().map(|job| &job.claim)));
                    } else {
                        self.lose_all();
                    }
                    self.upkeep_at = Instant::now();
                    return Ok(true);
                }
                // Also a refused login: a server that starts refuses for a while.
                Err(error) => self.reporter.disconnected(&error),
            }
            if *self.stop.borrow() != Stop::No {
                let lease = queue.policy().lease;
                let until = *given_up_at.get_or_insert_with(|| Instant::now() + lease);
                let idle = self.running.is_empty() && self.finished.is_empty();
                if idle || Instant::now() >= until {
                    self.end_handlers(Leash::Stop);
                    return Ok(false);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = self.stop.changed() => {}
                Some(report) = self.ends.recv() => self.take_report(report),
            }
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// The mailbox was made anew: nothing is held any more.
    fn lose_all(&mut self) {
        self.end_handlers(Leash::Lost);
        for finished in std::mem::take(&mut self.finished) {
            self.reporter.lost(&finished.claim, "the mailbox was made anew");
        }
    }

    fn end_handlers(&mut self, leash: Leash) {
        for running in self.running.values() {
            // It may have ended this very moment.
            let _ = running.leash.send(leash);
        }
    }

    /// Decides what a handler's end asks for.
    fn take_report(&mut self, (number, ended, output): Report) {
        let Some(running) = self.running.remove(&number) else { return };
        self.reporter.running(self.running.len());
        let claim = running.claim;
        self.reporter.finished(&claim, ended, &output);
        let settle = match ended {
            Ended::Exit(0) => Settle::Ack,
            Ended::Exit(EX_DATAERR) => Settle::Bury,
            Ended::Exit(_) | Ended::Signal(_) | Ended::Overdue | Ended::NotStarted => Settle::Fail,
            Ended::Stopped => Settle::Release,
            Ended::Lost => {
                self.reporter.lost(&claim, "the lease was lost while the handler ran");
                return;
            }
        };
        let last = claim.attempts + 1 >= self.attempts_max;
        let settle = if settle == Settle::Fail && last { Settle::Bury } else { settle };
        self.finished.push(Finished { claim, settle, why: report::why(ended, &output) });
    }
}

/// `sysexits.h`: the input is wrong, and would be the next time.
const EX_DATAERR: i32 = 65;
