//! `highwater mailbox`: settings of mailboxes.

use clap::{Args, Subcommand, ValueEnum};

use super::user::ask;
use super::{Failure, StoreArgs};
use crate::control::client::Missing;
use crate::control::protocol::Request;

/// What to do with mailboxes. With a server running, the server does it; else the store is opened.
#[derive(Subcommand, Debug)]
pub(crate) enum Mailbox {
    /// Change a mailbox's settings.
    Configure(Configure),
}

/// When a conditional STORE conflicts with somebody else's change.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Conflicts {
    /// When what it touches was changed: the flags named; any keyword, for keywords.
    Flag,
    /// When anything about the message was changed.
    Message,
}

/// `mailbox configure`
#[derive(Args, Debug)]
pub(crate) struct Configure {
    /// Whose mailbox.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The mailbox, as LIST shows it.
    mailbox: String,
    /// When STORE (UNCHANGEDSINCE …) answers MODIFIED.
    #[arg(long)]
    conflicts: Conflicts,
    #[command(flatten)]
    store: StoreArgs,
}

impl Mailbox {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Self::Configure(Configure { user, mailbox, conflicts, store }) = self;
        let conflicts_by_message = conflicts == Conflicts::Message;
        let request = Request::MailboxConfigure { user, mailbox, conflicts_by_message };
        ask(&store, Missing::Refuse, request).await
    }
}
