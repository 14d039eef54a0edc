//! `queue claim`, `ack`, `nack` and `extend`: the queue for scripts, one command at a time.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use client::queue::{Claim, Policy, Queue, QueueError, Settle, Settled, Token};
use tokio::time::Instant;

use super::remote::Remote;
use super::units;
use crate::cmd::{Exit, Failure, say};

/// `queue claim`
#[derive(Args, Debug)]
pub(crate) struct Take {
    #[command(flatten)]
    remote: Remote,
    /// Wait so long for a job. Only who waits for a whole lease can take over from a worker that has died.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    wait: Duration,
    /// Write the message here; without, it follows the token on standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object, the message within.
    #[arg(long)]
    json: bool,
}

impl Take {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut queue = self.remote.door()?.loaded().await?;
        let about = format!("made by `highwater queue claim`, process {}", std::process::id());
        queue.register("claim", &about).await?;
        let taken = self.take(&mut queue).await?;
        let why = match queue.is_drained() {
            true => "the queue is drained: `queue drain --off` lets jobs be claimed again",
            false => "there is nothing to claim",
        };
        // The registration stays: it stands for the claim.
        if taken.is_some() {
            queue.stay_registered();
        }
        queue.close().await;
        match taken {
            Some((claim, message)) => self.report(&claim, &message),
            None => Err(Failure::new(Exit::Nothing, anyhow!(why))),
        }
    }

    async fn take(&self, queue: &mut Queue) -> Result<Option<(Claim, Vec<u8>)>, QueueError> {
        let until = Instant::now() + self.wait;
        loop {
            for mut claim in queue.claim(1).await? {
                let message = queue.message(claim.token.uid).await?;
                let unwanted = match &message {
                    None => Some(Settle::Release),
                    Some(_) if claim.attempts >= queue.policy().attempts_max => Some(Settle::Bury),
                    Some(message) => {
                        queue.is_duplicate(&claim, message).await?.then_some(Settle::Ack)
                    }
                };
                match (unwanted, message) {
                    (None, Some(message)) => return Ok(Some((claim, message))),
                    (settle, _) => {
                        let settle = settle.unwrap_or(Settle::Release);
                        queue.settle(vec![(&mut claim, settle)]).await?;
                    }
                }
            }
            if Instant::now() >= until && !queue.has_claimable() {
                return Ok(None);
            }
            let soon = Instant::now() + RETRY;
            let change = queue.next_change().map_or(until, Instant::from_std).min(until);
            queue.wait(tokio::time::sleep_until(change.max(soon))).await?;
        }
    }

    fn report(&self, claim: &Claim, message: &[u8]) -> Result<(), Failure> {
        let token = claim.token.to_string();
        if let Some(file) = &self.output {
            let written = std::fs::write(file, message);
            written.with_context(|| format!("{} cannot be written", file.display()))?;
        }
        if self.json {
            let text = self.output.is_none().then(|| String::from_utf8_lossy(message));
            let value = serde_json::json!({
                "token": token,
                "uid": claim.token.uid.value(),
                "attempt": claim.attempts + 1,
                "message": text,
            });
            return say(&value.to_string());
        }
        say(&token)?;
        if self.output.is_none() {
            std::io::stdout().lock().write_all(message)?;
        }
        Ok(())
    }
}

/// How long one waits after others were faster.
const RETRY: Duration = Duration::from_millis(20);

/// `queue ack`, `nack` and `extend`
#[derive(Args, Debug)]
pub(crate) struct Settling {
    #[command(flatten)]
    remote: Remote,
    /// What `queue claim` has printed.
    token: Token,
    /// Move the job there instead of deleting it.
    #[arg(long, value_name = "MAILBOX")]
    archive: Option<String>,
}

impl Settling {
    /// Does it.
    pub(super) async fn run(self, settle: Settle) -> Result<(), Failure> {
        let mut queue = self.remote.door()?.open(Policy::default()).await?;
        if queue.uid_validity() != self.token.uid_validity {
            return Err(lost(self.token, "the mailbox was made anew since"));
        }
        queue.load_only(&[self.token.uid]).await?;
        let rules = queue.rules().await?;
        queue.set_policy(rules);
        queue.set_archive(self.archive);
        let mut claim = queue.adopt(self.token);
        let buried = settle == Settle::Fail && claim.attempts + 1 >= queue.policy().attempts_max;
        let settle = if buried { Settle::Bury } else { settle };
        let settled = queue.settle(vec![(&mut claim, settle)]).await?;
        queue.cleared().await?;
        if settle != Settle::Extend && settled == [Settled::Done] {
            queue.forget_worker(self.token.worker).await?;
        }
        queue.close().await;
        match settled.first() {
            Some(Settled::Done) if settle == Settle::Extend => say(&claim.token.to_string()),
            Some(Settled::Done) => Ok(()),
            Some(Settled::Gone) => Err(lost(self.token, "the job is gone")),
            _ => Err(lost(self.token, "somebody else has taken it over or changed it")),
        }
    }
}

fn lost(token: Token, why: &str) -> Failure {
    Failure::new(Exit::Lost, anyhow!("job {} was not changed: {why}", token.uid))
}
