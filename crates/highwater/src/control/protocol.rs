//! What is said over the control socket: JSON, one value a line, and after some lines a message's octets.
//!
//! # Invariants
//! - A line is at most [`LINE_MAX`] octets; a longer one ends the conversation.
//! - Octets follow only a line that says how many.

use std::io;

use imap::command::DateTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};

/// The longest line.
pub(crate) const LINE_MAX: u64 = 64 * 1024;
/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "control";

/// What a client asks for; one a connection.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Makes an account.
    UserAdd {
        /// Its name.
        name: String,
        /// Its password.
        password: String,
    },
    /// Gives an account a new password.
    UserPasswd {
        /// Its name.
        name: String,
        /// Its new password.
        password: String,
    },
    /// Deletes an account with all its mail.
    UserDelete {
        /// Its name.
        name: String,
    },
    /// Lets an account in, or no longer.
    UserDisable {
        /// Its name.
        name: String,
        /// Whether it is to be shut out.
        disabled: bool,
    },
    /// Switches capabilities off for an account.
    UserConfigure {
        /// Its name.
        name: String,
        /// These, and no others.
        without: Vec<String>,
    },
    /// Lists all accounts: a [`Reply::User`] each.
    UserList,
    /// Makes a mailbox.
    MailboxCreate {
        /// Whose mailbox.
        owner: Owner,
        /// Its name.
        mailbox: String,
        /// Whether each user has a `\Seen` of their own.
        private_seen: bool,
    },
    /// Deletes a mailbox with its messages.
    MailboxDelete {
        /// Whose mailbox.
        owner: Owner,
        /// Its name.
        mailbox: String,
    },
    /// Changes a mailbox's settings; what is not named stays.
    MailboxConfigure {
        /// Whose mailbox.
        owner: Owner,
        /// Its name.
        mailbox: String,
        /// Whether conditional STOREs always compare the message's own mod-sequence.
        conflicts_by_message: Option<bool>,
        /// Whether each user has a `\Seen` of their own.
        private_seen: Option<bool>,
    },
    /// Changes an entry of a mailbox's access control list.
    MailboxSetAcl {
        /// Whose mailbox.
        owner: Owner,
        /// Its name.
        mailbox: String,
        /// Whom the entry is about, as in RFC 4314 §2.
        identifier: String,
        /// Rights as in SETACL; the entry goes without them.
        rights: Option<String>,
    },
    /// Lists mailboxes: a [`Reply::Mailbox`] each, and after it a [`Reply::Entry`] for each of its entries.
    MailboxList {
        /// Whose mailboxes.
        owner: Owner,
        /// This one only.
        mailbox: Option<String>,
    },
    /// Puts a user into a group, or takes them out.
    GroupMember {
        /// The group, with or without `$`.
        group: String,
        /// The user.
        user: String,
        /// Whether the user is to belong to it.
        member: bool,
    },
    /// Lists all groups: a [`Reply::Member`] for each member, group by group.
    GroupList,
    /// Changes an account's limits; what is not named stays.
    QuotaSet {
        /// Whose limits.
        owner: Owner,
        /// Octets of all messages.
        octets: Option<Limit>,
        /// Messages.
        messages: Option<Limit>,
        /// Mailboxes.
        mailboxes: Option<Limit>,
    },
    /// Tells what is used and what may be: a [`Reply::Quota`].
    QuotaShow {
        /// Whose; one for each account, without it.
        owner: Option<Owner>,
    },
    /// Takes messages: [`Item`]s follow, and a reply to each.
    Import {
        /// Whose they become.
        user: String,
    },
    /// Gives messages: a [`Reply::Message`] each.
    Export {
        /// Whose they are.
        user: String,
        /// One mailbox, or all.
        mailbox: Option<String>,
    },
}

/// Whose mailboxes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owner {
    /// Nobody's: those below `Shared/`.
    Shared,
    /// This user's.
    User(String),
}

/// A limit to be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    /// There is no limit.
    None,
    /// This much and no more.
    AtMost(u64),
}

/// How much of a resource is used and how much may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Used {
    /// What is used.
    pub(crate) used: u64,
    /// The limit, if there is one.
    pub(crate) limit: Option<u64>,
}

/// A mailbox as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// Its name in its owner's account.
    pub(crate) name: String,
    /// How many messages it has.
    pub(crate) messages: u32,
    /// Octets of its messages.
    pub(crate) octets: u64,
    /// Its special uses, backslash included.
    pub(crate) special_use: Vec<String>,
    /// Whether each user has a `\Seen` of their own.
    pub(crate) private_seen: bool,
    /// Whether conditional STOREs always compare the message's own mod-sequence.
    pub(crate) conflicts_by_message: bool,
}

