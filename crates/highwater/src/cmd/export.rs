//! `highwater export`: an account's mail into files.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::task::block_in_place;

use super::{Failure, StoreArgs, say, tell};
use crate::control::client::{Control, Missing};
use crate::control::protocol::{Reply, Request};
use crate::mail::write::{Exported, Exporter, Format};
use crate::place::Place;

/// Writes an account's mail into mbox files or a Maildir++, with flags, keywords and dates.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Whose mail.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// One mailbox; all without it.
    #[arg(long, value_name = "MBOX")]
    mailbox: Option<String>,
    /// One file per mailbox, or one per message.
    #[arg(long, value_enum)]
    format: Format,
    /// A directory that is new or empty.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

impl Export {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let place = self.store.place(&self.store.config()?)?;
        let (count, keywords_lost) = self.export(&place).await?;
        if keywords_lost > 0 {
            tell(&format!(
                "{keywords_lost} keywords were left out: a Maildir folder has room for 26 different ones"
            ));
        }
        say(&format!("{count} messages written to {}", self.path.display()))
    }

    async fn export(&self, place: &Place) -> Result<(u64, u64)> {
        let mut control = Control::open(place, Missing::Refuse).await?;
        let mut exporter = block_in_place(|| Exporter::create(self.format, &self.path))?;
        control
            .ask(&Request::Export { user: self.user.clone(), mailbox: self.mailbox.clone() })
            .await?;
        let mut count = 0;
        let mut octets = Vec::new();
        while let Some(reply) = control.reply().await? {
            let Reply::Message { mailbox, uid, flags, date, size } = reply else { continue };
            octets.clear();
            let read = (&mut control.stream).take(size).read_to_end(&mut octets).await?;
            if read as u64 != size {
                anyhow::bail!("the server ended the conversation in the middle of a message");
            }
            let message = Exported {
                mailbox: &mailbox,
                uid,
                flags: &flags,
                date: date.into(),
                octets: &octets,
            };
            block_in_place(|| exporter.write(&message))?;
            count += 1;
        }
        let keywords_lost = exporter.keywords_lost;
        block_in_place(|| exporter.finish()).context("the files cannot be finished")?;
        control.close().await?;
        Ok((count, keywords_lost))
    }
}
