//! From a stream of octets to whole responses.
//!
//! # Invariants
//! - What is held never exceeds the limits, whatever is sent; nothing is held while nothing is half received.
//! - The same octets give the same responses however they are cut.
//! - Text for people holds no literals, whatever it ends in.
//! - A section that is handed on while it comes is never held: what is held does not grow with its size.
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

/// What [`ResponseFramer::next_part`] finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponsePart {
    /// A response without its CRLF, literals inside as they were sent. A section that was handed on before it stands in
    /// it as NIL.
    Whole(Bytes),
    /// A literal begins that is the value of a section, `BODY[…] {size}`; so many octets follow.
    SectionBegins(u64),
    /// Its next octets, never none.
    SectionOctets(Bytes),
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
    /// How much of a section that is handed on is still to come.
    section_left: u64,
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
            section_left: 0,
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

    /// How many octets are held: received and not handed on.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() + self.response.len()
    }

    /// The next response without its CRLF, literals inside as they were sent; `None` until more arrives.
    ///
    /// # Errors
    /// Once, when a limit is broken: the connection is of no use any more.
    #[expect(clippy::should_implement_trait, reason = "more responses may come after None")]
    pub fn next(&mut self) -> Option<Result<Bytes, DecodeError>> {
        loop {
            match self.next_part(false)? {
                Ok(ResponsePart::Whole(response)) => return Some(Ok(response)),
                // Of a section that began to be handed on: who does not want it any more passes over it.
                Ok(ResponsePart::SectionBegins(_) | ResponsePart::SectionOctets(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next response, or with `stream` the next part of the literal of a section in it, whatever that literal's
    /// size; `None` until more arrives. Parts come before the response that they are part of.
    ///
    /// # Errors
    /// As [`ResponseFramer::next`].
    pub fn next_part(&mut self, stream: bool) -> Option<Result<ResponsePart, DecodeError>> {
        loop {
            if self.dead {
                return None;
            }
            if self.section_left > 0 {
                return self.section().map(Ok);
            }
            if !self.literal() {
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
                let response = std::mem::take(&mut self.response);
                return Some(Ok(ResponsePart::Whole(response.into())));
            };
            if let Some(before) = line.get(..literal.at).filter(|text| stream && ends_section(text))
            {
                self.response.extend_from_slice(before);
                self.response.extend_from_slice(b"NIL");
                self.section_left = literal.size;
                return Some(Ok(ResponsePart::SectionBegins(literal.size)));
            }
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

    /// What has come of a section that is handed on.
    fn section(&mut self) -> Option<ResponsePart> {
        let octets = self.buffer.take(usize::try_from(self.section_left).unwrap_or(usize::MAX));
        self.section_left -= octets.len() as u64;
        (!octets.is_empty()).then(|| ResponsePart::SectionOctets(octets.freeze()))
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

/// Whether the text ends in `BODY[…] ` or `BODY[…]<n> `: the value of a section follows, and not a field's name or what
/// stands in a list.
fn ends_section(text: &[u8]) -> bool {
    let Some(name) = text.strip_suffix(b" ") else { return false };
    let whole = name.strip_suffix(b">").and_then(|name| {
        let open = name.iter().rposition(|b| *b == b'<')?;
        name.get(..open)
    });
    whole.unwrap_or(name).ends_with(b"]")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the octets are, cut into pieces of this size; and how much was held at most.
    fn parts(octets: &[u8], size: usize) -> (Vec<String>, usize) {
        let mut framer = ResponseFramer::new(ResponseLimits::default());
        let (mut parts, mut held) = (Vec::<String>::new(), 0);
        for piece in octets.chunks(size) {
            framer.push(piece);
            held = held.max(framer.held_bytes());
            while let Some(part) = framer.next_part(true) {
                match part.unwrap() {
                    ResponsePart::Whole(response) => {
                        parts.push(String::from_utf8_lossy(&response).into());
                    }
                    ResponsePart::SectionBegins(size) => parts.push(format!("{size}:")),
                    ResponsePart::SectionOctets(octets) => {
                        *parts.last_mut().unwrap() += &String::from_utf8_lossy(&octets);
                    }
                }
            }
        }
        (parts, held)
    }

    #[test]
    fn a_section_is_handed_on_and_what_is_around_it_stays_whole() {
        let octets = b"* 1 FETCH (UID 7 BODY[] {12}\r\n* 2 EXISTS\r\n FLAGS ())\r\n* 3 EXISTS\r\n\
            * 1 FETCH (BODY[1.2.MIME]<5> {0}\r\n UID 8)\r\n* 1 FETCH (ENVELOPE ({1}\r\nx) BODY[] \"y\")\r\n\
            * 1 FETCH (BODY[HEADER.FIELDS ({4}\r\nFrom)] {2}\r\nab)\r\n* OK BODY[] {9}\r\n";
        let expected = [
            "12:* 2 EXISTS\r\n",
            "* 1 FETCH (UID 7 BODY[] NIL FLAGS ())",
            "* 3 EXISTS",
            "0:",
            "* 1 FETCH (BODY[1.2.MIME]<5> NIL UID 8)",
            "* 1 FETCH (ENVELOPE ({1}\r\nx) BODY[] \"y\")",
            "2:ab",
            "* 1 FETCH (BODY[HEADER.FIELDS ({4}\r\nFrom)] NIL)",
            "* OK BODY[] {9}",
        ];
        for size in [1, 2, 7, octets.len()] {
            assert_eq!(parts(octets, size).0, expected, "cut every {size}");
        }
    }

    #[test]
    fn a_section_is_as_large_as_it_likes_and_little_is_held() {
        let size = 3 * ResponseLimits::default().literal_bytes_max;
        let mut octets = format!("* 1 FETCH (UID 7 BODY[] {{{size}}}\r\n").into_bytes();
        octets.resize(octets.len() + size, b'x');
        octets.extend_from_slice(b")\r\n");
        let (parts, held) = parts(&octets, 4096);
        assert_eq!(parts[0].len(), "201326592:".len() + size);
        assert!(held <= 4096 + 64, "{held}");
    }

    #[test]
    fn who_stops_listening_passes_over_the_rest() {
        let mut framer = ResponseFramer::new(ResponseLimits::default());
        framer.push(b"* 1 FETCH (UID 7 BODY[] {5}\r\nab");
        assert_eq!(framer.next_part(true), Some(Ok(ResponsePart::SectionBegins(5))));
        assert_eq!(framer.next(), None);
        framer.push(b"cde)\r\n");
        assert_eq!(framer.next().unwrap().unwrap().as_ref(), b"* 1 FETCH (UID 7 BODY[] NIL)");
        assert!(framer.is_idle());
    }
}
