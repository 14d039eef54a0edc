//! `highwater quota`: what accounts may store.
//!
//! # Standards
//! RFC 9208 §5 (STORAGE, MESSAGE, MAILBOX).

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Failure, NONE, StoreArgs, ask, ask_all, say};
use crate::config::Octets;
use crate::control::client::Missing;
use crate::control::protocol::{Limit, Owner, Reply, Request, Used};

/// The greatest limit that IMAP can say (RFC 9208 §4.2.1).
const LIMIT_MAX: u64 = i64::MAX as u64;

/// What to do with limits. Those of a user are for all the user's mailboxes together.
#[derive(Subcommand, Debug)]
pub(crate) enum Quota {
    /// Set limits; those that are not named stay as they are.
    Set(Set),
    /// Show what is used and what may be.
    Show(Show),
}

/// `quota set`
#[derive(Args, Debug)]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    store: StoreArgs,
}

/// Whose limits.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Whose {
    /// An account.
    user: Option<String>,
    /// All mailboxes below `Shared/` together.
    #[arg(long)]
    shared: bool,
}

/// The limits.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Limits {
    /// Octets of all messages, such as 10G, 500M or 1024K; or none.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    storage: Option<Limit>,
    /// How many messages; or none.
    #[arg(long, value_name = "N", value_parser = count)]
    messages: Option<Limit>,
    /// How many mailboxes, INBOX included; or none.
    #[arg(long, value_name = "N", value_parser = count)]
    mailboxes: Option<Limit>,
}

/// `quota show`
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// An account; all without it.
    #[arg(conflicts_with = "shared")]
    user: Option<String>,
    /// The mailboxes below `Shared/`.
    #[arg(long)]
    shared: bool,
    /// Print one JSON object a line; storage is in octets.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

fn size(text: &str) -> Result<Limit, String> {
    if text == NONE {
        return Ok(Limit::None);
    }
    let Octets(octets) = text.parse()?;
    within(octets)
}

fn count(text: &str) -> Result<Limit, String> {
    if text == NONE {
        return Ok(Limit::None);
    }
    within(text.parse().map_err(|_| format!("expected a number or `{NONE}`"))?)
}

fn within(limit: u64) -> Result<Limit, String> {
    let too_much = || format!("expected at most {LIMIT_MAX}, or `{NONE}`");
    (limit <= LIMIT_MAX).then_some(Limit::AtMost(limit)).ok_or_else(too_much)
}

impl Quota {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Set(Set { whose, limits, store }) => {
                let owner = whose.user.map_or(Owner::Shared, Owner::User);
                let Limits { storage: octets, messages, mailboxes } = limits;
                let request = Request::QuotaSet { owner, octets, messages, mailboxes };
                ask(&store, Missing::Refuse, request).await
            }
            Self::Show(show) => show.run().await,
        }
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let owner = self.user.map(Owner::User).or(self.shared.then_some(Owner::Shared));
        let replies = ask_all(&self.store, Missing::Refuse, Request::QuotaShow { owner }).await?;
        for reply in replies {
            let Reply::Quota { owner, octets, messages, mailboxes } = reply else { continue };
            let name = match owner {
                // No account has a name with a slash in it.
                Owner::Shared => "Shared/".to_owned(),
                Owner::User(name) => name,
            };
            say(&if self.json {
                let quota = serde_json::json!({
                    "account": name, "storage": octets, "messages": messages, "mailboxes": mailboxes,
                });
                quota.to_string()
            } else {
                let storage = line("storage", octets, |n| Octets(n).to_string());
                let messages = line("messages", messages, |n| n.to_string());
                let mailboxes = line("mailboxes", mailboxes, |n| n.to_string());
                format!("{name}  {storage}, {messages}, {mailboxes}")
            })?;
        }
        Ok(())
    }
}

fn line(what: &str, Used { used, limit }: Used, shown: impl Fn(u64) -> String) -> String {
    let of = limit.map_or_else(String::new, |limit| format!(" of {}", shown(limit)));
    format!("{what} {}{of}", shown(used))
}
