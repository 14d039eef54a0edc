//! Which queue, and how to get in.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
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

impl Door {
    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<Connection, client::Error> {
        self.server.connect().await
    }

    /// Opens the queue; nothing of it is read yet.
    pub(super) async fn open(&self, policy: Policy) -> Result<Queue, QueueError> {
        self.open_mailbox(&self.mailbox, policy).await
    }

    /// Opens another mailbox as if it were the queue's.
    pub(super) async fn open_mailbox(
        &self,
        mailbox: &str,
        policy: Policy,
    ) -> Result<Queue, QueueError> {
        Queue::open(self.connect().await?, mailbox, policy).await
    }

    /// Opens the queue, reads it whole, and plays by its rules.
    pub(super) async fn loaded(&self) -> Result<Queue, QueueError> {
        let mut queue = self.open(Policy::default()).await?;
        queue.load().await?;
        let rules = queue.rules().await?;
        queue.set_policy(rules);
        Ok(queue)
    }
}
