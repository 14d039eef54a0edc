//! `highwater group`: users who get rights together.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use super::{Failure, StoreArgs, ask, ask_all, say};
use crate::control::client::Missing;
use crate::control::protocol::{Reply, Request};

/// What to do with groups. An entry for $GROUP in an access control list is about all members of the group.
#[derive(Subcommand, Debug)]
pub(crate) enum Group {
    /// Put users into a group; the first makes it.
    Add(Members),
    /// Take users out of a group; it ends with the last. Entries for it stay in access control lists.
    Remove(Members),
    /// List all groups with their members.
    List(List),
}

/// `group add` and `group remove`
#[derive(Args, Debug)]
pub(crate) struct Members {
    /// The group, without $.
    group: String,
    /// Names of accounts.
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// `group list`
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Group {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(members) => members.run(true).await,
            Self::Remove(members) => members.run(false).await,
            Self::List(list) => list.run().await,
        }
    }
}

impl Members {
    async fn run(self, member: bool) -> Result<(), Failure> {
        for user in self.users {
            let request = Request::GroupMember { group: self.group.clone(), user, member };
            ask(&self.store, Missing::Refuse, request).await?;
        }
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for reply in ask_all(&self.store, Missing::Refuse, Request::GroupList).await? {
            if let Reply::Member { group, user } = reply {
                groups.entry(group).or_default().push(user);
            }
        }
        for (group, members) in groups {
            say(&if self.json {
                serde_json::json!({ "group": group, "members": members }).to_string()
            } else {
                format!("{group}: {}", members.join(" "))
            })?;
        }
        Ok(())
    }
}
