//! From a stream of octets to whole responses.
//!
//! # Invariants
//! - What is held never exceeds the limits, whatever is sent; nothing is held while nothing is half received.
//! - The same octets give the same responses however they are cut.
//! - Text for people holds no literals, whatever it ends in.
//!
//! # Standards
//! RFC 3501 §2.2.2 and §4.3, RFC 3516 (literal8).

use super::status_word;
use crate::frame::{announced_literal, without_end};
use crate::incoming::Incoming;
use crate::parse::DecodeError;
use bytes::Bytes;

/// How much a server may send in one response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseLimits {
    /// Its text, literals not counted.
    pub text_bytes_max: usize,
    /// One literal.
    pub literal_bytes_max: usize,
    /// Text and literals together.
    pub response_bytes_max: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 * 1024 * 1024,
            literal_bytes_max: 64 * 1024 * 1024,
            response_bytes_max: 128 * 1024 * 1024,
        }
    }
}

/// The framer of one connection to a server.
#[derive(Debug)]
pub struct ResponseFramer {
    limits: ResponseLimits,
    buffer: Incoming,
    /// The response so far, and how much of it is literals.
    response: Vec<u8>,
    literal_bytes: usize,
    /// How much of a literal is still to come.
    literal_left: usize,
    /// A limit was broken: what follows cannot be told apart.
    dead: bool,
}

impl ResponseFramer {
    /// A framer that has received nothing.
    #[must_use]
    pub fn new(limits: ResponseLimits) -> Self {
        Self {
            limits,
            buffer: Incoming::default(),
            response: Vec::new(),
            literal_bytes: 0,
            literal_left: 0,
            dead: false,
        }
    }

    /// Takes octets as they were received.
    pub fn push(&mut self, octets: &[u8]) {
        if !self.dead {
            self.buffer.push(octets);
        }
    }

    /// Whether nothing is half received.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.response.is_empty()
    }

    /// The next response without its CRLF, literals inside as they were sent; `None` until more arrives.
    ///
    /// # Errors
    /// Once, when a limit is broken: the connection is of no use any more.
    #[expect(clippy::should_implement_trait, reason = "more responses may come after None")]
    pub fn next(&mut self) -> Option<Result<Bytes, DecodeError>> {
        loop {
            if self.dead || !self.literal() {
                return None;
            }
            let line = self.buffer.take_line();
            let before = self.response.len() - self.literal_bytes;
            let more = line.as_ref().map_or(self.buffer.len(), |line| line.len());
            if before + more > self.limits.text_bytes_max.saturating_add(b"\r\n".len()) {
                return Some(Err(self.fail("a shorter response")));
            }
            let line = line?;
            let first = if self.response.is_empty() { &line } else { self.response.as_slice() };
            let literal = if is_for_people(first) { None } else { announced_literal(&line) };
            let Some(literal) = literal else {
                self.response.extend_from_slice(without_end(&line));
                self.literal_bytes = 0;
                return Some(Ok(std::mem::take(&mut self.response).into()));
            };
            self.response.extend_from_slice(&line);
            let size = usize::try_from(literal.size).unwrap_or(usize::MAX);
            if size > self.limits.literal_bytes_max
                || self.response.len().saturating_add(size) > self.limits.response_bytes_max
            {
                return Some(Err(self.fail("a shorter literal")));
            }
            self.literal_left = size;
        }
    }

    /// Takes what has come of a literal; whether it is whole.
    fn literal(&mut self) -> bool {
        if self.literal_left > 0 {
            let octets = self.buffer.take(self.literal_left);
            self.response.extend_from_slice(&octets);
            self.literal_bytes += octets.len();
            self.literal_left -= octets.len();
        }
        self.literal_left == 0
    }

    fn fail(&mut self, expected: &'static str) -> DecodeError {
        self.dead = true;
        self.buffer.clear();
        self.response = Vec::new();
        DecodeError::new(self.limits.text_bytes_max, expected)
    }
}

/// Whether the response that begins so is text for people: a status, tagged or not, or a continuation request.
fn is_for_people(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return true };
    let end = rest.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(rest.len());
    status_word(rest.get(..end).unwrap_or_default()).is_some()
}
