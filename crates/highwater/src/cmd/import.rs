//! `highwater import`: mail from mbox files and Maildirs.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::io::{AsyncWriteExt as _, BufStream, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::task::block_in_place;

use super::{Exit, Failure, StoreArgs, say, tell};
use crate::control::client::{Control, Missing};
use crate::control::protocol::{Item, Reply, Request, receive, send};
use crate::control::{hex, key};
use crate::mail::mbox::Quoting;
use crate::mail::{FiledMessage, Source};
use crate::place::Place;

/// How many messages back a refusal still finds the position of its message.
const POSITIONS_MAX: usize = 4096;

/// Takes mail from mbox files and Maildirs (Maildir++ and nested folders too) with flags, keywords and
/// dates. Repeated or interrupted, it takes no message twice.
#[derive(Args, Debug)]
#[command(
    after_help = "A file is read as mbox, a directory as Maildir. Folders below PATH become \
                        mailboxes below MBOX, or beside INBOX.\nA message that cannot be taken is \
                        reported with its position and skipped; then the exit code is 5."
)]
pub(crate) struct Import {
    /// Whose mail it becomes.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The mailbox to take it into; made if it is not there.
    #[arg(long, value_name = "MBOX", default_value = "INBOX")]
    mailbox: String,
    /// How lines that begin with From are quoted in mbox files.
    #[arg(long, value_enum, default_value_t)]
    quoting: Quoting,
    /// mbox files and Maildirs.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Tally {
    /// Messages stored now.
    pub(super) stored: u64,
    /// Messages that an earlier run stored.
    pub(super) present: u64,
    /// Messages that could not be taken.
    pub(super) bad: u64,
}

impl Import {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let config = self.store.config()?;
        let place = self.store.place(&config)?;
        let tally = self.import(&place, config.limits.message.0).await?;
        say(&format!(
            "{} messages taken, {} were there already, {} could not be taken",
            tally.stored, tally.present, tally.bad
        ))?;
        if tally.bad > 0 {
            let why = anyhow!("{} messages were skipped, see above", tally.bad);
            return Err(Failure::new(Exit::Part, why));
        }
        Ok(())
    }

    async fn import(&self, place: &Place, message_max: u64) -> Result<Tally> {
        let control = Control::open(place, Missing::Refuse).await?;
        import(control, &self.user, &self.mailbox, &self.paths, self.quoting, message_max).await
    }
}

/// Sends every message of these paths over the control connection.
pub(super) async fn import(
    mut control: Control,
    user: &str,
    mailbox: &str,
    paths: &[PathBuf],
    quoting: Quoting,
    message_max: u64,
) -> Result<Tally> {
    let mut sources = VecDeque::new();
    let mut bad = 0;
    for path in paths {
        match block_in_place(|| Source::open(path, quoting, message_max)) {
            Ok(source) => sources.push_back(source),
            Err(error) => {
                tell(&format!("skipped {error}"));
                bad += 1;
            }
        }
    }
    let progress = progress(sources.iter().map(Source::len).sum());
    control.ask(&Request::Import { user: user.to_owned() }).await?;
    let (replies, requests) = tokio::io::split(&mut control.stream);
    let positions = Positions::default();
    let write = write(requests, sources, mailbox, &positions, &progress);
    let read = read(replies, &positions, &progress);
    let (unreadable, tally) = tokio::join!(write, read);
    progress.finish_and_clear();
    // The reader knows better why a writer failed: the server said so before it hung up.
    let mut tally = tally?;
    tally.bad += bad + unreadable?;
    control.close().await?;
    Ok(tally)
}

fn progress(octets: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(octets), target);
    match ProgressStyle::with_template(
        "{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Where the last messages stood that were sent, by their number.
#[derive(Default)]
struct Positions(Mutex<(u64, VecDeque<String>)>);

impl Positions {
    fn push(&self, position: String) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.push_back(position);
        if inner.1.len() > POSITIONS_MAX {
            inner.1.pop_front();
            inner.0 += 1;
        }
    }

    fn find(&self, index: u64) -> String {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = index.checked_sub(inner.0).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| inner.1.get(at)).map_or_else(|| format!("message {index}"), Clone::clone)
    }
}

type Connection<'a> = &'a mut BufStream<UnixStream>;

/// Sends the messages; answers how many could not be read.
async fn write(
    mut requests: WriteHalf<Connection<'_>>,
    mut sources: VecDeque<Source>,
    mailbox: &str,
    positions: &Positions,
    progress: &ProgressBar,
) -> Result<u64> {
    let (mut bad, mut before) = (0, 0);
    while let Some(source) = sources.front_mut() {
        let Some(message) = block_in_place(|| source.next_message()) else {
            before += source.len();
            sources.pop_front();
            continue;
        };
        progress.set_position(before + source.done());
        match message {
            Ok(message) => {
                let item = item(&message, mailbox);
                positions.push(message.position);
                send(&mut requests, &item).await?;
                requests.write_all(&message.octets).await?;
            }
            Err(error) => {
                progress.suspend(|| tell(&format!("skipped {error}")));
                bad += 1;
            }
        }
    }
    send(&mut requests, &Item::End).await?;
    requests.flush().await?;
    Ok(bad)
}

fn item(message: &FiledMessage, mailbox: &str) -> Item {
    let name = match (message.folder.as_str(), mailbox) {
        ("", root) => root.to_owned(),
        // Folders of a Maildir stand beside its inbox, not below it.
        (folder, root) if root.eq_ignore_ascii_case("INBOX") => folder.to_owned(),
        (folder, root) => format!("{root}/{folder}"),
    };
    Item::Message {
        mailbox: name,
        flags: message.flags.clone(),
        date: message.date.map(Into::into),
        size: message.octets.len() as u64,
        key: hex(&key(&[message.position.as_bytes(), &message.octets])),
    }
}

/// Hears what came of the messages.
async fn read(
    mut replies: ReadHalf<Connection<'_>>,
    positions: &Positions,
    progress: &ProgressBar,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut replies = tokio::io::BufReader::new(&mut replies);
    loop {
        match receive::<Reply>(&mut replies).await.context("the reply cannot be read")? {
            Some(Reply::Taken { stored, present }) => {
                tally.stored += stored;
                tally.present += present;
            }
            Some(Reply::Refused { index, why }) => {
                let position = positions.find(index);
                progress.suspend(|| tell(&format!("skipped {position}: {why}")));
                tally.bad += 1;
            }
            Some(Reply::Done) => return Ok(tally),
            Some(Reply::Failed { why }) => bail!(why),
            Some(_) => bail!("the server answered something else: is it of another version?"),
            None => bail!("the server ended the conversation: see its log, and import again"),
        }
    }
}
