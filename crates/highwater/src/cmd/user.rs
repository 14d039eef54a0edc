//! `highwater user`: accounts.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Failure, NONE, StoreArgs, ask, ask_all, say};
use crate::auth::credentials::generate_password;
use crate::control::client::Missing;
use crate::control::protocol::{Reply, Request};

/// What to do with accounts. With a server running, the server does it; else the store is opened.
#[derive(Subcommand, Debug)]
#[command(
    after_help = "A password is never given on the command line, where others could read it."
)]
pub(crate) enum User {
    /// Add accounts.
    Add(Add),
    /// List all accounts.
    List(List),
    /// Give an account a new password.
    Passwd(Passwd),
    /// Change an account's settings; who is logged in must log in again.
    Configure(Configure),
    /// Delete accounts with all their mail.
    Delete(Names),
    /// Shut accounts out: no login, no delivery. Their mail stays.
    Disable(Names),
    /// Let accounts in again.
    Enable(Names),
}

/// Where passwords come from.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Password {
    /// Read passwords from standard input: one line for each NAME, in their order.
    #[arg(long)]
    password_stdin: bool,
    /// Make a password for each NAME and print it.
    #[arg(long)]
    generate_password: bool,
}

/// `user add`
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// Names, such as ada or ada@example.org.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    store: StoreArgs,
}

/// `user passwd`
#[derive(Args, Debug)]
pub(crate) struct Passwd {
    /// Whose password.
    name: String,
    #[command(flatten)]
    password: Password,
    #[command(flatten)]
    store: StoreArgs,
}

/// `user configure`
#[derive(Args, Debug)]
pub(crate) struct Configure {
    /// Whose settings.
    name: String,
    /// Capabilities that this account is not offered, with commas between them; `none` for none.
    #[arg(long, required = true, value_delimiter = ',', value_name = "CAPABILITY")]
    without: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// `user list`
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Commands that take names only.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Names of accounts.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

impl User {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(add) => {
                let passwords = add.password.read(add.names.len())?;
                for (name, password) in add.names.into_iter().zip(passwords) {
                    let shown = add.password.generate_password.then(|| password.clone());
                    ask(
                        &add.store,
                        Missing::Make,
                        Request::UserAdd { name: name.clone(), password },
                    )
                    .await?;
                    show_password(&name, shown)?;
                }
                Ok(())
            }
            Self::Passwd(passwd) => {
                let name = passwd.name;
                for password in passwd.password.read(1)? {
                    let shown = passwd.password.generate_password.then(|| password.clone());
                    let request = Request::UserPasswd { name: name.clone(), password };
                    ask(&passwd.store, Missing::Refuse, request).await?;
                    show_password(&name, shown)?;
                }
                Ok(())
            }
            Self::Configure(Configure { name, mut without, store }) => {
                without.retain(|capability| !capability.eq_ignore_ascii_case(NONE));
                ask(&store, Missing::Refuse, Request::UserConfigure { name, without }).await
            }
            Self::List(list) => list.run().await,
            Self::Delete(names) => names.run(|name| Request::UserDelete { name }).await,
            Self::Disable(names) => {
                names.run(|name| Request::UserDisable { name, disabled: true }).await
            }
            Self::Enable(names) => {
                names.run(|name| Request::UserDisable { name, disabled: false }).await
            }
        }
    }
}

fn show_password(name: &str, password: Option<String>) -> Result<(), Failure> {
    password.map_or(Ok(()), |password| say(&format!("{name} {password}")))
}

impl Password {
    /// A password for each of so many names.
    fn read(&self, count: usize) -> Result<Vec<String>, Failure> {
        if self.generate_password {
            let made = (0..count).map(|_| generate_password()).collect::<Result<_, _>>();
            return Ok(made.context("no password can be made")?);
        }
        let lines = std::io::stdin()
            .lock()
            .lines()
            .take(count)
            .collect::<Result<Vec<_>, _>>()
            .context("standard input cannot be read as UTF-8")?;
        if lines.len() < count {
            let why = anyhow::anyhow!(
                "{count} passwords are needed, {} came: give one line for each NAME",
                lines.len()
            );
            return Err(why.into());
        }
        Ok(lines)
    }
}

impl Names {
    async fn run(self, request: impl Fn(String) -> Request) -> Result<(), Failure> {
        for name in self.names {
            ask(&self.store, Missing::Refuse, request(name)).await?;
        }
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        for reply in ask_all(&self.store, Missing::Refuse, Request::UserList).await? {
            let Reply::User { name, disabled, loopback_only, without } = reply else { continue };
            if self.json {
                let account = serde_json::json!({
                    "name": name, "disabled": disabled, "loopback_only": loopback_only, "without": without,
                });
                say(&account.to_string())?;
                continue;
            }
            let notes = match (disabled, loopback_only) {
                (true, _) => "  (disabled)",
                (false, true) => "  (from this machine only)",
                (false, false) => "",
            };
            let without = match without.join(", ") {
                names if names.is_empty() => names,
                names => format!("  (without {names})"),
            };
            say(&format!("{name}{notes}{without}"))?;
        }
        Ok(())
    }
}
