//! `highwater demo`: in some seconds, what this is good for, on a server of its own that is gone afterwards.
//!
//! Two parts: a mailbox as a queue whose workers die, and a mailbox of many messages that is caught up with. What is
//! printed was counted, not assumed: a job that was acknowledged twice or never ends it with an error.

mod jobs;
mod resync;

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use client::imap::command::Secret;
use client::{Connection, Credentials, Options, Place};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Failure;
use super::serve::{start_failure, temporary_directory};
use crate::config::{Config, ListenAddress};
use crate::place;
use crate::server::Server;

const USER: &str = "demo";
const PASSWORD: &str = "only-for-these-seconds";

/// Shows a queue that loses no job and a resync that costs what changed, on a server of its own.
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing is left behind: the server, its mail and its account end with the command."
)]
pub(crate) struct Demo {
    /// Jobs to put into the queue.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    jobs: u32,
    /// Workers that race for them; three of them are cut off on the way.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(4..=200))]
    workers: u32,
    /// Messages in the mailbox that is caught up with.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    messages: u32,
}

impl Demo {
    /// Shows it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let directory = temporary_directory()?;
        let mut config = Config::default();
        config.listen.imap = vec![ListenAddress::Tcp(([127, 0, 0, 1], 0).into())];
        (config.listen.imaps, config.listen.lmtp) = (Vec::new(), Vec::new());
        let server = Server::start(&config, &place::Place::Directory(directory.path().into()))
            .await
            .map_err(start_failure)?;
        server.admin.make_account(USER, PASSWORD).await.map_err(|why| anyhow!(why))?;
        let address = server.first("imap").context("the server does not listen")?.to_owned();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async move {
            let _ = ended.await;
        }));
        let shown = self.show(&Reach::new(&address)?).await;
        let _ = end.send(());
        serving.await.context("the server fell")??;
        directory.close().context("the temporary directory cannot be removed")?;
        Ok(shown?)
    }

    async fn show(&self, reach: &Reach) -> Result<()> {
        line(&format!(
            "A server in a temporary directory, at {}, every change synced.",
            reach.address
        ))?;
        line("")?;
        jobs::show(reach, self.jobs, self.workers).await?;
        line("")?;
        resync::show(reach, self.messages).await
    }
}

/// How the demo's clients reach its server.
#[derive(Clone)]
struct Reach {
    address: String,
    place: Place,
    credentials: Credentials,
    options: Options,
}

impl Reach {
    fn new(address: &str) -> Result<Self> {
        let place = format!("imap://{address}/").parse::<Place>()?;
        let password = Secret(PASSWORD.as_bytes().to_vec());
        let credentials = Credentials::Password { user: USER.into(), password };
        let patience = std::time::Duration::from_mins(1);
        let options = Options::new(None).with_patience(patience);
        Ok(Self { address: address.to_owned(), place, credentials, options })
    }

    async fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(&self.place, &self.credentials, &self.options).await?)
    }
}

/// One line of the story.
fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")
}

/// A bar on a terminal; nothing in a pipe, where the lines are enough.
fn bar(length: u32, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(length));
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("  {msg:<24} {bar:40} {pos}/{len} {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

/// Seconds since then, for people.
fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

/// 12345678 as 12,345,678.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Ends the demo when what it shows does not hold.
fn must(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { bail!("this did not hold, please report it: {what}") }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
    }
}
