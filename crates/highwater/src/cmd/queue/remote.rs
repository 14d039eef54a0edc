//! Which queue, and how to get in.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use client::imap::command::Secret;
use client::queue::{Policy, Queue, QueueError};
use client::{Connection, Credentials, Options, Place, Tls};

use crate::cmd::{Exit, Failure};

/// How long a server may be silent while it owes an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Passwords are shorter.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// The queue, and who one is there.
#[derive(Args, Clone, Debug)]
pub(super) struct Remote {
    /// The queue: imaps://user@host/Mailbox.
    #[arg(value_name = "URL")]
    place: Place,
    /// Read the password from this file; otherwise HIGHWATER_PASSWORD has it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file alone.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust any certificate, and send the password without TLS if need be.
    #[arg(long)]
    insecure: bool,
    /// How long the server may be silent while it owes an answer.
    #[arg(long, value_name = "TIME", value_parser = super::units::some_duration, hide = true)]
    patience: Option<Duration>,
}

/// A way in that can be used again and again.
#[derive(Clone, Debug)]
pub(super) struct Door {
    place: Place,
    credentials: Credentials,
    options: Options,
    /// The queue's mailbox.
    pub(super) mailbox: String,
}

impl Remote {
    /// What is needed to get in.
    pub(super) fn door(&self) -> Result<Door, Failure> {
        self.checked().map_err(|error| Failure::new(Exit::Config, error))
    }

    fn checked(&self) -> Result<Door> {
        let mut place = self.place.clone();
        let mailbox = place.mailbox.clone();
        let mailbox = mailbox.context("name the mailbox in the URL: imaps://user@host/Mailbox")?;
        let user =
            place.user.clone().context("name the user in the URL: imaps://user@host/Mailbox")?;
        let password = Secret(self.password(place.password.take())?.into_bytes());
        let here =
            matches!(place.host.as_str(), "localhost" | "::1") || place.host.starts_with("127.");
        let tls = match (&self.ca, self.insecure) {
            (Some(file), _) => Some(Tls::only(file)?),
            (None, true) => Some(Tls::unverified()?),
            (None, false) if here && !place.implicit_tls => None,
            (None, false) => Some(Tls::system()?),
        };
        let patience = self.patience.unwrap_or(PATIENCE);
        let options = Options { tls, insecure: self.insecure, patience };
        Ok(Door { place, credentials: Credentials::Password { user, password }, options, mailbox })
    }

    fn password(&self, in_url: Option<String>) -> Result<String> {
        if let Some(file) = &self.password_file {
            let unreadable = || format!("the password file {} cannot be read", file.display());
            let mut text = String::new();
            let opened = std::fs::File::open(file).with_context(unreadable)?;
            opened.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).with_context(unreadable)?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        let in_environment = std::env::var("HIGHWATER_PASSWORD").ok();
        in_url.or(in_environment).ok_or_else(|| {
            anyhow!("there is no password: set HIGHWATER_PASSWORD or name a --password-file")
        })
    }
}

impl Door {
    /// Connects and logs in.
    pub(super) async fn connect(&self) -> Result<Connection, client::Error> {
        Connection::open(&self.place, &self.credentials, &self.options).await
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
