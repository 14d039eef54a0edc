//! `highwater doctor`: whether a server's conditional STORE has one winner.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use client::Place;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Failure, say, tell};
use crate::doctor::{Kind, Plan, ROUNDS_FOR_SAFE, examine};
use crate::remote::{Door, PATIENCE, RemoteArgs};

/// How often something is said when nobody looks at a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Prove whether an IMAP server's conditional STORE has one winner.
///
/// Lets clients race for messages in mailboxes made for it, which are removed again. docs/doctor.md says what is played
/// and what the verdicts mean.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 SAFE · 1 UNSAFE · 2 the command line is wrong, or there is no password\n\
                  3 INCONCLUSIVE, also when the server cannot be reached · 4 SAFE WITH PROOF"
)]
pub(crate) struct Doctor {
    /// The server and the user: imaps://user@host.
    #[arg(value_name = "URL")]
    place: Place,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Go at a server that is not on this machine: it is sent many thousand commands as fast as it answers.
    #[arg(long)]
    yes: bool,
    /// Clients that race.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    clients: u8,
    /// End after so many rounds that had two or more requests in flight.
    #[arg(long, value_name = "N", default_value_t = ROUNDS_FOR_SAFE)]
    rounds: u64,
    /// End after so many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Play only these races.
    #[arg(long, value_enum, value_name = "RACE", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Repeat the order of requests of an earlier run.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Does it; the exit code tells the verdict.
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        // 1 would say UNSAFE.
        let door = self.door().map_err(|error| Failure::new(Exit::CannotRun, error))?;
        let plan = self.plan();
        let progress = progress(plan.rounds);
        let lines = tokio::spawn(say_lines(progress.clone()));
        let (mut interrupt, mut terminate) =
            signals().map_err(|error| Failure::new(Exit::CannotRun, error))?;
        let interrupted = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tell("interrupted; removing the scratch mailboxes");
        };
        let report = examine(&door, &plan, &progress, interrupted).await;
        lines.abort();
        progress.finish_and_clear();
        if let Some(left_over) = report.left_over() {
            tell(left_over);
        }
        say(&if self.json { report.json().to_string() } else { report.text() })?;
        Ok(ExitCode::from(report.verdict().exit()))
    }

    fn plan(&self) -> Plan {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let all = <Kind as clap::ValueEnum>::value_variants();
        Plan {
            clients: usize::from(self.clients),
            rounds: self.rounds,
            time: self.seconds.map(Duration::from_secs),
            kinds: if self.only.is_empty() { all.to_vec() } else { self.only.clone() },
            seed: self.seed.unwrap_or_else(clock),
        }
    }

    fn door(&self) -> Result<Door> {
        if self.place.mailbox.is_some() {
            bail!("name no mailbox in the URL: the doctor makes mailboxes of its own");
        }
        if !(self.yes || self.place.is_here()) {
            bail!(
                "{} is another machine, and would be sent many thousand commands over {} connections; say --yes \
                 if you may",
                self.place.host,
                self.clients + 2
            );
        }
        self.remote.door(&self.place, PATIENCE)
    }
}

fn signals() -> Result<(Signal, Signal)> {
    let listen = |kind| signal(kind).context("signals cannot be listened to");
    Ok((listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?))
}

fn progress(rounds: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(rounds), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rounds, {per_sec}, {eta} left");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Plain lines for a pipe.
async fn say_lines(progress: ProgressBar) {
    if !progress.is_hidden() {
        return;
    }
    let mut every = tokio::time::interval(LINE_EVERY);
    every.tick().await;
    loop {
        every.tick().await;
        let rounds = progress.length().unwrap_or_default();
        tell(&format!("{} of {rounds} rounds", progress.position()));
    }
}
