//! LMTP: takes mail from the mail server and answers for each recipient.
//!
//! # Invariants
//! - 250 is said for a recipient only after the message is durable in that recipient's mailbox [H1].
//! - A message is spooled once for all recipients, and a connection that breaks leaves nothing.
//! - What follows DATA is always read to its end, whatever the answer will be.
//!
//! # Standards
//! RFC 2033, RFC 5321, RFC 1870, RFC 2034, RFC 3463 (enhanced codes).

mod deliver;

use std::sync::Arc;
use std::time::Duration;

use imap::lmtp::{self, Command, DotStream, LINE_BYTES_MAX, Mail, Refused};
use session::{Closed, Sink as _};
use store::{Error, Receiver};
use tokio::time::timeout;

use crate::context::Context;
use crate::doors;
use crate::wire::{Stream, Wire};

use deliver::Recipient;

/// How long a client may be silent (RFC 5321 §4.5.3.2.7).
const TIME_IDLE: Duration = Duration::from_secs(5 * 60);
/// Lines not understood after which the connection ends.
const BAD_LINES_MAX: u32 = 20;
/// The name that the server gives itself.
const NAME: &str = "highwater";

/// Holds the conversation from the greeting to its end.
pub(crate) async fn converse(context: Arc<Context>, stream: Stream, address: String) {
    let wire = Wire::new(stream, context.limits.time_to_write.0);
    let mut lmtp = Lmtp {
        context,
        wire,
        address,
        input: Vec::new(),
        client: None,
        mail: None,
        recipients: Vec::new(),
        bad_lines: 0,
    };
    lmtp.reply(220, "", "highwater LMTP is ready");
    if lmtp.run().await.is_ok() {
        lmtp.wire.finish().await;
    }
}

/// Says that there is no room, and why.
pub(crate) async fn refuse(stream: Stream, why: doors::Refused) {
    let mut wire = Wire::new(stream, Duration::from_secs(5));
    lmtp::reply(wire.buffer(), 421, "4.3.2", &why.to_string());
    wire.finish().await;
}

/// Whether the conversation goes on.
#[derive(PartialEq)]
enum Next {
    Go,
    End,
}

struct Lmtp {
    context: Arc<Context>,
    wire: Wire,
    address: String,
    /// Received and not used yet.
    input: Vec<u8>,
    client: Option<String>,
    mail: Option<Mail>,
    recipients: Vec<Recipient>,
    bad_lines: u32,
}

impl Lmtp {
    fn reply(&mut self, code: u16, enhanced: &str, text: &str) {
        lmtp::reply(self.wire.buffer(), code, enhanced, text);
    }

    fn refused(&mut self, refused: Refused) {
        self.reply(refused.code, refused.enhanced, refused.text);
    }

