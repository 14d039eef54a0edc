//! `highwater mailbox acl`: who may do what with a mailbox.

use clap::{Args, Subcommand};

use super::mailbox::listed;
use super::{Failure, OwnerArgs, StoreArgs, ask, say};
use crate::control::client::Missing;
use crate::control::protocol::Request;

/// What to do with a mailbox's access control list. Its owner has every right without an entry.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "IDENTIFIER is a user, a group as '$NAME' (quoted, or the shell takes it for its own), or \
                  `anyone`.\nWith - before it the entry takes rights away, whatever else gives them.\n\n\
                  RIGHTS are letters (RFC 4314): l list, r read, s keep \\Seen, w change other flags, i insert,\n\
                  p take mail by LMTP (for `anyone`), k create below, x delete the mailbox, t mark messages as\n\
                  \\Deleted, e expunge, a administer. They replace what there was; +w adds, -w removes."
)]
pub(crate) enum Acl {
    /// Show the entries.
    Show(Show),
    /// Give or take rights.
    Set(Set),
    /// Remove an entry.
    Delete(Delete),
}

/// `mailbox acl show`
#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// `mailbox acl set`
#[derive(Args, Debug)]
pub(crate) struct Set {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    /// Whom the entry is about.
    #[arg(allow_hyphen_values = true)]
    identifier: String,
    /// Letters out of lrswipkxtea, with + or - before them to change what there was.
    #[arg(allow_hyphen_values = true)]
    rights: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// `mailbox acl delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    /// Whom the entry is about.
    #[arg(allow_hyphen_values = true)]
    identifier: String,
    #[command(flatten)]
    store: StoreArgs,
}

impl Acl {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(show) => show.run().await,
            Self::Set(Set { owner, mailbox, identifier, rights, store }) => {
                let (owner, rights) = (owner.owner(), Some(rights));
                let request = Request::MailboxSetAcl { owner, mailbox, identifier, rights };
                ask(&store, Missing::Refuse, request).await
            }
            Self::Delete(Delete { owner, mailbox, identifier, store }) => {
                let (owner, rights) = (owner.owner(), None);
                let request = Request::MailboxSetAcl { owner, mailbox, identifier, rights };
                ask(&store, Missing::Refuse, request).await
            }
        }
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let all = listed(&self.store, self.owner, Some(self.mailbox)).await?;
        for entry in all.iter().flat_map(|(_, entries)| entries) {
            say(&if self.json {
                serde_json::json!(entry).to_string()
            } else {
                format!("{} {}", entry.identifier, entry.rights)
            })?;
        }
        Ok(())
    }
}
