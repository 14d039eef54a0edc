//! `highwater queue`: a mailbox on any IMAP server as a queue of jobs. docs/queue.md says what it promises.

mod handler;
mod manage;
mod metrics;
mod put;
mod remote;
mod show;
mod token;
mod top;
mod units;
mod work;

use anyhow::anyhow;
use clap::Subcommand;
use client::imap::encode::Code;
use client::imap::response::ResponseCode;
use client::queue::QueueError;

use super::{Exit, Failure};

/// Make a mailbox a queue: each message is a job, and of all workers one holds it.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "The password comes from --password-file or HIGHWATER_PASSWORD.\n\nExit codes: 0 done · 1 failed · \
                  2 the command line is wrong · 3 no way in: password, trust, rights, no such queue ·\n5 done in part · 7 there is \
                  nothing to claim · 8 the claim was lost: nothing was changed"
)]
pub(crate) enum Queue {
    /// Make the mailbox and the message that holds the queue's rules.
    Init(manage::Init),
    /// Put jobs.
    Put(put::Put),
    /// Run a command for each job.
    Work(Box<work::Work>),
    /// Claim one job, print its token and its message.
    Claim(token::Take),
    /// Acknowledge a job that was claimed: it is done.
    Ack(token::Settling),
    /// Give a job back as failed: it rests and is tried again.
    Nack(token::Settling),
    /// Hold a job for another lease, print its new token.
    Extend(token::Settling),
    /// List jobs.
    Ls(show::Ls),
    /// Count jobs by state.
    Stats(show::Stats),
    /// Watch the queue.
    Top(top::Top),
    /// List dead letters.
    Dead(manage::Dead),
    /// Send dead letters back into the queue.
    Retry(manage::Retry),
    /// Delete jobs that nobody holds.
    Purge(manage::Purge),
    /// Let no more jobs be claimed, or let them again.
    Drain(manage::Drain),
}

impl Queue {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run().await,
            Self::Put(put) => put.run().await,
            Self::Work(work) => work.run().await,
            Self::Claim(claim) => claim.run().await,
            Self::Ack(settling) => settling.run(client::queue::Settle::Ack).await,
            Self::Nack(settling) => settling.run(client::queue::Settle::Fail).await,
            Self::Extend(settling) => settling.run(client::queue::Settle::Extend).await,
            Self::Ls(ls) => ls.run().await,
            Self::Stats(stats) => stats.run().await,
            Self::Top(top) => top.run().await,
            Self::Dead(dead) => dead.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Purge(purge) => purge.run().await,
            Self::Drain(drain) => drain.run().await,
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        if let QueueError::Client(refused) = &error
            && matches!(refused.code(), Some(ResponseCode::Known(Code::NoPerm)))
        {
            let rights = "a queue needs the rights l, r, s, w, i, t and e";
            return Self::new(Exit::Config, anyhow!("{error}; {rights}"));
        }
        let exit = match error {
            QueueError::ReadOnly | QueueError::Keywords => Exit::Config,
            _ => Exit::Failed,
        };
        Self { exit, error: error.into() }
    }
}
