//! From a stream of octets to whole commands: lines, literals, and messages passed on as they arrive.
//!
//! The framer knows just enough grammar to find the ends of things. It holds a command's text and its short
//! literals; the message literals of APPEND go through in pieces.
//!
//! # Invariants
//! - What is held never exceeds the limits, whatever is sent; nothing is held while nothing is half received.
//! - The same octets give the same frames however they are cut.
//! - A line ends in LF; a CR before it belongs to the line's end, but a bare LF will do.
//!
//! # Standards
//! RFC 3501 §4.3 and §7.5 (literals), RFC 7888 (non-synchronising), RFC 3502 (MULTIAPPEND).

use crate::command::{AppendHead, Tag};
use crate::incoming::Incoming;
use crate::parse::{self, CommandError, Cursor, DecodeError};
use bytes::Bytes;

/// How much a client may send before something is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The text of one command, literals not counted [S-169].
    pub line_bytes_max: usize,
    /// One literal that is held.
    pub literal_bytes_max: usize,
    /// Text and held literals of one command.
    pub command_bytes_max: usize,
    /// The message literal of an APPEND; the framer passes the size on, the session refuses.
    pub message_bytes_max: u64,
    /// Literals in one command.
    pub literals_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            literal_bytes_max: 64 * 1024,
            command_bytes_max: 256 * 1024,
            message_bytes_max: 64 * 1024 * 1024,
            literals_max: 1000,
        }
    }
}

/// A message literal that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageStart {
    /// What stood before it.
    pub head: AppendHead,
    /// Its length in octets.
    pub size: u64,
    /// Whether the client waits for a continuation request.
    pub synchronising: bool,
    /// Whether it is a literal8, `~{n}` (RFC 3516).
    pub binary: bool,
}

/// What has been received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole command without its CRLF, literals inside as they were sent.
    Command(Bytes),
    /// The line asked for by [`Framer::expect_line`], without its CRLF.
    Line(Bytes),
    /// The client waits before it sends a held literal: send a continuation request.
    Continue,
    /// A message literal begins: call [`Framer::accept_message`] or [`Framer::refuse_message`].
    Message(MessageStart),
    /// The next octets of the message.
    MessageData(Bytes),
    /// The message is complete.
    MessageEnd,
    /// The APPEND is complete.
    AppendEnd,
    /// What follows a message is neither another one nor the end; the command has been swallowed.
    AppendBroken(DecodeError),
    /// A refused message, and the rest of its command, has been swallowed or will not come.
    MessageRefused,
    /// A command that breaks a limit. If `fatal`, what follows cannot be told apart: end the connection.
    Invalid {
        /// The tag, if it could be read.
        tag: Option<Tag>,
        /// What was wrong.
        error: DecodeError,
        /// Whether the connection must end.
        fatal: bool,
        /// What came of it, as far as it is within the limits: enough to know which command it was.
        text: Bytes,
    },
}

#[derive(Debug)]
enum State {
    /// Reading a command's text.
    Text,
    /// Collecting a held literal.
    Literal { left: usize },
    /// Waiting to be told what to do with a message.
    Undecided { size: u64, synchronising: bool },
    /// Passing a message on.
    Message { left: u64 },
    /// Reading what follows a message.
    BehindMessage,
    /// Swallowing the rest of a command, then giving the frame.
    Swallow { left: u64, then: Box<Frame> },
    /// Something to give before anything else is read.
    Give(Box<Frame>),
    /// Reading one line as it is.
    Raw,
    /// Nothing can be told apart any more.
    Dead,
}

/// The framer of one connection.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: Incoming,
    /// The command so far: text with its literals.
    command: Vec<u8>,
    /// How much of `command` is literals, and how many.
    literal_bytes: usize,
    literals: usize,
    state: State,
}

