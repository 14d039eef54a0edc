//! The command line: what can be said, and what the exit codes mean.

mod acl;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod import;
pub(crate) mod mailbox;
pub(crate) mod migrate;
pub(crate) mod queue;
pub(crate) mod quota;
pub(crate) mod replay;
pub(crate) mod serve;
mod store;
pub(crate) mod user;

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};

use crate::control::client::{Control, Missing};
use crate::control::protocol::{Owner, Reply, Request};
use crate::place;

pub(crate) use store::StoreArgs;

/// What is given to have none of something.
const NONE: &str = "none";

/// An IMAP server whose conditional STORE has one winner and whose resync never loses a change.
#[derive(Parser, Debug)]
#[command(
    version,
    propagate_version = true,
    after_help = "Begin with:  highwater serve\n\nExit codes: 0 done · 1 failed · 2 the command line is \
                  wrong, or nothing could be played · 3 the configuration is wrong ·\n4 the store cannot be opened (in use, damaged, \
                  of a newer program) · 5 done in part ·\n6 an address cannot be listened on · 7 no job to claim · 8 the job is not held any more ·\n9 the database lacks what it had acknowledged, the server must be started anew"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve mail over IMAP and take it over LMTP.
    Serve(serve::Serve),
    /// Show in some seconds what this is good for.
    Demo(demo::Demo),
    /// Add, list, change and delete accounts.
    #[command(subcommand)]
    User(user::User),
    /// Make, list, share, change and delete mailboxes.
    #[command(subcommand)]
    Mailbox(mailbox::Mailbox),
    /// Put users into groups, for sharing mailboxes with them.
    #[command(subcommand)]
    Group(group::Group),
    /// Limit what accounts can store.
    #[command(subcommand)]
    Quota(quota::Quota),
    /// Play dialogues against any IMAP server, and tell by RFC section which of them hold.
    Replay(replay::Replay),
    /// Make a mailbox on any IMAP server a queue of jobs, and work on it.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Take mail from mbox files and Maildirs into an account.
    Import(import::Import),
    /// Write an account's mail into mbox files or a Maildir.
    Export(export::Export),
    /// Bring mail from a directory into a PostgreSQL database, or back.
    Migrate(migrate::Migrate),
    /// Prove whether an IMAP server's conditional STORE has one winner.
    Doctor(doctor::Doctor),
    /// Measure any IMAP server: its speed, and what it costs.
    Bench(Box<bench::Bench>),
}

/// Whose mailbox it is about.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct OwnerArgs {
    /// One below `Shared/`, which need not be said again before its name.
    #[arg(long)]
    shared: bool,
    /// This user's.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl OwnerArgs {
    /// Whose it is.
    fn owner(self) -> Owner {
        self.user.map_or(Owner::Shared, Owner::User)
    }
}

/// What the process answers to whoever started it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// It failed.
    Failed = 1,
    /// Dialogues could not be played, or nothing could be examined.
    CannotRun = 2,
    /// The configuration is wrong.
    Config = 3,
    /// The store cannot be opened.
    Store = 4,
    /// Some of it was done.
    Part = 5,
    /// An address cannot be listened on.
    Listen = 6,
    /// There is no job to claim.
    Nothing = 7,
    /// A job is not held any more.
    Lost = 8,
    /// The database may lack what it acknowledged, and the server must be started anew.
    Restart = 9,
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// An error with its exit code.
    pub(crate) fn new(exit: Exit, error: anyhow::Error) -> Self {
        Self { exit, error }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let exit = match error.downcast_ref::<place::OpenError>() {
            None => Exit::Failed,
            Some(error) if error.is_configuration() => Exit::Config,
            Some(_) => Exit::Store,
        };
        Self { exit, error }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

/// Sends one request; answers all replies but the last.
async fn ask_all(
    store: &StoreArgs,
    missing: Missing,
    request: Request,
) -> Result<Vec<Reply>, Failure> {
    let place = store.place(&store.config()?)?;
    let mut control = Control::open(&place, missing).await?;
    let replies = control.ask_all(&request).await;
    control.close().await?;
    Ok(replies?)
}

/// Sends one request that has no replies but the last.
async fn ask(store: &StoreArgs, missing: Missing, request: Request) -> Result<(), Failure> {
    match ask_all(store, missing, request).await?.as_slice() {
        [] => Ok(()),
        _ => Err(anyhow!("the server answered something else: is it of another version?").into()),
    }
}

/// Prints to standard output; a reader that is gone is no error.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints to standard error, where it does not disturb what a program reads.
pub(crate) fn tell(text: &str) {
    use std::io::Write as _;
    // There is nobody left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
