//! One round of a worker: settle what has ended, renew what runs, claim what is free, and wait for news.

use std::time::{Duration, Instant};

use client::imap::number::{ModSeq, Uid};
use client::queue::{Claim, Queue, QueueError, Settle, Settled};
use tokio::sync::watch;

use super::super::handler::{Leash, Run};
use super::{Running, Stop, Worker};

/// How long a worker waits after others were faster.
const RETRY: Duration = Duration::from_millis(20);
/// How often a worker without IDLE looks.
const POLL: Duration = Duration::from_secs(1);

type Outcome<T> = Result<T, QueueError>;

impl Worker {
    /// Does what is to be done, then waits; answers false at the end.
    pub(super) async fn round(&mut self, queue: &mut Queue) -> Outcome<bool> {
        while let Ok(report) = self.ends.try_recv() {
            self.take_report(report);
        }
        self.settle(queue).await?;
        if Instant::now() >= self.upkeep_at {
            self.upkeep_at = Instant::now() + queue.policy().lease / 3;
            self.extend(queue).await?;
            let strays = queue.upkeep().await?;
            if strays > 0 {
                self.reporter.given_back(strays);
            }
        }
        let stop = *self.stop.borrow_and_update();
        if stop == Stop::Now {
            self.end_handlers(Leash::Stop);
        }
        let free = usize::from(self.options.slots).saturating_sub(self.running.len());
        let claimable = stop == Stop::No && free > 0 && queue.has_claimable();
        if claimable && self.claim(queue, free).await? {
            return Ok(true);
        }
        if self.running.is_empty() && self.finished.is_empty() {
            let empty = self.options.until_empty && is_empty(queue);
            if stop != Stop::No || empty {
                return Ok(false);
            }
        }
        self.wait(queue, claimable).await?;
        Ok(true)
    }

