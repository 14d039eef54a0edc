//! Takes messages from files into an account, each once.
//!
//! # Invariants
//! - A reply says "taken" only after the messages are durable [H1].
//! - A batch is written to the journal before it is stored and settled after it: what was interrupted in
//!   between is looked for in the mailbox before anything else is taken.

use std::collections::HashMap;

use imap::command::DateTime;
use imap::flag::{Flag, Keyword, SystemFlag};
use ring::digest;
use store::{Account, AccountChange, Change, Error, Mailbox, NewBody, NewMessage, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, block_in_place};

use super::journal::{Entry, Intent, Journal, Key, key_in};
use super::mailbox::own_name;
use super::protocol::{Item, Reply, receive, send};
use super::{Admin, Failure, refused};

/// Messages in a batch.
const BATCH_MAX: usize = 200;
/// Octets in a batch.
const BATCH_OCTETS_MAX: u64 = 16 << 20;
/// Octets read at once.
const PIECE: usize = 64 * 1024;

impl Admin {
    /// Takes the messages that follow.
    pub(super) async fn import(
        &self,
        user: &str,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(), Failure> {
        let (_, row) = self.row(user).await?;
        let _alone = self.begin_import(row.id).ok_or_else(|| {
            refused(format!("another import for `{user}` is running: wait until it has ended"))
        })?;
        let journal = block_in_place(|| Journal::open(&self.data, row.id))
            .map_err(|error| refused(format!("the import journal cannot be read: {error}")))?;
        let account = self.store.account(row.id).await?;
        let mut importer = Importer {
            admin: self,
            account,
            journal,
            mailboxes: HashMap::new(),
            batch: Batch::default(),
            next: 0,
        };
        importer.settle().await?;
        importer.run(stream).await
    }
}

struct Importer<'a> {
    admin: &'a Admin,
    account: Account,
    journal: Journal,
    mailboxes: HashMap<String, Mailbox>,
    batch: Batch,
    /// The number of the next message.
    next: u64,
}

/// Messages on their way to one mailbox.
#[derive(Default)]
struct Batch {
    mailbox: Option<Mailbox>,
    waiting: Vec<Waiting>,
    octets: u64,
    present: u64,
}

struct Waiting {
    index: u64,
    entry: Entry,
    body: JoinHandle<Result<NewBody, Error>>,
    flags: Vec<Flag>,
    date: DateTime,
}

struct Head {
    mailbox: String,
    flags: Vec<Flag>,
    date: Option<DateTime>,
    size: u64,
    key: String,
}

