//! A connection in clear, until it is known whether TLS follows.
//!
//! # Invariants
//! - Nothing that came in clear behind STARTTLS is taken for what came by TLS.
//!
//! # Standards
//! RFC 3501 §6.2.1.

use super::READ_BYTES;
use crate::answer::Answer;
use crate::conversation::{Conversation, Ticket};
use crate::error::Error;
use imap::command::CommandBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection before STARTTLS: what was received behind its answer is not to be trusted.
pub(super) struct Plain {
    pub(super) core: Conversation,
    pub(super) tcp: TcpStream,
}

impl Plain {
    /// Waits for the greeting and for what the server can do.
    pub(super) async fn greeted(&mut self) -> Result<(), Error> {
        while self.core.greeting().is_none() {
            self.step().await?;
        }
        if let Some(text) = self.core.bye() {
            return Err(Error::Bye(text.to_owned()));
        }
        if self.core.capabilities().is_empty() {
            let ticket = self.core.submit(CommandBody::Capability)?;
            self.answer(ticket).await?.ok()?;
        }
        Ok(())
    }

    async fn answer(&mut self, ticket: Ticket) -> Result<Answer, Error> {
        loop {
            if let Some(answer) = self.core.take_answer(ticket) {
                return Ok(answer);
            }
            self.step().await?;
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        let output = self.core.take_output();
        self.tcp.write_all(&output).await?;
        let mut buffer = vec![0; READ_BYTES];
        let count = self.tcp.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        self.core.receive(buffer.get(..count).unwrap_or_default())
    }

    /// STARTTLS; fails when the server said anything in clear behind its answer, as somebody else may have.
    pub(super) async fn start_tls(mut self) -> Result<(Conversation, TcpStream), Error> {
        let ticket = self.core.submit(CommandBody::StartTls)?;
        self.answer(ticket).await?.ok()?;
        if !self.core.is_idle() {
            return Err(Error::Protocol("something was said between STARTTLS and TLS".into()));
        }
        Ok((self.core, self.tcp))
    }
}