    async fn run(&mut self) -> Result<(), Closed> {
        loop {
            let Some(line) = self.line().await? else { return Ok(()) };
            match lmtp::command(&line) {
                Ok(command) => {
                    if self.obey(command).await? == Next::End {
                        return Ok(());
                    }
                }
                Err(refused) => {
                    self.refused(refused);
                    self.bad_lines += 1;
                    if self.bad_lines >= BAD_LINES_MAX {
                        self.reply(421, "4.7.0", "Too many commands that were not understood");
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The next line without its end; `None` when the conversation is over and said so.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Closed> {
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let rest = self.input.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.input, rest);
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Ok(self.fits(line.len()).then_some(line));
            }
            if !self.fits(self.input.len()) {
                return Ok(None);
            }
            // Only when nothing more of a pipeline is at hand (RFC 2920 §3.2).
            self.wire.flush().await?;
            let context = Arc::clone(&self.context);
            tokio::select! {
                biased;
                () = context.stopped() => {
                    self.reply(421, "4.3.2", "The server is shutting down, try again");
                    return Ok(None);
                }
                read = timeout(TIME_IDLE, self.wire.read()) => match read {
                    Ok(Ok(octets)) if !octets.is_empty() => self.input.extend_from_slice(&octets),
                    Ok(_) => return Err(Closed),
                    Err(_) => {
                        self.reply(421, "4.4.2", "Nothing was heard for too long");
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// Whether a line of this length is taken; if not, says so.
    fn fits(&mut self, len: usize) -> bool {
        if len > LINE_BYTES_MAX {
            self.reply(500, "5.5.2", "The line is too long");
        }
        len <= LINE_BYTES_MAX
    }

    async fn obey(&mut self, command: Command) -> Result<Next, Closed> {
        match command {
            Command::Lhlo(client) => {
                self.reset();
                self.client = Some(client);
                let size_max = self.context.limits.message.0;
                lmtp::lhlo_reply(self.wire.buffer(), NAME, size_max);
            }
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(mailbox) => self.rcpt(&mailbox).await,
            Command::Data => return self.data().await,
            Command::Rset => {
                self.reset();
                self.reply(250, "2.0.0", "Forgotten");
            }
            Command::Noop => self.reply(250, "2.0.0", "Here"),
            Command::Vrfy => self.reply(252, "2.5.2", "Say RCPT TO to find out"),
            Command::Quit => {
                self.reply(221, "2.0.0", "Goodbye");
                return Ok(Next::End);
            }
        }
        Ok(Next::Go)
    }

    fn reset(&mut self) {
        self.mail = None;
        self.recipients.clear();
    }

    fn mail(&mut self, mail: Mail) {
        let size_max = self.context.limits.message.0;
        if self.client.is_none() {
            self.reply(503, "5.5.1", "Say LHLO first");
        } else if self.mail.is_some() {
            self.reply(503, "5.5.1", "A sender was named already: say RSET to begin anew");
        } else if mail.size.is_some_and(|size| size > size_max) {
            let text = format!("The message is too large, {size_max} octets are taken at most");
            self.reply(552, "5.3.4", &text);
        } else {
            self.mail = Some(mail);
            self.reply(250, "2.1.0", "Go on");
        }
    }

    async fn rcpt(&mut self, mailbox: &lmtp::Mailbox) {
        if self.mail.is_none() {
            return self.reply(503, "5.5.1", "Say MAIL FROM first");
        }
        if self.recipients.len() >= self.context.limits.recipients.0 {
            return self.reply(452, "4.5.3", "Too many recipients, send the rest after these");
        }
        match deliver::find(&self.context.store, mailbox).await {
            Ok(recipient) => {
                self.recipients.push(recipient);
                self.reply(250, "2.1.5", "Go on");
            }
            Err(refused) => self.refused(refused),
        }
    }

    async fn data(&mut self) -> Result<Next, Closed> {
        if self.mail.is_some() && self.recipients.is_empty() {
            // RFC 2033 §4.2: no recipient was taken, so there is nobody to answer for.
            self.reply(503, "5.5.1", "No recipient was taken");
            return Ok(Next::Go);
        }
        let (Some(client), Some(mail)) = (self.client.clone(), self.mail.take()) else {
            self.reply(503, "5.5.1", "Say MAIL FROM and RCPT TO first");
            return Ok(Next::Go);
        };
        let recipients = std::mem::take(&mut self.recipients);
        self.reply(354, "", "Send the message, end with CRLF . CRLF");
        self.wire.flush().await?;
        let head = deliver::head(&mail, &client, &self.address, NAME, self.context.store.now());
        let spooled = self.spool(&head).await?;
        let store = self.context.store.clone();
        let replies = match spooled {
            Ok(receiver) => deliver::deliver(&store, receiver, &recipients).await,
            Err(refused) => vec![refused; recipients.len()],
        };
        for reply in replies {
            self.context.metrics.delivery(deliver::result(reply.code));
            self.refused(reply);
        }
        Ok(Next::Go)
    }

    /// Reads the message to its end; what comes after it is kept for the next line.
    async fn spool(&mut self, head: &[u8]) -> Result<Result<Receiver, Refused>, Closed> {
        let size_max = self.context.limits.message.0;
        let mut receiver = self.context.store.receive();
        let mut failed = match &mut receiver {
            Ok(receiver) => receiver.write(head).err(),
            Err(error) => Some(error.clone()),
        };
        let (mut dots, mut piece, mut len) = (DotStream::default(), Vec::new(), 0);
        loop {
            let input = std::mem::take(&mut self.input);
            let used = dots.take(&input, &mut piece);
            len += piece.len() as u64;
            if let (Ok(receiver), None, true) = (&mut receiver, &failed, len <= size_max) {
                failed = receiver.write(&piece).err();
            }
            piece.clear();
            if dots.is_done() {
                self.input.extend_from_slice(input.get(used..).unwrap_or_default());
                break;
            }
            match timeout(TIME_IDLE, self.wire.read()).await {
                Ok(Ok(octets)) if !octets.is_empty() => self.input = octets,
                _ => return Err(Closed),
            }
        }
        Ok(match (receiver, failed) {
            _ if len > size_max => Err(deliver::TOO_LARGE),
            (Ok(receiver), None) => Ok(receiver),
            (Err(error), _) | (_, Some(error)) => Err(refusal(&error)),
        })
    }
}

/// What a failure is to the mail server: to be tried again, unless somebody has decided it.
fn refusal(error: &Error) -> Refused {
    tracing::warn!(%error, "a message could not be taken");
    let refused = |code, enhanced, text| Refused { code, enhanced, text };
    match error {
        Error::Full(_) => refused(452, "4.3.1", "There is no room, try again later"),
        Error::Limit(_) | Error::OverQuota(_) => refused(452, "4.2.2", "The mailbox is full"),
        Error::NoPermission => refused(550, "5.7.1", "The mailbox takes no mail from everyone"),
        Error::ShuttingDown => refused(451, "4.3.2", "The server is shutting down, try again"),
        Error::NonExistent => refused(450, "4.2.0", "The mailbox changed meanwhile, try again"),
        _ => refused(451, "4.3.0", "The message could not be stored, try again later"),
    }
}
