//! `queue init`, `dead`, `retry`, `purge` and `drain`: what people do with a queue.

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use client::imap::command::{CommandBody, MailboxName, StatusItem};
use client::imap::encode::Code;
use client::imap::number::Uid;
use client::queue::{Job, Policy, Queue, Standing};
use std::time::{Duration, Instant};

use super::remote::{Door, Remote};
use super::units;
use crate::cmd::{Exit, Failure, say};

/// `queue init`
#[derive(Args, Debug)]
pub(crate) struct Init {
    #[command(flatten)]
    remote: Remote,
    /// How long a claim stands without a sign of life.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::some_duration)]
    lease: Duration,
    /// After how many failed attempts a job is dead.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=15))]
    max_attempts: u8,
    /// How long a job rests after its first failure and at most; doubled each time between.
    #[arg(long, value_name = "LEAST..MOST", default_value = "10s..1h", value_parser = units::range)]
    backoff: (Duration, Duration),
}

/// Makes a mailbox unless it is there.
async fn make(connection: &mut client::Connection, mailbox: &str) -> Result<(), client::Error> {
    let create =
        CommandBody::Create { mailbox: MailboxName(mailbox.to_owned()), special_use: None };
    let answer = connection.ask(create).await?;
    if answer.codes().any(|code| matches!(code, Code::AlreadyExists)) {
        return Ok(());
    }
    let Err(refused) = answer.ok() else { return Ok(()) };
    // Some servers say no code, and who may not make it may use it if it is there.
    let mailbox = MailboxName(mailbox.to_owned());
    let status = CommandBody::Status { mailbox, items: vec![StatusItem::Messages] };
    connection.ask(status).await?.ok().map(drop).map_err(|_| refused)
}

impl Init {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let policy = Policy {
            lease: self.lease,
            attempts_max: self.max_attempts,
            backoff_min: self.backoff.0,
            backoff_max: self.backoff.1,
        };
        let door = self.remote.door()?;
        let mut connection = door.connect().await?;
        make(&mut connection, &door.mailbox).await.map_err(anyhow::Error::from)?;
        let mut queue = Queue::open(connection, &door.mailbox, policy.clone()).await?;
        queue.load().await?;
        let dead = queue.below("Dead").await?;
        make(queue.connection(), &dead).await.map_err(anyhow::Error::from)?;
        let sentinel = queue.init(&policy).await?;
        let footing = queue.footing();
        queue.close().await;
        say(&format!(
            "{} is a queue: lease {:?}, {} attempts, dead letters in {dead}; {}",
            door.mailbox,
            sentinel.policy.lease,
            sentinel.policy.attempts_max,
            super::show::footing(footing),
        ))?;
        if sentinel.policy != policy {
            return Err(anyhow!(
                "the queue has other rules already, which stay: delete message {} to set them anew",
                sentinel.uid
            )
            .into());
        }
        Ok(())
    }
}

/// Where dead letters are.
#[derive(Args, Debug)]
pub(super) struct DeadArgs {
    /// The mailbox of dead letters [default: Dead below the queue's].
    #[arg(long = "dead", value_name = "MAILBOX")]
    mailbox: Option<String>,
}

impl DeadArgs {
    /// Opens it and reads it.
    async fn open(&self, door: &Door) -> Result<Queue, Failure> {
        let mut queue = door.open(Policy::default()).await?;
        let mailbox = match &self.mailbox {
            Some(mailbox) => mailbox.clone(),
            None => queue.below("Dead").await?,
        };
        queue.close().await;
        let mut dead = door.open_mailbox(&mailbox, Policy::default()).await?;
        dead.load().await?;
        Ok(dead)
    }
}

/// `queue dead`
#[derive(Args, Debug)]
pub(crate) struct Dead {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    dead: DeadArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Dead {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut queue = self.dead.open(&self.remote.door()?).await?;
        super::show::list(&mut queue, |_| true, usize::MAX, self.json, |_, _| "dead").await?;
        queue.close().await;
        Ok(())
    }
}

/// `queue retry`
#[derive(Args, Debug)]
pub(crate) struct Retry {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    dead: DeadArgs,
    /// Which, as `queue dead` numbers them.
    #[arg(value_name = "UID", required_unless_present = "all")]
    uids: Vec<u32>,
    /// All of them.
    #[arg(long, conflicts_with = "uids")]
    all: bool,
}

impl Retry {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let door = self.remote.door()?;
        let mut dead = self.dead.open(&door).await?;
        let there = dead.view().jobs().map(|job| job.uid);
        let chosen: Vec<Uid> =
            there.filter(|uid| self.all || self.uids.contains(&uid.value())).collect();
        let moved = dead.revive(&chosen, &door.mailbox).await?;
        dead.close().await;
        say(&format!("{moved} jobs are back in {}", door.mailbox))?;
        let asked = if self.all { chosen.len() } else { self.uids.len() };
        if u64::try_from(asked).is_ok_and(|asked| moved < asked) {
            let why = anyhow!("{} of {asked} were not there or were changed", asked as u64 - moved);
            return Err(Failure::new(Exit::Part, why));
        }
        Ok(())
    }
}

/// Which jobs.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    /// Those that can be claimed.
    Ready,
    /// Those that are for later.
    Delayed,
    /// Those that have failed.
    Failed,
    /// Those that are acknowledged and still there.
    Done,
    /// The dead letters.
    Dead,
}

/// `queue purge`
#[derive(Args, Debug)]
pub(crate) struct Purge {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    dead: DeadArgs,
    /// Which jobs; those that somebody holds always stay.
    #[arg(long, value_enum)]
    state: Which,
}

impl Purge {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let door = self.remote.door()?;
        let purged = if self.state == Which::Dead {
            let mut dead = self.dead.open(&door).await?;
            let purged = dead.purge(|_| true).await?;
            dead.close().await;
            purged
        } else {
            let mut queue = door.loaded().await?;
            let state = self.state;
            let (now, policy) = (Instant::now(), queue.policy().clone());
            let chosen = |job: &Job| {
                matches!(
                    (state, policy.standing(job, now)),
                    (Which::Failed, Standing::Resting | Standing::Exhausted)
                        | (Which::Ready, Standing::Ready)
                        | (Which::Delayed, Standing::Delayed)
                        | (Which::Done, Standing::Done)
                )
            };
            let purged = queue.purge(chosen).await?;
            queue.close().await;
            purged
        };
        say(&format!("{purged} jobs deleted"))
    }
}

/// `queue drain`
#[derive(Args, Debug)]
pub(crate) struct Drain {
    #[command(flatten)]
    remote: Remote,
    /// Let jobs be claimed again.
    #[arg(long)]
    off: bool,
}

impl Drain {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let door = self.remote.door()?;
        let mut queue = door.open(Policy::default()).await?;
        queue.load_only(&[]).await?;
        let found = queue.drain(!self.off).await?;
        queue.close().await;
        if !found {
            let why = anyhow!("{} has no message with rules: run `queue init` first", door.mailbox);
            return Err(Failure::new(Exit::Config, why));
        }
        say(if self.off {
            "jobs are claimed again"
        } else {
            "no more jobs are claimed; those that run may end"
        })
    }
}
