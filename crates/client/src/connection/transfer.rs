//! Messages that are appended from a reader and fetched into a writer, and never held whole.
//!
//! # Invariants
//! - No more is read from either side than the other has taken.
//! - What was cut off is an error that says so, never a shorter message.
//!
//! # Standards
//! RFC 3501 §6.3.11 and §6.4.8, RFC 7888.

use super::{Connection, Until};
use crate::answer::Answer;
use crate::conversation::{Progress, Ticket};
use crate::error::Error;
use imap::command::{AppendHead, DateTime, FetchSection};
use imap::flag::Flag;
use imap::number::Uid;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How much of a message is read and sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

impl Connection {
    /// Adds a message of `size` octets, which are read from `message` while they are sent: exactly so many, the rest
    /// is left. Answers with APPENDUID where the server has UIDPLUS.
    ///
    /// ```no_run
    /// # async fn example(connection: &mut client::Connection) -> Result<(), Box<dyn std::error::Error>> {
    /// # use tokio::io::AsyncRead;
    /// # async fn open(_: &str) -> std::io::Result<(u64, Box<dyn AsyncRead + Unpin>)> { unreachable!() }
    /// let (size, mut file) = open("large.eml").await?;
    /// let answer = connection.append_from("Archive", &[], None, size, &mut file).await?;
    /// println!("it is {:?}", answer.append_uid());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Connection::run`]; [`Error::CutOff`] when the reader failed or ended early, or the connection broke before
    /// the last octet: the message was not added, and the connection is of no use any more. Nor is it when the future
    /// is dropped before it is done: [`Error::Unfinished`] says so to the next command.
    pub async fn append_from(
        &mut self,
        mailbox: &str,
        flags: &[Flag],
        internal_date: Option<DateTime>,
        size: u64,
        message: &mut (impl AsyncRead + Unpin),
    ) -> Result<Answer, Error> {
        self.begin()?;
        let head = AppendHead { first: None, flags: flags.to_vec(), internal_date };
        let ticket = self.core.submit_append_of(mailbox, &head, size)?;
        self.send_literal(ticket, message).await.map_err(|cause| match self.core.lacks() {
            Some(left) => Error::CutOff {
                appending: true,
                progress: Progress { done: size - left, of: size },
                cause: Box::new(cause),
            },
            // All octets are on their way: it may have been added or not.
            None => cause,
        })?;
        self.answer(ticket).await?.ok()
    }

    /// Sends a command up to the end of its message, or its refusal.
    async fn send_literal(
        &mut self,
        ticket: Ticket,
        message: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.core.lacks().is_some() {
            self.gather()?;
            if let Some(left) = self.core.wants(ticket).filter(|_| self.unsent.is_empty()) {
                let room = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let room = chunk.get_mut(..room).unwrap_or_default();
                let count = message.read(room).await.map_err(Error::Local)?;
                if count == 0 {
                    let why = "it ended before the length that was told";
                    return Err(Error::Local(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                }
                self.core.supply(ticket, room.get(..count).unwrap_or_default())?;
                continue;
            }
            self.not_gone()?;
            // The server may speak while it is sent to, and has to before a literal that it is asked about.
            let until = if self.unsent.is_empty() { Until::Received } else { Until::Sent };
            let turn = timeout(self.patience, self.turn(until));
            turn.await.map_err(|_| Error::TimedOut)??;
            while self.take_piece()? {
                self.core.end_bodies();
            }
        }
        Ok(())
    }

    /// Fetches a section of one message of the selected mailbox into `sink`, piece by piece as it comes: see
    /// [`whole_message`](crate::whole_message). Says how many octets there were; `None` when the server has no such message or part.
    ///
    /// What was written counts only when this has ended well. The sink is flushed then.
    ///
    /// ```no_run
    /// use client::imap::number::Uid;
    /// use client::whole_message;
    ///
    /// # async fn example(connection: &mut client::Connection, uid: Uid) -> Result<(), client::Error> {
    /// let mut sink = tokio::io::sink();
    /// match connection.fetch_body_to(uid, whole_message(), &mut sink).await? {
    ///     Some(octets) => println!("{octets} octets"),
    ///     None => println!("it is gone"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Connection::run`]; [`Error::CutOff`] when the sink failed, or the connection broke before the last octet.
    /// After the former the connection goes on: the rest is passed over, as it is when the future is dropped.
    pub async fn fetch_body_to(
        &mut self,
        uid: Uid,
        section: FetchSection,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Option<u64>, Error> {
        self.begin()?;
        self.core.end_bodies();
        let ticket = self.core.submit_body(uid, section)?;
        let answer = self.receive_body(ticket, sink).await;
        let progress = self.core.body_progress(ticket);
        let whole = self.core.end_body(ticket);
        answer
            .map_err(|cause| match progress {
                Progress { of: 0, .. } => cause,
                progress => Error::CutOff { appending: false, progress, cause: Box::new(cause) },
            })?
            .ok()?;
        if whole.is_none() && progress.done > 0 {
            let why = "a section came in a response that cannot be read";
            return Err(Error::Protocol(why.into()));
        }
        Ok(whole)
    }

    async fn receive_body(
        &mut self,
        ticket: Ticket,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Answer, Error> {
        loop {
            while let Some(octets) = self.core.take_body(ticket) {
                sink.write_all(&octets).await.map_err(Error::Local)?;
            }
            if let Some(answer) = self.core.take_answer(ticket) {
                sink.flush().await.map_err(Error::Local)?;
                return Ok(answer);
            }
            if !self.take_piece()? {
                self.not_gone()?;
                let turn = timeout(self.patience, self.turn(Until::Received));
                turn.await.map_err(|_| Error::TimedOut)??;
            }
        }
    }
}