/// The most octets of an unwanted literal that are swallowed rather than ending the connection.
const SWALLOW_MAX: u64 = 128 * 1024 * 1024;
/// The longest announcement of a literal that is found at the end of a line that is being swallowed.
const ANNOUNCEMENT_MAX: usize = 64;
/// The longest piece of a message passed on at once.
const PIECE_MAX: usize = 64 * 1024;

/// What reading on came to.
enum Step {
    /// A frame.
    Give(Frame),
    /// Another state, to be read on from.
    Again,
    /// Nothing until more arrives.
    Wait,
}

/// A literal announced at the end of a line.
#[derive(Clone, Copy)]
pub(crate) struct Announced {
    /// Where the announcement begins.
    pub(crate) at: usize,
    pub(crate) size: u64,
    synchronising: bool,
    binary: bool,
}

impl Framer {
    /// A framer that has received nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Incoming::default(),
            command: Vec::new(),
            literal_bytes: 0,
            literals: 0,
            state: State::Text,
        }
    }

    /// Changes the limits, from the next command on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes octets as they were received.
    pub fn push(&mut self, octets: &[u8]) {
        if !matches!(self.state, State::Dead) {
            self.buffer.push(octets);
        }
    }

    /// The next line is to be given as it is: an answer to a SASL challenge, DONE.
    pub fn expect_line(&mut self) {
        self.state = State::Raw;
    }

    /// The message that was announced is wanted.
    pub fn accept_message(&mut self) {
        if let State::Undecided { size, .. } = self.state {
            self.state = State::Message { left: size };
        }
    }

    /// The message that was announced is not wanted, nor the rest of its command.
    pub fn refuse_message(&mut self) {
        if let State::Undecided { size, synchronising } = self.state {
            let announced = Announced { at: 0, size, synchronising, binary: false };
            self.swallow(announced, Frame::MessageRefused);
        }
    }

    /// Whether nothing is half received.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
            && self.command.is_empty()
            && matches!(self.state, State::Text | State::Raw)
    }

    /// Forgets what was received and not yet given: what was pipelined before TLS.
    pub fn discard_buffered(&mut self) {
        self.buffer.clear();
        self.reset_command();
        self.state = State::Text;
    }

    /// The next frame, or `None` until more arrives or a message is decided on.
    #[expect(clippy::should_implement_trait, reason = "more frames may come after None")]
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            match std::mem::replace(&mut self.state, State::Text) {
                State::Text => match self.text() {
                    Step::Give(frame) => return Some(frame),
                    Step::Wait => return None,
                    Step::Again => {}
                },
                State::Raw => match self.raw() {
                    Step::Give(frame) => return Some(frame),
                    Step::Wait => return None,
                    Step::Again => {}
                },
                State::Literal { left } => self.literal(left)?,
                State::Message { left } => return self.message(left),
                State::BehindMessage => match self.behind_message() {
                    Step::Give(frame) => return Some(frame),
                    Step::Wait => return None,
                    Step::Again => {}
                },
                State::Swallow { left, then } => self.swallow_on(left, then)?,
                State::Give(frame) => {
                    if matches!(*frame, Frame::Invalid { fatal: true, .. }) {
                        self.state = State::Dead;
                    }
                    return Some(*frame);
                }
                State::Undecided { size, synchronising } => {
                    self.state = State::Undecided { size, synchronising };
                    return None;
                }
                State::Dead => {
                    self.state = State::Dead;
                    self.buffer.clear();
                    return None;
                }
            }
        }
    }

    /// Whether the text before and the line, or as much of it as has come, break the limit.
    fn is_too_long(&self, before: usize, line: Option<&[u8]>) -> bool {
        let len = before + line.map_or(self.buffer.len(), <[u8]>::len);
        len > self.limits.line_bytes_max + b"\r\n".len()
    }

    fn reset_command(&mut self) {
        self.command = Vec::new();
        self.literal_bytes = 0;
        self.literals = 0;
    }

    fn text(&mut self) -> Step {
        let line = self.buffer.take_line();
        if self.is_too_long(self.command.len() - self.literal_bytes, line.as_deref()) {
            self.command.extend_from_slice(line.as_deref().unwrap_or(self.buffer.as_slice()));
            return Step::Give(self.fail("a shorter command", true));
        }
        let Some(line) = line else { return Step::Wait };
        let Some(announced) = announced_literal(&line) else {
            self.command.extend_from_slice(without_end(&line));
            let command = std::mem::take(&mut self.command);
            self.reset_command();
            return Step::Give(Frame::Command(command.into()));
        };
        if let Some(step) = self.message_literal(&line, announced) {
            return step;
        }
        self.command.extend_from_slice(&line);
        self.held_literal(announced)
    }

    /// Whether the line announces the message of an APPEND; an APPEND that is wrong before it is refused at once.
    fn message_literal(&mut self, line: &[u8], announced: Announced) -> Option<Step> {
        let start = if self.command.is_empty() { line } else { &self.command };
        let mailbox_at = append_arguments(start)?;
        let mut text = self.command.clone();
        text.extend_from_slice(line.get(..announced.at).unwrap_or_default());
        if text.len() == mailbox_at {
            return None;
        }
        self.reset_command();
        Some(match parse::append_head(&text, true) {
            Ok(head) => Step::Give(self.announce(head, announced)),
            Err(CommandError { tag, error }) => {
                let text = text.into();
                self.swallow(announced, Frame::Invalid { tag, error, fatal: false, text })
            }
        })
    }

    fn announce(&mut self, head: AppendHead, announced: Announced) -> Frame {
        let Announced { size, synchronising, binary, .. } = announced;
        self.state = State::Undecided { size, synchronising };
        Frame::Message(MessageStart { head, size, synchronising, binary })
    }

    /// Puts the state on what the literal needs: to be collected, after a continuation, or to be swallowed.
    fn held_literal(&mut self, announced: Announced) -> Step {
        self.literals += 1;
        let size = usize::try_from(announced.size).unwrap_or(usize::MAX);
        let too_large = size > self.limits.literal_bytes_max
            || self.command.len().saturating_add(size) > self.limits.command_bytes_max
            || self.literals > self.limits.literals_max
            || announced.binary;
        if !too_large {
            self.state = State::Literal { left: size };
            return if announced.synchronising { Step::Give(Frame::Continue) } else { Step::Again };
        }
        let invalid = self.fail("a shorter literal, or fewer", false);
        self.swallow(announced, invalid)
    }

    /// The command breaks a limit.
    fn fail(&mut self, expected: &'static str, fatal: bool) -> Frame {
        // How much more has come already must not show.
        let known = self.command.len().min(self.limits.line_bytes_max);
        self.command.truncate(known);
        let text = Bytes::from(std::mem::take(&mut self.command));
        let tag = parse::tag_of(&text);
        let error = DecodeError::new(known, expected);
        self.reset_command();
        if fatal {
            self.state = State::Dead;
        }
        Frame::Invalid { tag, error, fatal, text }
    }

    /// Puts the state on swallowing a literal and the rest of its command.
    fn swallow(&mut self, literal: Announced, then: Frame) -> Step {
        let then = Box::new(then);
        self.state = if literal.synchronising {
            // The client has not sent the literal and will not: the command is over.
            State::Give(then)
        } else if literal.size > SWALLOW_MAX {
            let (tag, text) = match *then {
                Frame::Invalid { tag, text, .. } => (tag, text),
                _ => (None, Bytes::new()),
            };
            let error = DecodeError::new(0, "a literal of at most 128 MiB");
            State::Give(Box::new(Frame::Invalid { tag, error, fatal: true, text }))
        } else {
            State::Swallow { left: literal.size, then }
        };
        Step::Again
    }

    fn swallow_on(&mut self, left: u64, then: Box<Frame>) -> Option<()> {
        let here = self.buffer.take(usize::try_from(left).unwrap_or(usize::MAX)).len();
        let left = left - here as u64;
        if left > 0 {
            self.state = State::Swallow { left, then };
            return None;
        }
        let Some(line) = self.buffer.take_line() else {
            // The end of the line is kept: it may announce a literal, which must not be taken for a command.
            self.buffer.skip_scanned(self.buffer.len().saturating_sub(ANNOUNCEMENT_MAX));
            self.state = State::Swallow { left: 0, then };
            return None;
        };
        match announced_literal(&line) {
            Some(next) => {
                self.swallow(next, *then);
            }
            None => self.state = State::Give(then),
        }
        Some(())
    }

    fn literal(&mut self, left: usize) -> Option<()> {
        let octets = self.buffer.take(left);
        self.command.extend_from_slice(&octets);
        let here = octets.len();
        self.literal_bytes += here;
        if here < left {
            self.state = State::Literal { left: left - here };
            return None;
        }
        Some(())
    }

    fn message(&mut self, left: u64) -> Option<Frame> {
        if left == 0 {
            self.state = State::BehindMessage;
            return Some(Frame::MessageEnd);
        }
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_MAX);
        let piece = self.buffer.take(wanted).freeze();
        self.state = State::Message { left: left - piece.len() as u64 };
        (!piece.is_empty()).then_some(Frame::MessageData(piece))
    }

    fn behind_message(&mut self) -> Step {
        let line = self.buffer.take_line();
        if self.is_too_long(0, line.as_deref()) {
            return Step::Give(self.fail("a shorter command", true));
        }
        let Some(line) = line else {
            self.state = State::BehindMessage;
            return Step::Wait;
        };
        let text = without_end(&line);
        if text.is_empty() {
            return Step::Give(Frame::AppendEnd);
        }
        let Some(announced) = announced_literal(&line) else {
            let error = DecodeError::new(0, "the end of the command or another message");
            return Step::Give(Frame::AppendBroken(error));
        };
        match parse::append_head(text.get(..announced.at).unwrap_or_default(), false) {
            Ok(head) => Step::Give(self.announce(head, announced)),
            Err(error) => self.swallow(announced, Frame::AppendBroken(error.error)),
        }
    }

    fn raw(&mut self) -> Step {
        let line = self.buffer.take_line();
        if self.is_too_long(0, line.as_deref()) {
            return Step::Give(self.fail("a shorter line", true));
        }
        let Some(line) = line else {
            self.state = State::Raw;
            return Step::Wait;
        };
        let frame = Frame::Line(Bytes::copy_from_slice(without_end(&line)));
        match announced_literal(&line).filter(|announced| !announced.synchronising) {
            // RFC 7888 §4: what was announced follows, and is no command.
            Some(announced) => self.swallow(announced, frame),
            None => Step::Give(frame),
        }
    }
}

pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The literal that the line ends in: `["~"] "{" number ["+"] "}"`.
///
/// A size beyond 63 bits counts as the greatest: it is refused, but what follows it is no command.
pub(crate) fn announced_literal(line: &[u8]) -> Option<Announced> {
    let inner = without_end(line).strip_suffix(b"}")?;
    let open = inner.iter().rposition(|b| *b == b'{')?;
    let digits = inner.get(open + 1..)?;
    let (digits, synchronising) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0_u64, |size, digit| {
        size.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(i64::MAX as u64)
    });
    let binary = open > 0 && inner.get(open - 1) == Some(&b'~');
    Some(Announced { at: open - usize::from(binary), size, synchronising, binary })
}

/// Where the arguments of an APPEND begin, if the text is one.
fn append_arguments(text: &[u8]) -> Option<usize> {
    let mut c = Cursor::new(text);
    let is_append = c.tag().is_ok() && c.take_word(" APPEND ");
    is_append.then(|| c.at())
}

#[cfg(test)]
mod tests;