/// An entry of an access control list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Whom it is about; with `-` before it, who loses the rights.
    pub(crate) identifier: String,
    /// The rights.
    pub(crate) rights: String,
}

/// One of the lines that follow [`Request::Import`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Item {
    /// A message; its octets follow the line.
    Message {
        /// Where it goes; made if it is not there.
        mailbox: String,
        /// Flags and keywords as IMAP writes them.
        flags: Vec<String>,
        /// When it arrived; now, if nothing is known.
        date: Option<Date>,
        /// How many octets follow.
        size: u64,
        /// What tells it from every other message of every source, in hex: it is taken once.
        key: String,
    },
    /// There are no more.
    End,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Reply {
    /// All that was asked for is done, and durable.
    Done,
    /// It is not done.
    Failed {
        /// What was wrong and what to do.
        why: String,
    },
    /// An account.
    User {
        /// Its name.
        name: String,
        /// Whether it is shut out.
        disabled: bool,
        /// Whether it may log in from the server's machine only.
        loopback_only: bool,
        /// Capabilities that are switched off for it.
        without: Vec<String>,
    },
    /// A mailbox.
    Mailbox(Listed),
    /// An entry of the access control list of the mailbox before.
    Entry(Entry),
    /// A member of a group.
    Member {
        /// The group, without `$`.
        group: String,
        /// The user.
        user: String,
    },
    /// What an account has stored, and how much it may.
    Quota {
        /// Whose.
        owner: Owner,
        /// Octets of all messages.
        octets: Used,
        /// Messages.
        messages: Used,
        /// Mailboxes.
        mailboxes: Used,
    },
    /// The messages up to here that had no reply yet are durable, or were taken in an earlier run.
    Taken {
        /// How many are new.
        stored: u64,
        /// How many were there already.
        present: u64,
    },
    /// One message was not taken.
    Refused {
        /// Which, counted from 0.
        index: u64,
        /// Why not.
        why: String,
    },
    /// A message; its octets follow the line.
    Message {
        /// Its mailbox.
        mailbox: String,
        /// Its number there.
        uid: u32,
        /// Its flags.
        flags: Vec<String>,
        /// When it arrived.
        date: Date,
        /// How many octets follow.
        size: u64,
    },
}

/// A moment with its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Date {
    /// Seconds since 1970.
    pub(crate) unix: i64,
    /// The zone's offset from UTC in minutes.
    pub(crate) zone: i16,
}

impl From<DateTime> for Date {
    fn from(date: DateTime) -> Self {
        Self { unix: date.unix, zone: date.zone_minutes }
    }
}

impl From<Date> for DateTime {
    fn from(date: Date) -> Self {
        Self { unix: date.unix, zone_minutes: date.zone }
    }
}

/// Reads one line; `None` at the end.
///
/// # Errors
/// When the line is too long or not what is expected.
pub(crate) async fn receive<T: DeserializeOwned>(
    input: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    input.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if !line.ends_with(b"\n") {
        return Err(wrong(format!("expected a line of at most {LINE_MAX} octets, ended by LF")));
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| wrong(error.to_string()))
}

/// Writes one line; it is sent with the next flush.
///
/// # Errors
/// When the other side is gone, or the line would be too long.
pub(crate) async fn send<T: Serialize>(
    output: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    if line.len() as u64 > LINE_MAX {
        return Err(io::Error::other("a name or a list of flags is too long to be sent"));
    }
    output.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_back_and_long_ones_are_refused() {
        let mut line = Vec::new();
        let reply = Reply::Refused { index: 7, why: "x\ny".into() };
        send(&mut line, &reply).await.unwrap();
        assert_eq!(line.iter().filter(|&&octet| octet == b'\n').count(), 1);
        let mut input = line.as_slice();
        assert_eq!(receive::<Reply>(&mut input).await.unwrap(), Some(reply));
        assert_eq!(receive::<Reply>(&mut input).await.unwrap(), None);
        let long = vec![b' '; 70_000];
        assert!(receive::<Reply>(&mut long.as_slice()).await.is_err());
        assert!(
            receive::<Reply>(&mut &b"{\"is\":\"failed\",\"why\":\"\",\"x\":1}\n"[..])
                .await
                .is_err()
        );
    }
}
