//! Which queue, and how to get in.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use client::imap::encode::Code;
use client::imap::response::ResponseCode;
use client::queue::{Policy, Queue, QueueError};
use client::{Connection, Place};

use crate::cmd::{Exit, Failure};
use crate::remote::{PATIENCE, RemoteArgs};

/// The queue, and who one is there.
#[derive(Args, Clone, Debug)]
pub(super) struct Remote {
    /// The queue: imaps://user@host/Mailbox.
    #[arg(value_name = "URL")]
    place: Place,
    #[command(flatten)]
    way: RemoteArgs,
    /// How long the server may be silent while it owes an answer.
    #[arg(long, value_name = "TIME", value_parser = super::units::some_duration, hide = true)]
    patience: Option<Duration>,
}

/// A way in to a queue that can be used again and again.
#[derive(Clone, Debug)]
pub(super) struct Door {
    server: crate::remote::Door,
    /// The queue's mailbox.
    pub(super) mailbox: String,
}

impl Remote {
    /// What is needed to get in.
    pub(super) fn door(&self) -> Result<Door, Failure> {
        let config = |error| Failure::new(Exit::Config, error);
        let mailbox = self.place.mailbox.clone();
        let mailbox = mailbox.context("name the mailbox in the URL: imaps://user@host/Mailbox");
        let server = self.way.door(&self.place, self.patience.unwrap_or(PATIENCE));
        Ok(Door { mailbox: mailbox.map_err(config)?, server: server.map_err(config)? })
    }
}

/// Why a queue is not open.
#[derive(Debug)]
pub(super) enum Shut {
    /// One does not get in to the server; where and as whom.
    Server(String, client::Error),
    /// The mailbox cannot be opened; which.
    Mailbox(String, QueueError),
    /// It was open, and something was wrong with it.
    Queue(QueueError),
}

impl Shut {
    /// Whether it may go by itself: the server is away, or the line was cut.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Server(_, error) => passes(error),
            Self::Mailbox(_, QueueError::Client(error)) => passes(error),
            Self::Queue(QueueError::Client(error)) => passes(error),
            Self::Mailbox(..) => false,
            Self::Queue(error) => matches!(error, QueueError::Renewed),
        }
    }
}

fn passes(error: &client::Error) -> bool {
    use client::Error::{Bye, Io, Refused, TimedOut};
    let busy = matches!(
        error.code(),
        Some(ResponseCode::Known(Code::Unavailable | Code::InUse | Code::ServerBug | Code::Limit))
    );
    matches!(error, Bye(_) | Io(_) | TimedOut) || (matches!(error, Refused(_)) && busy)
}

impl std::fmt::Display for Shut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(place, client::Error::Refused(answer)) => {
                write!(f, "{place} does not let this user in: {}", answer.text)
            }
            Self::Server(place, error) => write!(f, "{place}: {error}"),
            Self::Mailbox(mailbox, QueueError::Client(client::Error::Refused(answer))) => {
                write!(f, "{mailbox} cannot be opened: {}; `queue init` makes it", answer.text)
            }
            Self::Mailbox(mailbox, error) => write!(f, "{mailbox}: {error}"),
            Self::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Shut {}

impl From<QueueError> for Shut {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl From<Shut> for Failure {
    fn from(shut: Shut) -> Self {
        let exit = match &shut {
            _ if shut.may_pass() => Exit::Failed,
            Shut::Server(..) | Shut::Mailbox(..) => Exit::Config,
            Shut::Queue(_) => Exit::Failed,
        };
        match shut {
            Shut::Queue(error) => error.into(),
            shut => Self::new(exit, shut.into()),
        }
    }
}

impl Door {
    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<Connection, Shut> {
        let shut = |error| Shut::Server(self.server.place.to_string(), error);
        self.server.connect().await.map_err(shut)
    }

    /// Opens the queue; nothing of it is read yet.
    pub(super) async fn open(&self, policy: Policy) -> Result<Queue, Shut> {
        self.open_mailbox(&self.mailbox, policy).await
    }

    /// Opens another mailbox as if it were the queue's.
    pub(super) async fn open_mailbox(&self, mailbox: &str, policy: Policy) -> Result<Queue, Shut> {
        let opened = Queue::open(self.connect().await?, mailbox, policy).await;
        opened.map_err(|error| Shut::Mailbox(mailbox.to_owned(), error))
    }

    /// Opens the queue, reads it whole, and plays by its rules.
    pub(super) async fn loaded(&self) -> Result<Queue, Shut> {
        let mut queue = self.open(Policy::default()).await?;
        queue.load().await?;
        let rules = queue.rules().await?;
        queue.set_policy(rules);
        Ok(queue)
    }
}
