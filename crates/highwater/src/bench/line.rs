//! One client of a measured server: commands that were made before go out, what comes back is checked as it comes.
//!
//! # Invariants
//! - Only a tagged OK is success; a response that is none of IMAP's ends the measurement.

use client::raw::Raw;
use client::{Options, Place};

use super::Failed;
use super::scan::text;

/// Who logs in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The name.
    pub(crate) user: String,
    /// The password.
    pub(crate) password: String,
}

/// See the module.
pub(super) struct Line {
    pub(super) raw: Raw,
    tags: u64,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects, and takes the greeting.
    pub(super) async fn connect(place: &Place, options: &Options) -> Result<Self, Failed> {
        let mut raw = Raw::open(place, options).await?;
        let greeting = raw.response().await?;
        if !greeting.starts_with(b"* OK") {
            return Err(Failed::wrong(format!("the greeting is {}", text(greeting))));
        }
        Ok(Self { raw, tags: 0, buffer: Vec::new() })
    }

    /// Logs in with LOGIN.
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<(), Failed> {
        let command = format!("LOGIN {} {}", quoted(&login.user), quoted(&login.password));
        match self.ask(&command, |_| Ok(())).await? {
            (true, _) => Ok(()),
            (false, answer) => {
                Err(Failed::wrong(format!("LOGIN {} is answered {answer}", login.user)))
            }
        }
    }

    /// Sends a command that must be answered OK, and shows each untagged response to `each`; the answer's text.
    pub(super) async fn must(
        &mut self,
        command: &str,
        each: impl FnMut(&[u8]) -> Result<(), Failed>,
    ) -> Result<String, Failed> {
        match self.ask(command, each).await? {
            (true, answer) => Ok(answer),
            (false, answer) => Err(refused(command, &answer)),
        }
    }

    /// Likewise, without a look at what else comes.
    pub(super) async fn done(&mut self, command: &str) -> Result<String, Failed> {
        self.must(command, |_| Ok(())).await
    }

    /// Sends a command; whether it was answered OK, and the answer after its tag.
    pub(super) async fn ask(
        &mut self,
        command: &str,
        each: impl FnMut(&[u8]) -> Result<(), Failed>,
    ) -> Result<(bool, String), Failed> {
        let tag = self.tag();
        self.buffer.clear();
        self.buffer.extend_from_slice(tag.as_bytes());
        self.buffer.push(b' ');
        self.buffer.extend_from_slice(command.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
        self.raw.send(&self.buffer).await?;
        self.answer(&tag, each).await
    }

    /// A tag that was not used before on this connection.
    pub(super) fn tag(&mut self) -> String {
        self.tags += 1;
        format!("b{}", self.tags)
    }

    /// Waits for the answer to what was sent with this tag.
    pub(super) async fn answer(
        &mut self,
        tag: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), Failed>,
    ) -> Result<(bool, String), Failed> {
        loop {
            let response = self.raw.response().await?;
            if let Some(rest) = after_tag(response, tag) {
                return Ok((rest.starts_with(b"OK"), text(rest)));
            }
            if response.starts_with(b"* BYE") {
                return Err(Failed::wrong(format!("the server says goodbye: {}", text(response))));
            }
            if !response.starts_with(b"* ") {
                let awaited = format!("an answer to {tag} was awaited, and this came: ");
                return Err(Failed::wrong(awaited + &text(response)));
            }
            each(response)?;
        }
    }

    /// Waits for a continuation request; an answer instead of it is an error.
    pub(super) async fn continuation(&mut self) -> Result<(), Failed> {
        loop {
            let response = self.raw.response().await?;
            if response.starts_with(b"+") {
                return Ok(());
            }
            if !response.starts_with(b"* ") {
                let why = format!("a continuation was awaited, and this came: {}", text(response));
                return Err(Failed::wrong(why));
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub(super) async fn log_out(mut self) -> Result<(u64, u64), Failed> {
        let tag = self.tag();
        self.raw.send(format!("{tag} LOGOUT\r\n").as_bytes()).await?;
        loop {
            let response = self.raw.response().await?;
            if let Some(rest) = after_tag(response, &tag) {
                if rest.starts_with(b"OK") {
                    return Ok((self.raw.octets_sent(), self.raw.octets_received()));
                }
                return Err(refused("LOGOUT", &text(rest)));
            }
            if !response.starts_with(b"* ") {
                return Err(Failed::wrong(format!("LOGOUT is answered {}", text(response))));
            }
        }
    }
}

fn after_tag<'a>(response: &'a [u8], tag: &str) -> Option<&'a [u8]> {
    response.strip_prefix(tag.as_bytes())?.strip_prefix(b" ")
}

/// What a NO or BAD means for a measurement.
pub(super) fn refused(command: &str, answer: &str) -> Failed {
    let shown: String = command.chars().take(80).collect();
    Failed::wrong(format!("{shown} is answered {answer}"))
}

/// A string in quotes (RFC 3501 §9, `quoted`).
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
