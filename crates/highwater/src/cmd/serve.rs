//! `highwater serve`: the server, ready to use without configuration.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::import::import;
use super::{Exit, Failure, StoreArgs, say, tell};
use crate::config::{Config, ListenAddress};
use crate::control::client::Control;
use crate::mail::mbox::Quoting;
use crate::place::Place;
use crate::server::{Ready, Server, StartError};

/// Serves mail over IMAP and takes it over LMTP.
#[derive(Args, Debug)]
#[command(
    after_help = "Without options: mail in ./highwater-data, IMAP with STARTTLS on 127.0.0.1:1143, \
                        IMAPS on :1993, LMTP on :1024,\na self-signed certificate, and an account `demo` \
                        whose password is printed once.\n\nWhen every listener is up, one line is \
                        printed to standard output: ready imap=… imaps=… lmtp=…\nSIGTERM and SIGINT end \
                        the server in order; the exit code is 0. Where many nodes share a database that lacks what it had\n\
                        acknowledged, the server ends in order with 9, and is to be started again."
)]
pub(crate) struct Serve {
    #[command(flatten)]
    store: StoreArgs,
    /// Listen here for IMAP with STARTTLS; can be repeated. Port 0 takes a free port.
    #[arg(long, value_name = "IP:PORT")]
    imap: Vec<ListenAddress>,
    /// Listen here for IMAP over TLS; can be repeated.
    #[arg(long, value_name = "IP:PORT")]
    imaps: Vec<ListenAddress>,
    /// Listen here for LMTP; can be repeated. No password is asked.
    #[arg(long, value_name = "IP:PORT|unix:PATH")]
    lmtp: Vec<ListenAddress>,
    /// Do not make the account `demo`.
    #[arg(long)]
    no_demo: bool,
    /// Print the `ready` line as JSON.
    #[arg(long)]
    ready_json: bool,
    /// Do not offer this capability; can be repeated.
    #[arg(long, value_name = "CAPABILITY")]
    without: Vec<String>,
    /// A server for tests: mail in a temporary directory, free ports on loopback, all gone at the end.
    #[arg(long, conflicts_with_all = ["data", "store", "DatabaseArgs"])]
    ephemeral: bool,
    /// With --ephemeral, make this account; can be repeated [default: test:test].
    #[arg(long, value_name = "NAME:PASSWORD", requires = "ephemeral")]
    account: Vec<String>,
    /// With --ephemeral, import this mbox file or Maildir into the first account's INBOX; can be repeated.
    #[arg(long, value_name = "PATH", requires = "ephemeral")]
    load: Vec<PathBuf>,
    /// End when the process that started this one has ended.
    #[arg(long)]
    exit_with_parent: bool,
}

impl Serve {
    /// The configuration with what the command line says laid over it.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let mut config = self.store.config()?;
        if self.ephemeral {
            let free = || vec![ListenAddress::Tcp(([127, 0, 0, 1], 0).into())];
            config.listen.imap = free();
            config.listen.imaps = free();
            config.listen.lmtp = free();
        }
        let listen = &mut config.listen;
        for (given, addresses) in [
            (&self.imap, &mut listen.imap),
            (&self.imaps, &mut listen.imaps),
            (&self.lmtp, &mut listen.lmtp),
        ] {
            if !given.is_empty() {
                addresses.clone_from(given);
            }
        }
        let unix = |addresses: &[ListenAddress]| {
            addresses.iter().any(|address| matches!(address, ListenAddress::Unix(_)))
        };
        if unix(&config.listen.imap) || unix(&config.listen.imaps) {
            let why = anyhow!("only --lmtp can listen on a unix socket: give --imap an IP:PORT");
            return Err(Failure::new(Exit::Config, why));
        }
        let without = self.without.iter().map(|name| name.to_ascii_uppercase());
        config.imap.without.extend(without);
        Ok(config)
    }

    /// Serves until a signal.
    pub(crate) async fn run(self, config: Config) -> Result<(), Failure> {
        let parent = std::os::unix::process::parent_id();
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
        let temporary = if self.ephemeral { Some(temporary_directory()?) } else { None };
        let place = match &temporary {
            Some(directory) => Place::Directory(directory.path().to_owned()),
            None => self.store.place(&config)?,
        };
        let server = Server::start(&config, &place).await.map_err(start_failure)?;
        let accounts = if self.ephemeral {
            self.prepare(&server, config.limits.message.0).await?
        } else if self.no_demo {
            Vec::new()
        } else {
            let demo = server.admin.make_demo().await.map_err(|why| anyhow!(why))?;
            demo.map(|password| ("demo".to_owned(), password)).into_iter().collect()
        };
        tell(&welcome(&server, &place, &accounts, self.ephemeral));
        say(&if self.ready_json { ready_json(&server.ready) } else { ready(&server.ready) })?;
        let until = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = parent_gone(parent), if self.exit_with_parent => {}
            }
        };
        let broken = server.run(until).await?;
        if let Some(directory) = temporary {
            directory.close().context("the temporary directory cannot be removed")?;
        }
        match broken {
            None => Ok(()),
            Some(why) => Err(Failure::new(Exit::Restart, anyhow!(why))),
        }
    }

    /// Makes an ephemeral server's accounts and loads their mail.
    async fn prepare(&self, server: &Server, message_max: u64) -> Result<Vec<(String, String)>> {
        let given = self.account.iter().map(String::as_str);
        let given: Vec<_> =
            if self.account.is_empty() { vec!["test:test"] } else { given.collect() };
        let mut accounts = Vec::new();
        for account in given {
            let (name, password) = account
                .split_once(':')
                .with_context(|| format!("--account {account}: expected NAME:PASSWORD"))?;
            server.admin.make_account(name, password).await.map_err(|why| anyhow!(why))?;
            accounts.push((name.to_owned(), password.to_owned()));
        }
        if let (Some((user, _)), false) = (accounts.first(), self.load.is_empty()) {
            let control = Control::beside(Arc::clone(&server.admin))?;
            let quoting = Quoting::default();
            let tally = import(control, user, "INBOX", &self.load, quoting, message_max).await?;
            tell(&format!("{} messages loaded, {} skipped", tally.stored, tally.bad));
        }
        Ok(accounts)
    }
}

