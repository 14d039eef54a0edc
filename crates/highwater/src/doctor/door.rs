//! The scratch mailboxes of a run: made, removed, and on which server.
//!
//! # Invariants
//! - Nothing is touched but mailboxes whose name was drawn for this run, and those go whatever happens.

use std::time::Duration;

use client::{Connection, Error};
use imap::command::{CommandBody, IdField, MailboxName};
use imap::response::Response;

use crate::remote::Door;

/// How often the removal of the scratch mailboxes is tried.
const REMOVALS_MAX: u32 = 5;
/// How long it waits before it is tried again.
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);

/// The mailboxes of this run.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// Where messages are claimed.
    pub(super) mailbox: String,
    /// Where messages are moved.
    pub(super) moved: String,
}

impl Scratch {
    /// Names that nobody has, in the user's own namespace.
    pub(super) async fn name(control: &mut Connection, random: u64) -> Result<Self, Error> {
        let mut prefix = String::new();
        if control.has("NAMESPACE") {
            for response in control.run(CommandBody::Namespace).await?.untagged {
                if let Response::Namespace(namespaces) = response {
                    prefix = namespaces.personal.first().map_or(prefix, |own| own.prefix.clone());
                }
            }
        }
        let mailbox = format!("{prefix}highwater-doctor-{random:016x}");
        Ok(Self { moved: format!("{mailbox}-moved"), mailbox })
    }

    /// Makes them.
    pub(super) async fn make(&self, control: &mut Connection) -> Result<(), Error> {
        for mailbox in [&self.mailbox, &self.moved] {
            let mailbox = MailboxName(mailbox.clone());
            control.run(CommandBody::Create { mailbox, special_use: None }).await?;
        }
        Ok(())
    }

    /// Removes them over a connection of its own: any other may be in the middle of something.
    pub(super) async fn remove(&self, door: &Door) -> Result<(), Error> {
        for _ in 1..REMOVALS_MAX {
            match self.try_remove(door).await {
                Ok(()) => return Ok(()),
                // A server may need a moment to notice that the others are gone.
                Err(_) => tokio::time::sleep(REMOVAL_PAUSE).await,
            }
        }
        self.try_remove(door).await
    }

    async fn try_remove(&self, door: &Door) -> Result<(), Error> {
        let mut connection = door.connect().await?;
        let mut done = Ok(());
        for mailbox in [&self.mailbox, &self.moved] {
            let answer = connection.run(CommandBody::Delete(MailboxName(mailbox.clone()))).await;
            if let Err(error) = answer
                && is_there(&mut connection, mailbox).await?
            {
                done = Err(error);
            }
        }
        connection.close().await;
        done
    }
}

async fn is_there(connection: &mut Connection, mailbox: &str) -> Result<bool, Error> {
    let list = imap::command::List {
        reference: String::new(),
        patterns: vec![mailbox.to_owned()],
        select: Vec::new(),
        returns: Vec::new(),
        extended: false,
    };
    let answer = connection.run(CommandBody::List(list)).await?;
    Ok(answer
        .untagged
        .iter()
        .any(|response| matches!(response, Response::List(entry) if entry.name.0 == mailbox)))
}

/// What the server says of itself.
pub(super) async fn identity(control: &mut Connection) -> Result<String, Error> {
    if !control.has("ID") {
        return Ok("says nothing of itself (no ID)".to_owned());
    }
    let answer = control.ask(CommandBody::Id(None)).await?;
    let fields = answer.untagged.into_iter().find_map(|response| match response {
        Response::Id(fields) => fields,
        _ => None,
    });
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let shown =
        |(field, value): IdField| value.map(|value| format!("{}={}", text(&field), text(&value)));
    let shown: Vec<String> = fields.unwrap_or_default().into_iter().filter_map(shown).collect();
    Ok(if shown.is_empty() { "says nothing of itself (ID)".to_owned() } else { shown.join(" ") })
}
