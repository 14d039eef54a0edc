//! Gives an account's messages out, mailbox by mailbox.

use imap::set::UidSet;
use store::MailboxId;
use tokio::io::{AsyncWriteExt as _, BufStream};
use tokio::net::UnixStream;
use tokio::task::block_in_place;

use super::protocol::{Reply, send};
use super::{Admin, Failure, refused};

/// Octets read from the store at once.
const PIECE: u64 = 256 * 1024;
/// Messages whose whereabouts are looked up at once.
const LOOKED_UP_MAX: usize = 256;

impl Admin {
    /// Sends every message of the mailbox, or of all mailboxes.
    pub(super) async fn export(
        &self,
        user: &str,
        mailbox: Option<&str>,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(), Failure> {
        let (_, row) = self.row(user).await?;
        let state = self.store.account(row.id).await?.state();
        let chosen: Vec<(String, MailboxId)> = state
            .mailboxes()
            .filter(|(name, _)| mailbox.is_none_or(|wanted| wanted == *name))
            .filter_map(|(name, entry)| Some((name.to_owned(), entry.id?)))
            .collect();
        if let (Some(wanted), true) = (mailbox, chosen.is_empty()) {
            return Err(refused(format!("`{user}` has no mailbox `{wanted}`")));
        }
        for (name, id) in chosen {
            self.export_mailbox(&name, id, stream).await?;
        }
        Ok(())
    }

    async fn export_mailbox(
        &self,
        name: &str,
        id: MailboxId,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(), Failure> {
        let state = self.store.mailbox(id).await?.state();
        let mut after = 0;
        loop {
            let rest = UidSet::from_ranges([(after + 1, u32::MAX)]);
            let messages: Vec<_> = state
                .tree()
                .iter_uids(&rest)
                .take(LOOKED_UP_MAX)
                .map(|(_, message)| message.clone())
                .collect();
            let Some(last) = messages.last() else { return Ok(()) };
            after = last.uid.value();
            let ids: Vec<_> = messages.iter().map(|message| message.body).collect();
            let bodies = self.store.bodies(&ids).await?;
            for (message, body) in messages.iter().zip(bodies) {
                let flags = state.keywords().names_of(message.flags).map(str::to_owned).collect();
                let reply = Reply::Message {
                    mailbox: name.to_owned(),
                    uid: message.uid.value(),
                    flags,
                    date: message.internal_date.into(),
                    size: body.body.len,
                };
                send(stream, &reply).await?;
                let (mut from, mut piece) = (0, Vec::new());
                while from < body.body.len {
                    let to = body.body.len.min(from + PIECE);
                    piece.clear();
                    block_in_place(|| self.store.read(&body, from..to, &mut piece))?;
                    stream.write_all(&piece).await?;
                    from = to;
                }
            }
        }
    }
}