pub(super) fn temporary_directory() -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("highwater-")
        .tempdir()
        .context("a temporary directory cannot be made: check TMPDIR")
}

pub(super) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Store(error) => error.into(),
        StartError::Listen(error) => Failure::new(Exit::Listen, error),
        StartError::Other(error) => error.into(),
    }
}

/// Ready when this process has another parent than it had.
async fn parent_gone(parent: u32) {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while std::os::unix::process::parent_id() == parent {
        ticks.tick().await;
    }
}

fn ready(listeners: &[Ready]) -> String {
    listeners.iter().fold(String::from("ready"), |mut line, listener| {
        line.push_str(&format!(" {}={}", listener.name, listener.address));
        line
    })
}

fn ready_json(listeners: &[Ready]) -> String {
    let mut names = serde_json::Map::new();
    for listener in listeners {
        let addresses = names.entry(listener.name).or_insert_with(|| Vec::<String>::new().into());
        if let Some(addresses) = addresses.as_array_mut() {
            addresses.push(listener.address.clone().into());
        }
    }
    serde_json::json!({ "ready": names }).to_string()
}

/// How to connect, and what to try.
fn welcome(
    server: &Server,
    place: &Place,
    accounts: &[(String, String)],
    ephemeral: bool,
) -> String {
    let mut text = String::from("\n");
    // Writing to a String cannot fail.
    let _ = if ephemeral {
        writeln!(text, "Mail is kept in a temporary directory and is gone at the end.")
    } else {
        writeln!(text, "Mail is kept in {place}.")
    };
    for listener in &server.ready {
        let _ = writeln!(text, "  {:<6}{}", listener.name, listener.address);
    }
    let Some((name, password)) = accounts.first() else {
        if !ephemeral {
            text.push_str("`highwater user add NAME --generate-password` makes an account.\n");
        }
        return text;
    };
    if !ephemeral {
        let _ = writeln!(
            text,
            "\nThe account `{name}` was made, its password is\n\n  {password}\n\nIt is not shown again. \
             It may log in from this machine only; `highwater user passwd {name}` changes it."
        );
    }
    if let Some(imaps) = server.first("imaps") {
        let _ = writeln!(
            text,
            "\nTry it: speak IMAP yourself, line by line, and watch the mod-sequence.\n\n  \
             openssl s_client -quiet -crlf -connect {imaps}\n  \
             a LOGIN {name} {password}\n  \
             b APPEND INBOX {{19+}}\n  Subject: hi\n\n  hi\n\n  \
             c SELECT INBOX (CONDSTORE)\n  \
             d STORE 1 +FLAGS (\\Flagged)\n  \
             e STORE 1 (UNCHANGEDSINCE 1) FLAGS ($Claimed)\n\n\
             d answers with the message's new MODSEQ; e comes too late and is answered MODIFIED."
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_repeats_the_key_for_each_listener() {
        let listener = |name, address: &str| Ready { name, address: address.into() };
        let listeners = [
            listener("imap", "127.0.0.1:1"),
            listener("imap", "[::1]:1"),
            listener("lmtp", "unix:/l"),
        ];
        assert_eq!(ready(&listeners), "ready imap=127.0.0.1:1 imap=[::1]:1 lmtp=unix:/l");
        assert_eq!(
            ready_json(&listeners),
            r#"{"ready":{"imap":["127.0.0.1:1","[::1]:1"],"lmtp":["unix:/l"]}}"#
        );
    }
}
