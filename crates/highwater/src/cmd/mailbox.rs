//! `highwater mailbox`: mailboxes and their settings.

use clap::{Args, Subcommand, ValueEnum};

use super::acl::Acl;
use super::{Failure, OwnerArgs, StoreArgs, ask, ask_all, say};
use crate::config::Octets;
use crate::control::client::Missing;
use crate::control::protocol::{Entry, Listed, Reply, Request};

/// What to do with mailboxes. With a server running, the server does it; else the store is opened.
#[derive(Subcommand, Debug)]
pub(crate) enum Mailbox {
    /// Make a mailbox.
    Create(Create),
    /// Delete a mailbox with its messages; those below it stay.
    Delete(Delete),
    /// List mailboxes.
    List(List),
    /// Change a mailbox's settings.
    Configure(Configure),
    /// Say who may do what with a mailbox.
    #[command(subcommand)]
    Acl(Acl),
}

/// When a conditional STORE conflicts with somebody else's change.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Conflicts {
    /// When what it touches was changed: the flags named; any keyword, for keywords.
    Flag,
    /// When anything about the message was changed.
    Message,
}

/// Whose `\Seen` it is.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// Everybody's: what one has read, all have.
    Shared,
    /// Each user's own.
    Private,
}

/// `mailbox create`
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    /// Whether all have one `\Seen` together or each user one of their own.
    #[arg(long, value_enum, default_value_t = Seen::Shared)]
    seen: Seen,
    #[command(flatten)]
    store: StoreArgs,
}

/// `mailbox delete`
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// `mailbox list`
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    owner: OwnerArgs,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// `mailbox configure`
#[derive(Args, Debug)]
pub(crate) struct Configure {
    #[command(flatten)]
    owner: OwnerArgs,
    /// The mailbox, as LIST shows it to its owner.
    mailbox: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    store: StoreArgs,
}

/// What can be set.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Settings {
    /// When STORE (UNCHANGEDSINCE …) answers MODIFIED.
    #[arg(long)]
    conflicts: Option<Conflicts>,
    /// Whether all have one `\Seen` together or each user one of their own. Clients fetch the mailbox anew when
    /// this changes.
    #[arg(long)]
    seen: Option<Seen>,
}

impl Mailbox {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(Create { owner, mailbox, seen, store }) => {
                let (owner, private_seen) = (owner.owner(), seen == Seen::Private);
                let request = Request::MailboxCreate { owner, mailbox, private_seen };
                ask(&store, Missing::Refuse, request).await
            }
            Self::Delete(Delete { owner, mailbox, store }) => {
                let request = Request::MailboxDelete { owner: owner.owner(), mailbox };
                ask(&store, Missing::Refuse, request).await
            }
            Self::List(list) => list.run().await,
            Self::Configure(Configure { owner, mailbox, settings, store }) => {
                let request = Request::MailboxConfigure {
                    owner: owner.owner(),
                    mailbox,
                    conflicts_by_message: settings.conflicts.map(|c| c == Conflicts::Message),
                    private_seen: settings.seen.map(|seen| seen == Seen::Private),
                };
                ask(&store, Missing::Refuse, request).await
            }
            Self::Acl(acl) => acl.run().await,
        }
    }
}

/// A mailbox with its entries.
type WithEntries = (Listed, Vec<Entry>);

/// Asks for the mailboxes, or for one.
pub(super) async fn listed(
    store: &StoreArgs,
    owner: OwnerArgs,
    mailbox: Option<String>,
) -> Result<Vec<WithEntries>, Failure> {
    let mut all: Vec<WithEntries> = Vec::new();
    let request = Request::MailboxList { owner: owner.owner(), mailbox };
    for reply in ask_all(store, Missing::Refuse, request).await? {
        match (reply, all.last_mut()) {
            (Reply::Mailbox(mailbox), _) => all.push((mailbox, Vec::new())),
            (Reply::Entry(entry), Some((_, entries))) => entries.push(entry),
            _ => {}
        }
    }
    Ok(all)
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        for (mailbox, entries) in listed(&self.store, self.owner, None).await? {
            say(&if self.json { json(&mailbox, &entries) } else { line(&mailbox, &entries) })?;
        }
        Ok(())
    }
}

fn json(mailbox: &Listed, entries: &[Entry]) -> String {
    let value = serde_json::json!({
        "name": mailbox.name,
        "messages": mailbox.messages,
        "octets": mailbox.octets,
        "special_use": mailbox.special_use,
        "seen": if mailbox.private_seen { "private" } else { "shared" },
        "conflicts": if mailbox.conflicts_by_message { "message" } else { "flag" },
        "acl": entries,
    });
    value.to_string()
}

fn line(mailbox: &Listed, entries: &[Entry]) -> String {
    let Listed { name, messages, octets, .. } = mailbox;
    let mut notes = vec![format!("{messages} messages"), Octets(*octets).to_string()];
    notes.extend(mailbox.special_use.iter().cloned());
    notes.extend(mailbox.private_seen.then(|| "\\Seen private".to_owned()));
    notes.extend(mailbox.conflicts_by_message.then(|| "conflicts by message".to_owned()));
    notes.extend(entries.iter().map(|entry| format!("{} {}", entry.identifier, entry.rights)));
    format!("{name}  {}", notes.join(", "))
}
