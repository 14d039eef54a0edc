//! From a recipient's address to a mailbox, and from a spooled message to its copies.
//!
//! # Invariants
//! - All recipients share one body; each has a delivery and an answer of its own, in the order of RCPT.
//! - Mail comes into a shared mailbox only while `anyone` has `p` there: RCPT looks, the writer decides. A shared
//!   mailbox that takes no mail is answered as one that is not there.
//!
//! # Standards
//! RFC 4314 §2.1 (`p`), RFC 5233 (the part behind `+`).

use imap::acl::Rights;
use imap::command::DateTime;
use imap::lmtp::{Mail, Mailbox, Refused};
use store::{AccountId, Change, Error, MailboxId, NewBody, NewMessage, Receiver, Store};
use time::OffsetDateTime;

use super::refusal;
use crate::auth::account_name;
use crate::auth::credentials::Record;

/// The message is longer than the limit.
pub(super) const TOO_LARGE: Refused =
    Refused { code: 552, enhanced: "5.3.4", text: "The message is too large" };
const UNKNOWN: Refused =
    Refused { code: 550, enhanced: "5.1.1", text: "There is no such user here" };
const DISABLED: Refused = Refused { code: 550, enhanced: "5.2.1", text: "This user takes no mail" };
/// The local part, before `+`, of the addresses of shared mailboxes, unless an account has this name.
const SHARED: &str = "shared";
const DELIVERED: Refused = Refused { code: 250, enhanced: "2.1.5", text: "Delivered" };

/// Who is to get the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Recipient {
    account: AccountId,
    /// The mailbox that the address names after `+`; always there for one below `Shared/`.
    detail: Option<String>,
}

/// What a metric calls this reply.
pub(super) fn result(code: u16) -> &'static str {
    match code {
        200..300 => "delivered",
        400..500 => "deferred",
        _ => "refused",
    }
}

/// Finds the account of an address: the whole address, the part before `@`, the part before `+`; or the shared
/// mailbox of `shared+NAME`.
pub(super) async fn find(store: &Store, to: &Mailbox) -> Result<Recipient, Refused> {
    let split = to.local.split_once('+').filter(|(user, _)| !user.is_empty());
    let mut names = Vec::new();
    for (local, detail) in
        [(to.local.as_str(), None), split.map_or(("", None), |(u, d)| (u, Some(d)))]
    {
        if let Some(domain) = &to.domain {
            names.push((format!("{local}@{domain}"), detail));
        }
        names.push((local.to_owned(), detail));
    }
    for (name, detail) in names {
        let Ok(name) = account_name(&name) else { continue };
        let row = store.account_row(&name).await.map_err(|error| refusal(&error))?;
        let Some(row) = row else { continue };
        if Record::decode(&row.record).is_some_and(|record| record.disabled) {
            return Err(DISABLED);
        }
        let detail = detail.filter(|detail| !detail.is_empty()).map(str::to_owned);
        return Ok(Recipient { account: row.id, detail });
    }
    match split.filter(|(local, _)| local.eq_ignore_ascii_case(SHARED)) {
        Some((_, name)) => find_shared(store, name).await,
        None => Err(UNKNOWN),
    }
}

/// The mailbox below `Shared/`, if everyone may send mail to it.
async fn find_shared(store: &Store, name: &str) -> Result<Recipient, Refused> {
    let state = store.directory().await.map_err(|error| refusal(&error))?.state();
    let takes_mail = state.mailbox(name).is_some_and(|entry| {
        entry.id.is_some() && entry.acl.rights_of_anyone().contains(Rights::POST)
    });
    let recipient = Recipient { account: AccountId::SHARED, detail: Some(name.to_owned()) };
    takes_mail.then_some(recipient).ok_or(UNKNOWN)
}

/// What is put before the message: the sender, and how it came here.
pub(super) fn head(mail: &Mail, client: &str, address: &str, server: &str, now: i64) -> Vec<u8> {
    let clean = |text: &str| text.replace(|c: char| c.is_control() || "()\\".contains(c), "?");
    let date = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (weekday, month) = (date.weekday().to_string(), date.month().to_string());
    let with = if mail.utf8 { "UTF8LMTP" } else { "LMTP" };
    format!(
        "Return-Path: <{}>\r\nReceived: from {} ({})\r\n\tby {server} with {with};\r\n\t{}, {} {} {} \
         {:02}:{:02}:{:02} +0000\r\n",
        mail.sender,
        clean(client),
        clean(address),
        weekday.get(..3).unwrap_or_default(),
        date.day(),
        month.get(..3).unwrap_or_default(),
        date.year(),
        date.hour(),
        date.minute(),
        date.second()
    )
    .into_bytes()
}

/// Delivers to each; answers the replies in the recipients' order.
pub(super) async fn deliver(
    store: &Store,
    receiver: Receiver,
    recipients: &[Recipient],
) -> Vec<Refused> {
    let body = match receiver.finish().await {
        Ok(body) => body,
        Err(error) => return vec![refusal(&error); recipients.len()],
    };
    // All are on their way before the first is awaited, so that they share a commit.
    let mut on_their_way = Vec::with_capacity(recipients.len());
    for (index, recipient) in recipients.iter().enumerate() {
        let first = recipients.iter().position(|other| other == recipient).unwrap_or(index);
        on_their_way.push(if first < index {
            Err(first)
        } else {
            Ok(append(store, recipient, &body).await)
        });
    }
    let mut replies: Vec<Refused> = Vec::with_capacity(recipients.len());
    for delivery in on_their_way {
        let reply = match delivery {
            Err(first) => replies.get(first).copied().unwrap_or(DELIVERED),
            Ok(Err(error)) => refusal(&error),
            Ok(Ok(pending)) => match pending.await {
                Ok(_) => DELIVERED,
                Err(error) => refusal(&error),
            },
        };
        replies.push(reply);
    }
    tracing::info!(octets = body.len(), recipients = recipients.len(), "a message was taken");
    replies
}

async fn append(
    store: &Store,
    recipient: &Recipient,
    body: &NewBody,
) -> Result<store::Pending, Error> {
    let mailbox = mailbox_of(store, recipient).await?;
    let is_shared = recipient.account == AccountId::SHARED;
    let internal_date = DateTime { unix: store.now(), zone_minutes: 0 };
    let message = NewMessage { body: body.clone(), flags: Vec::new(), internal_date };
    let messages = vec![message];
    Ok(store.submit(if is_shared {
        Change::Post { mailbox, messages }
    } else {
        Change::Append { mailbox, messages }
    }))
}

/// The mailbox that the detail names if there is one, else the user's INBOX.
async fn mailbox_of(store: &Store, recipient: &Recipient) -> Result<MailboxId, Error> {
    let account = store.account(recipient.account).await?;
    let state = account.state();
    // `Shared/` has no INBOX, so that a mailbox that is gone is none.
    let named = recipient.detail.as_deref().and_then(|name| state.mailbox(name)?.id);
    let inbox = || state.mailbox("INBOX").and_then(|entry| entry.id);
    named.or_else(inbox).ok_or(Error::NonExistent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_how_the_message_came() {
        let mail = Mail { sender: "a@b".into(), size: None, utf8: false };
        let head = head(&mail, "mx\r\nX: y", "127.0.0.1:9", "highwater", 86_400);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "Return-Path: <a@b>\r\nReceived: from mx??X: y (127.0.0.1:9)\r\n\tby highwater with LMTP;\r\n\
             \tFri, 2 Jan 1970 00:00:00 +0000\r\n"
        );
    }
}