    /// Tells the server what became of the jobs whose handlers have ended.
    async fn settle(&mut self, queue: &mut Queue) -> Outcome<()> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let jobs = self.finished.iter_mut().map(|job| (&mut job.claim, job.settle)).collect();
        let settled = queue.settle(jobs).await?;
        for (job, settled) in std::mem::take(&mut self.finished).into_iter().zip(settled) {
            let name = match job.settle {
                Settle::Ack => "acked",
                Settle::Fail => "failed",
                Settle::Release => "released",
                Settle::Bury => "buried",
                Settle::Extend => "extended",
            };
            match settled {
                Settled::Done => self.reporter.settled(name, &job.claim, &job.why),
                Settled::Lost => self.reporter.lost(&job.claim, "somebody else holds it or has"),
                Settled::Gone => self.reporter.lost(&job.claim, "the message is gone"),
            }
        }
        Ok(())
    }

    /// Renews the leases of all that run.
    async fn extend(&mut self, queue: &mut Queue) -> Outcome<()> {
        let held = |job: &&mut Running| *job.leash.borrow() != Leash::Lost;
        let mut held: Vec<&mut Running> = self.running.values_mut().filter(held).collect();
        let jobs = held.iter_mut().map(|job| (&mut job.claim, Settle::Extend)).collect();
        let settled = queue.settle(jobs).await?;
        let policy = queue.policy();
        for (running, settled) in held.into_iter().zip(settled) {
            let leash = match settled {
                Settled::Done => Leash::Until(deadline(&running.claim, running.overdue_at, policy)),
                Settled::Lost | Settled::Gone => Leash::Lost,
            };
            // It may have ended this very moment.
            let _ = running.leash.send(leash);
        }
        Ok(())
    }

    /// Claims jobs and starts their handlers; answers whether any was claimed.
    async fn claim(&mut self, queue: &mut Queue, free: usize) -> Outcome<bool> {
        let claims = queue.claim(free).await?;
        if claims.is_empty() {
            return Ok(false);
        }
        let (spent, claims): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| claim.attempts >= self.attempts_max);
        let why = "it has failed too often";
        let spent = spent.into_iter().map(|claim| finished(claim, Settle::Bury, why));
        self.finished.extend(spent);
        let uids: Vec<Uid> = claims.iter().map(|claim| claim.token.uid).collect();
        let mut messages = queue.messages(&uids).await?;
        for claim in claims {
            let Some(message) = messages.remove(&claim.token.uid) else {
                queue.abandon(&claim);
                continue;
            };
            self.reporter.claimed(&claim);
            if queue.is_duplicate(&claim, &message).await? {
                let why = "an older job has the same key";
                self.finished.push(finished(claim, Settle::Ack, why));
            } else {
                self.start(queue, claim, message);
            }
        }
        Ok(true)
    }

    fn start(&mut self, queue: &Queue, claim: Claim, message: Vec<u8>) {
        let policy = queue.policy();
        let overdue_at = Instant::now() + self.options.timeout.unwrap_or(policy.lease);
        let until = deadline(&claim, overdue_at, policy);
        let (leash, held) = watch::channel(Leash::Until(until));
        let left = i64::try_from(until.saturating_duration_since(Instant::now()).as_secs());
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let ends_at = i64::try_from(clock).unwrap_or(0) + left.unwrap_or(0);
        let run = Run {
            command: self.handler.clone(),
            environment: vec![
                ("QUEUE_UID", claim.token.uid.to_string()),
                ("QUEUE_UIDVALIDITY", claim.token.uid_validity.to_string()),
                ("QUEUE_MODSEQ", claim.token.mod_seq.map_or(0, ModSeq::value).to_string()),
                ("QUEUE_ATTEMPT", (claim.attempts + 1).to_string()),
                ("QUEUE_ATTEMPTS_MAX", self.attempts_max.to_string()),
                ("QUEUE_DEADLINE", ends_at.to_string()),
                ("QUEUE_MAILBOX", self.door.mailbox.clone()),
                ("QUEUE_WORKER", claim.token.worker.to_string()),
            ],
            message,
            leash: held,
            grace: policy.margin() / 2,
            shown: self.options.show_output,
        };
        self.started += 1;
        let (number, end) = (self.started, self.end.clone());
        self.running.insert(number, Running { claim, leash, overdue_at });
        self.reporter.running(self.running.len());
        tokio::spawn(async move {
            let (ended, output) = run.go().await;
            // The worker may have ended before.
            let _ = end.send((number, ended, output)).await;
        });
    }

    /// Waits for a handler's end, a signal, the server, or the time when something is to be done.
    async fn wait(&mut self, queue: &mut Queue, crowded: bool) -> Outcome<()> {
        let mut wake_at = self.upkeep_at;
        let idle = queue.connection().has("IDLE");
        let free = usize::from(self.options.slots) > self.running.len();
        if free && let Some(change) = queue.next_change() {
            wake_at = wake_at.min(change);
        }
        if !idle {
            wake_at = wake_at.min(Instant::now() + POLL);
        }
        if crowded {
            wake_at = wake_at.min(Instant::now() + RETRY);
        }
        let mut ended = None;
        let (ends, stop) = (&mut self.ends, &mut self.stop);
        let wake = async {
            tokio::select! {
                report = ends.recv() => ended = report,
                // The signals' task lives as long as this.
                _ = stop.changed() => {}
                () = tokio::time::sleep_until(wake_at.into()) => {}
            }
        };
        let waited = queue.wait(wake).await;
        if let Some(report) = ended {
            self.take_report(report);
        }
        waited
    }
}

fn finished(claim: Claim, settle: Settle, why: &str) -> super::Finished {
    super::Finished { claim, settle, why: why.to_owned() }
}

/// When a handler must have ended: before its lease does, and before it has run too long.
fn deadline(claim: &Claim, overdue_at: Instant, policy: &client::queue::Policy) -> Instant {
    let proven = claim.proven.unwrap_or_else(Instant::now);
    (proven + policy.lease).min(overdue_at).checked_sub(policy.margin()).unwrap_or(overdue_at)
}

/// Whether nothing is left that could be claimed, now or later.
fn is_empty(queue: &Queue) -> bool {
    queue.view().jobs().all(|job| job.marks.worker || job.marks.done || job.marks.deleted)
}
