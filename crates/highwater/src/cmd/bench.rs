//! `highwater bench`: what an IMAP server does in a second, and what that costs it.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum as _};
use client::{Credentials, Place};

use super::{Exit, Failure, say, tell};
use crate::bench::{self, Login, Plan, Report, Workload};
use crate::remote::RemoteArgs;

/// What stands for a user's number in --users.
const NUMBER: &str = "{}";

/// Measure any IMAP server: operations a second, latency, octets, and what its processes use for that.
///
/// Everything is verified: a wrong count, a wrong value or an answer that is not OK is an error in the row, and no
/// figure. Works in mailboxes made for it, which are removed again; `lmtp` delivers to INBOX, and removes that too.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Figures are of each thing that `of each` names: with --pid, CPU is the time of the server's processors while it \
                  was\nasked, `later` what it used after its last answer until it rested; KiB is its memory, what processes \
                  share counted once.\n\n\
                  Exit codes: 0 all rows have figures, or the server lacks what they need · 1 none has, or no mailbox could be \
                  removed ·\n2 the command line is wrong · 5 some have none, see there"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    compare: Option<Verb>,
    /// The server and the user: imap://user@host:port or imaps://…
    #[arg(value_name = "URL", required_unless_present = "list")]
    place: Option<Place>,
    /// What to measure; all of it unless said.
    #[arg(value_enum, value_name = "WORKLOAD", hide_possible_values = true)]
    workloads: Vec<Workload>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Say what the workloads are.
    #[arg(long)]
    list: bool,
    /// Measure a server that is not on this machine: it is sent as much as it answers.
    #[arg(long)]
    yes: bool,
    /// A process of the server, on this machine: its children are counted with it. Can be said several times.
    #[arg(long, value_name = "PID")]
    pid: Vec<i32>,
    /// Messages in the large mailbox; others have a tenth.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    messages: u64,
    /// Octets of a message that is appended or delivered.
    #[arg(long, value_name = "OCTETS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1024..=64 * 1024 * 1024))]
    size: u32,
    /// Clients, where there are several.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Connections that idle.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    idlers: u32,
    /// Messages that workers claim.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(16..=1_000_000))]
    jobs: u64,
    /// Mailboxes that are made and listed.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    mailboxes: u64,
    /// How long to repeat what can be repeated.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,
    /// How often to measure each workload; the figures are of all times together.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Users for several clients, `{}` is their number from 1 on: user{}. They have the URL's password.
    #[arg(long, value_name = "PATTERN")]
    users: Option<String>,
    /// Where the server takes mail by LMTP.
    #[arg(long, value_name = "HOST:PORT")]
    lmtp: Option<String>,
    /// How long the server may be silent while it owes an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Measure before and after what this machine can do: single fdatasyncs in DIRECTORY, octets through loopback.
    #[arg(long, value_name = "DIRECTORY")]
    floor: Option<PathBuf>,
    /// Write the figures to FILE, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Compare two reports that --json has written: what B has to A.
    Compare {
        /// One report.
        #[arg(value_name = "A.json")]
        first: PathBuf,
        /// The other.
        #[arg(value_name = "B.json")]
        second: PathBuf,
    },
}

impl Bench {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(Verb::Compare { first, second }) = &self.compare {
            return say(&bench::compare::compare(first, second)?);
        }
        if self.list {
            return say(&bench::list());
        }
        let plan = self.plan().map_err(|error| Failure::new(Exit::CannotRun, error))?;
        let report = tokio::task::spawn_blocking(move || measure(plan)).await;
        let report = report.map_err(|error| anyhow!("the measurement broke: {error}"))??;
        if let Some(file) = &self.json {
            let text = format!("{:#}\n", report.json());
            let unwritten = || format!("{} cannot be written", file.display());
            std::fs::write(file, text).with_context(unwritten)?;
        }
        say(&report.text())?;
        match (report.failed(), report.errors()) {
            (Some(why), _) => Err(anyhow!("{why}").into()),
            (None, (0, _)) => Ok(()),
            (None, (errors, 0)) => Err(anyhow!("all {errors} workloads failed, see above").into()),
            (None, (errors, _)) => {
                Err(Failure::new(Exit::Part, anyhow!("{errors} workloads failed, see above")))
            }
        }
    }

    fn plan(&self) -> Result<Plan> {
        let place = self.place.as_ref().context("no URL")?;
        if place.mailbox.is_some() {
            bail!("name no mailbox in the URL: mailboxes are made for what is measured");
        }
        if !(self.yes || place.is_here()) {
            bail!(
                "{} is another machine, and would be sent as much as it answers; say --yes if you may",
                place.host
            );
        }
        if !(self.seconds > 0.0 && self.seconds <= 3600.0) {
            bail!("--seconds {}: more than 0 and at most 3600 can be measured", self.seconds);
        }
        let door = self.remote.door(place, Duration::from_secs(self.patience))?;
        let Credentials::Password { user, password } = &door.credentials else {
            bail!("a password is needed");
        };
        let password =
            String::from_utf8(password.0.clone()).context("the password is not UTF-8")?;
        let login = |user: String| Login { user, password: password.clone() };
        let logins = match &self.users {
            None => vec![login(user.clone())],
            Some(pattern) if pattern.contains(NUMBER) => {
                (1..=self.clients).map(|n| login(pattern.replace(NUMBER, &n.to_string()))).collect()
            }
            Some(pattern) => bail!("--users {pattern}: write {NUMBER} where the number is to be"),
        };
        let all = Workload::value_variants();
        Ok(Plan {
            place: door.place,
            options: door.options,
            logins,
            lmtp: self.lmtp.clone(),
            workloads: if self.workloads.is_empty() {
                all.to_vec()
            } else {
                self.workloads.clone()
            },
            pids: self.pid.clone(),
            messages: self.messages,
            octets: usize::try_from(self.size)?,
            clients: usize::from(self.clients),
            idlers: usize::try_from(self.idlers)?,
            jobs: self.jobs,
            mailboxes: self.mailboxes,
            time: Duration::from_secs_f64(self.seconds),
            repeat: self.repeat,
            floor: self.floor.clone(),
        })
    }
}

/// All clients on one thread, which leaves the server the others.
fn measure(plan: Plan) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let shown = std::io::stderr().is_terminal();
    Ok(runtime.block_on(bench::measure(plan, |row| {
        if shown {
            tell(row);
        }
    })))
}
