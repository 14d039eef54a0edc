//! `highwater migrate`: mail from a directory into a database, or back.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use store::migrate::{Moved, migrate};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::store::{DatabaseArgs, known, location};
use super::{Exit, Failure, say, tell};
use crate::config::{Config, Octets};
use crate::place::{Location, OpenStore, Place, Use, holds_mail, mark};

/// Brings accounts from one place to another: a directory to PostgreSQL, or back.
///
/// Everything keeps its numbers: UIDVALIDITY, UIDs, mod-sequences, and which messages were expunged when. Clients that were
/// synchronized with the one place resynchronize exactly with the other. No server may run on either place meanwhile. A
/// migration that ended early is run again with the same words and goes on; what has come and is whole is compared and
/// left alone.
#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Where mail is: a directory, or postgres://USER@HOST/DATABASE.
    #[arg(long, value_name = "DIR|URL", value_parser = location)]
    from: Location,
    /// Where it is to be; made if it is not there.
    #[arg(long, value_name = "DIR|URL", value_parser = location)]
    to: Location,
    /// Only this account, without groups and shared mailboxes; can be repeated.
    #[arg(long, value_name = "NAME")]
    account: Vec<String>,
    /// Read store.password_file, store.bodies and what else is said about the database from this file.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl Migrate {
    /// Brings it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.check()?;
        let from = self.open(&self.from)?;
        let done = match self.open(&self.to) {
            Ok(to) => {
                let moved = self.bring(&from, &to);
                let alone = alone(&from, &self.from).and_then(|()| alone(&to, &self.to));
                to.close().await?;
                moved.and_then(|moved| alone.map(|()| moved))
            }
            Err(failure) => Err(failure),
        };
        from.close().await?;
        let moved = done?;
        say(&format!(
            "{} accounts with {} mailboxes and {} messages are in {} ({} copied, {} accounts were there already)",
            moved.accounts,
            moved.mailboxes,
            moved.messages,
            self.to,
            Octets(moved.octets),
            moved.accounts_there
        ))
    }

    /// Refuses what cannot be meant, before anything is made.
    fn check(&self) -> Result<(), Failure> {
        known(&self.from)?;
        known(&self.to)?;
        let (from, to) = (self.from.to_string(), self.to.to_string());
        let (from, to) = (Path::new(&from), Path::new(&to));
        let path = |location: &Location, path: &Path| match location.is_database() {
            true => path.to_owned(),
            false => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
        };
        if path(&self.from, from) == path(&self.to, to) {
            return Err(wrong("--from and --to name the same place: name two"));
        }
        if !self.from.is_database() && !from.is_dir() {
            return Err(wrong(&format!("there is no directory {}: check --from", self.from)));
        }
        if !self.from.is_database() && mark(from).is_none() && !holds_mail(from) {
            return Err(wrong(&format!(
                "there is no mail in directory {}: check --from",
                self.from
            )));
        }
        Ok(())
    }

    fn open(&self, location: &Location) -> Result<OpenStore, Failure> {
        let place = self.place(location)?;
        let opened = block_in_place(|| OpenStore::open(&place, Use::Command, None));
        let opened = opened.map_err(|error| Failure::from(anyhow::Error::from(error)))?;
        alone(&opened, location)?;
        Ok(opened)
    }

    fn place(&self, location: &Location) -> Result<Place, Failure> {
        if !location.is_database() {
            return Ok(Place::Directory(location.to_string().into()));
        }
        let config = match &self.config {
            None => Config::default(),
            Some(file) => {
                Config::read(file).map_err(|error| Failure::new(Exit::Config, error.into()))?
            }
        };
        self.database.of(location.clone(), &config.store).map(Place::Database)
    }

    fn bring(&self, from: &OpenStore, to: &OpenStore) -> Result<Moved, Failure> {
        let mut progress = Progress::begin();
        let mut show = |name: &str, moved: &Moved| progress.show(name, moved);
        let runtime = Handle::current();
        let mut renew = |id| {
            if let Err(error) = runtime.block_on(from.store.mailbox(id)) {
                tracing::warn!(%error, "a mailbox that awaits a new UIDVALIDITY did not get it");
            }
        };
        let now = from.store.now();
        let moved = block_in_place(|| {
            migrate(from.side(), to.side(), &self.account, now, &mut show, &mut renew)
        });
        progress.bar.finish_and_clear();
        let again = "what has come stays; once this is mended, the same command goes on";
        Ok(moved.map_err(|error| anyhow::Error::from(error).context(again))?)
    }
}

fn wrong(why: &str) -> Failure {
    Failure::new(Exit::CannotRun, anyhow!("{why}"))
}

/// Refuses a place where somebody else may write.
fn alone(opened: &OpenStore, location: &Location) -> Result<(), Failure> {
    let others = block_in_place(|| opened.other_nodes()).context("asking for other nodes")?;
    if others == 0 {
        return Ok(());
    }
    let why = anyhow!(
        "{others} other nodes or commands are connected to {location}: stop them, so that nothing is changed while mail is \
         copied, and migrate again"
    );
    Err(Failure::new(Exit::Store, why))
}

/// How far it has come: a line that is written over where a person looks on, else one now and then.
struct Progress {
    bar: ProgressBar,
    is_watched: bool,
    last: Instant,
}

impl Progress {
    const BETWEEN: Duration = Duration::from_secs(10);

    fn begin() -> Self {
        let is_watched = std::io::stderr().is_terminal();
        let target = match is_watched {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let bar = bar.with_style(ProgressStyle::default_spinner());
        Self { bar, is_watched, last: Instant::now() }
    }

    fn show(&mut self, name: &str, moved: &Moved) {
        let line = format!(
            "{name}: {} accounts, {} mailboxes, {} messages, {} so far",
            moved.accounts,
            moved.mailboxes,
            moved.messages,
            Octets(moved.octets)
        );
        if self.is_watched {
            self.bar.set_message(line);
            self.bar.tick();
        } else if self.last.elapsed() >= Self::BETWEEN {
            tell(&line);
            self.last = Instant::now();
        }
    }
}
