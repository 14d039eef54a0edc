//! Measures any IMAP server from outside: what is asked of it, what it answers, what its processes use for that.
//!
//! # Invariants
//! - What is measured is verified: a wrong count, a wrong value or a missing OK is an error and no figure.
//! - Only mailboxes made for the run are touched, but for the INBOX that LMTP delivers to; what was made is removed.
//! - All clients are driven by one thread, so that the server has the other processors.

pub(crate) mod compare;
mod floor;
mod gauge;
mod line;
mod load;
mod mail;
mod report;
mod scan;
mod stage;
mod tally;

use std::fmt;
use std::time::Duration;

use client::{Error, Options, Place};

use gauge::Gauge;
use line::Line;
pub(crate) use line::Login;
pub(crate) use load::Workload;
pub(crate) use report::Report;
use stage::Stage;
use tally::Measured;

/// What is to be measured, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub(crate) place: Place,
    /// How to reach it.
    pub(crate) options: Options,
    /// Who logs in: the first one, and for what has several users the others in turn.
    pub(crate) logins: Vec<Login>,
    /// Where it takes mail by LMTP.
    pub(crate) lmtp: Option<String>,
    /// What is measured, in this order.
    pub(crate) workloads: Vec<Workload>,
    /// The server's processes.
    pub(crate) pids: Vec<i32>,
    /// Messages in the large mailbox; the middle one has a tenth.
    pub(crate) messages: u64,
    /// Octets of a message that is appended.
    pub(crate) octets: usize,
    /// Clients, where there are several.
    pub(crate) clients: usize,
    /// Connections that idle.
    pub(crate) idlers: usize,
    /// Messages that workers claim.
    pub(crate) jobs: u64,
    /// Mailboxes that are made and listed.
    pub(crate) mailboxes: u64,
    /// How long a workload is repeated.
    pub(crate) time: Duration,
    /// How often all is measured.
    pub(crate) repeat: u32,
    /// Where the disk is measured.
    pub(crate) floor: Option<std::path::PathBuf>,
}

/// Why there is no figure.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The connection failed.
    Client(Error),
    /// The server said what is wrong.
    Wrong(String),
    /// The server, or the command line, lacks what this needs: no error.
    Lacks(String),
}

impl Failed {
    fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong(why.into())
    }

    fn lacks(what: impl Into<String>) -> Self {
        Self::Lacks(what.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Wrong(why) => f.write_str(why),
            Self::Lacks(what) => write!(f, "no {what}"),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

/// Measures all of it; `told` hears of each row as it is done.
pub(crate) async fn measure(plan: Plan, mut told: impl FnMut(&str)) -> Report {
    let mut report = Report::new(&plan);
    let mut stage = match Stage::open(plan).await {
        Ok(stage) => stage,
        Err(failed) => return report.ended(Some(&failed)),
    };
    report.server = stage.server.clone();
    report.take_floor(&stage.plan).await;
    let mut gone = None;
    for workload in stage.plan.workloads.clone() {
        let outcome = match &gone {
            Some(why) => Err(Failed::wrong(format!("not tried, the server is gone: {why}"))),
            None => workload_in_turns(&mut stage, workload).await,
        };
        if matches!(outcome, Err(Failed::Client(_) | Failed::Wrong(_))) && gone.is_none() {
            gone = stage.is_gone().await;
        }
        report.add(workload, &outcome);
        told(&report.last_line());
    }
    report.take_floor(&stage.plan).await;
    let cleaned = if gone.is_none() { stage.clean().await.err() } else { None };
    report.ended(cleaned.as_ref())
}

/// One workload as often as the plan says.
async fn workload_in_turns(stage: &mut Stage, workload: Workload) -> Result<Measured, Failed> {
    let mut measured = load::run(stage, workload).await?;
    for turn in 1..stage.plan.repeat {
        measured.join(load::run(stage, workload).await?, turn + 1);
    }
    Ok(measured)
}

/// The names of all workloads, and what they do.
pub(crate) fn list() -> String {
    let all = <Workload as clap::ValueEnum>::value_variants();
    let line = |workload: &Workload| format!("{:16} {}", workload.name(), workload.about());
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}