impl Importer<'_> {
    async fn run(&mut self, stream: &mut BufStream<UnixStream>) -> Result<(), Failure> {
        loop {
            match receive::<Item>(stream).await? {
                Some(Item::Message { mailbox, flags, date, size, key }) => {
                    let flags = flags.iter().filter_map(|flag| parse_flag(flag)).collect();
                    let date = date.map(DateTime::from);
                    self.message(Head { mailbox, flags, date, size, key }, stream).await?;
                }
                Some(Item::End) => return self.flush(stream).await,
                None => {
                    // Cut off: what came whole is stored, so that the next run finds it done.
                    let nobody = &mut tokio::io::sink();
                    return self.flush(nobody).await;
                }
            }
        }
    }

    async fn message(
        &mut self,
        head: Head,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(), Failure> {
        let index = self.next;
        self.next += 1;
        if head.size > self.admin.message_max {
            swallow(stream, head.size).await?;
            let why = format!("the message is longer than {} octets", self.admin.message_max);
            send(stream, &Reply::Refused { index, why }).await?;
            return Ok(());
        }
        let mailbox = match self.mailbox(&head.mailbox).await {
            Ok(mailbox) => mailbox,
            Err(Failure::Refused(why)) => {
                swallow(stream, head.size).await?;
                send(stream, &Reply::Refused { index, why }).await?;
                return Ok(());
            }
            Err(gone) => return Err(gone),
        };
        if self.batch.mailbox.as_ref().is_some_and(|other| other.id() != mailbox.id()) {
            self.flush(stream).await?;
        }
        let uid_validity = mailbox.state().uid_validity().value();
        let key = key_in(mailbox.id(), uid_validity, &head.key);
        if self.journal.has(&key) || self.batch.waiting.iter().any(|other| other.entry.key == key) {
            swallow(stream, head.size).await?;
            self.batch.present += 1;
        } else {
            let waiting = self.take(index, key, head, stream).await?;
            self.batch.octets += waiting.1;
            self.batch.waiting.push(waiting.0);
            self.batch.mailbox = Some(mailbox);
        }
        let full = self.batch.waiting.len() >= BATCH_MAX || self.batch.octets >= BATCH_OCTETS_MAX;
        if full || self.batch.present >= BATCH_MAX as u64 {
            self.flush(stream).await?;
        }
        Ok(())
    }

    /// Spools one message; its sync goes on while the next one comes, so that a batch shares it.
    async fn take(
        &self,
        index: u64,
        key: Key,
        head: Head,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(Waiting, u64), Failure> {
        let mut receiver = self.admin.store.receive()?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut left = head.size;
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let space = piece.get_mut(..want).unwrap_or_default();
            stream.read_exact(space).await?;
            hash.update(space);
            receiver.write(space)?;
            left -= want as u64;
        }
        let entry = Entry { key, content: short(&hash.finish()) };
        let date = head.date.unwrap_or(DateTime { unix: self.admin.store.now(), zone_minutes: 0 });
        let body = tokio::spawn(receiver.finish());
        Ok((Waiting { index, entry, body, flags: head.flags, date }, head.size))
    }

    /// The mailbox of this name, made if it is not there.
    async fn mailbox(&mut self, name: &str) -> Result<Mailbox, Failure> {
        if let Some(mailbox) = self.mailboxes.get(name) {
            return Ok(mailbox.clone());
        }
        let canonical = own_name(name)?;
        let known = |account: &Account| account.state().mailbox(canonical).and_then(|e| e.id);
        let id = if let Some(id) = known(&self.account) {
            id
        } else {
            let change =
                AccountChange::Create { name: canonical.to_owned(), special_use: Vec::new() };
            match self.admin.store.submit_account(self.account.id(), change).await {
                Ok(_) | Err(Error::AlreadyExists) => {}
                Err(error) => return Err(error.into()),
            }
            known(&self.account).ok_or(Error::NonExistent)?
        };
        let mailbox = self.admin.store.mailbox(id).await?;
        self.mailboxes.insert(name.to_owned(), mailbox.clone());
        Ok(mailbox)
    }

    /// Stores the batch and says so.
    async fn flush(
        &mut self,
        output: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let mut stored = 0;
        if let Some(mailbox) = batch.mailbox {
            let mut messages = Vec::with_capacity(batch.waiting.len());
            for waiting in batch.waiting {
                let body = waiting.body.await.map_err(|error| refused(error.to_string()))??;
                let message =
                    NewMessage { body, flags: waiting.flags, internal_date: waiting.date };
                messages.push((waiting.index, waiting.entry, message));
            }
            stored = self.store(&mailbox, messages, output).await?;
        }
        if stored + batch.present > 0 {
            send(output, &Reply::Taken { stored, present: batch.present }).await?;
        }
        Ok(output.flush().await?)
    }

    /// Stores the messages together, or one by one when one of them can never be stored, or as many as the quota
    /// lets in.
    async fn store(
        &mut self,
        mailbox: &Mailbox,
        messages: Vec<(u64, Entry, NewMessage)>,
        output: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Result<u64, Failure> {
        let count = messages.len() as u64;
        match self.append(mailbox, &messages).await {
            Ok(()) => return Ok(count),
            Err(Error::Limit(_) | Error::Cannot(_) | Error::OverQuota(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stored = 0;
        for message in messages {
            let index = message.0;
            match self.append(mailbox, &[message]).await {
                Ok(()) => stored += 1,
                Err(error @ (Error::Limit(_) | Error::Cannot(_))) => {
                    send(output, &Reply::Refused { index, why: error.to_string() }).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(stored)
    }

    async fn append(
        &mut self,
        mailbox: &Mailbox,
        messages: &[(u64, Entry, NewMessage)],
    ) -> Result<(), Error> {
        let state = mailbox.state();
        let intent = Intent {
            mailbox: mailbox.id().number,
            uid_validity: state.uid_validity().value(),
            uid_next: state.uid_next(),
            entries: messages.iter().map(|(_, entry, _)| *entry).collect(),
        };
        let full = |error: std::io::Error| Error::Full(format!("the import journal: {error}"));
        block_in_place(|| self.journal.begin(intent)).map_err(full)?;
        let messages = messages.iter().map(|(_, _, message)| message.clone()).collect();
        let change = Change::Append { mailbox: mailbox.id(), messages };
        match self.admin.store.submit(change).await {
            Ok(Outcome::Appended(_)) => block_in_place(|| self.journal.end(true)).map_err(full),
            // Whether it was stored is unknown: the next import looks.
            Err(error @ (Error::Broken(_) | Error::ShuttingDown)) => Err(error),
            Err(error) => {
                block_in_place(|| self.journal.end(false)).map_err(full)?;
                Err(error)
            }
            Ok(_) => Err(Error::Broken("the store answered something else".into())),
        }
    }

    /// Finds out whether the batch that an earlier run was interrupted in is there.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Some(intent) = self.journal.unsettled().cloned() else { return Ok(()) };
        let stored = self.is_stored(&intent).await?;
        tracing::info!(stored, messages = intent.entries.len(), "an interrupted import is settled");
        block_in_place(|| self.journal.end(stored))
            .map_err(|error| refused(format!("the import journal cannot be written: {error}")))
    }

    /// Whether the batch's messages stand one after another at or behind the UIDNEXT of then.
    async fn is_stored(&self, intent: &Intent) -> Result<bool, Failure> {
        let id = store::MailboxId { account: self.account.id(), number: intent.mailbox };
        let mailbox = match self.admin.store.mailbox(id).await {
            Ok(mailbox) => mailbox,
            Err(Error::NonExistent) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let state = mailbox.state();
        if state.uid_validity().value() != intent.uid_validity {
            return Ok(false);
        }
        let later = imap::set::UidSet::from_ranges([(intent.uid_next, u32::MAX)]);
        let bodies: Vec<_> =
            state.tree().iter_uids(&later).map(|(_, message)| message.body).collect();
        let mut contents = Vec::with_capacity(bodies.len());
        for body in bodies {
            let body = self.admin.store.body(body).await?;
            contents.push(block_in_place(|| content(&self.admin.store, &body))?);
        }
        let wanted: Vec<_> = intent.entries.iter().map(|entry| entry.content).collect();
        Ok(!wanted.is_empty() && contents.windows(wanted.len()).any(|part| part == wanted))
    }
}

/// The hash of a stored message's octets.
fn content(store: &store::Store, body: &store::Body) -> Result<Key, Error> {
    let mut octets = Vec::new();
    store.read(body, 0..body.body.len, &mut octets)?;
    Ok(short(&digest::digest(&digest::SHA256, &octets)))
}

fn short(digest: &digest::Digest) -> Key {
    let mut key = [0; 16];
    key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn parse_flag(text: &str) -> Option<Flag> {
    let system = SystemFlag::ALL.into_iter().find(|flag| flag.as_str().eq_ignore_ascii_case(text));
    system.map(Flag::System).or_else(|| Keyword::new(text).map(Flag::Keyword))
}

/// Reads and forgets.
async fn swallow(stream: &mut BufStream<UnixStream>, size: u64) -> std::io::Result<()> {
    let copied = tokio::io::copy(&mut stream.take(size), &mut tokio::io::sink()).await?;
    if copied == size { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}
