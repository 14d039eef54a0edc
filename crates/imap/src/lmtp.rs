//! LMTP: command lines, replies, and the dot that ends a message.
//!
//! # Invariants
//! - Only CR LF . CR LF ends a message: a dot between bare LFs is data, so nothing can be smuggled past the
//!   sender's idea of where the message ends.
//! - Dot-stuffing is undone and nothing else is changed [H8].
//!
//! # Standards
//! RFC 2033, RFC 5321 §4.1 and §4.5.2, RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8),
//! RFC 2034 (enhanced status codes).

use std::io::Write;

/// The longest command line in octets, its end included (RFC 5321 §4.5.3.1.4, with room for parameters).
pub const LINE_BYTES_MAX: usize = 2048;

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `LHLO domain`
    Lhlo(String),
    /// `MAIL FROM:<…>`
    Mail(Mail),
    /// `RCPT TO:<…>`
    Rcpt(Mailbox),
    /// `DATA`
    Data,
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `VRFY`, whose argument is not looked at
    Vrfy,
    /// `QUIT`
    Quit,
}

/// The sender and what is said about the message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mail {
    /// The reverse path without brackets; empty for a bounce.
    pub sender: String,
    /// `SIZE=n`
    pub size: Option<u64>,
    /// `SMTPUTF8`
    pub utf8: bool,
}

/// A recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailbox {
    /// The part before the at sign, without quotes.
    pub local: String,
    /// The part behind it, if there is one.
    pub domain: Option<String>,
}

/// A reply that refuses a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The reply code.
    pub code: u16,
    /// The enhanced status code (RFC 3463).
    pub enhanced: &'static str,
    /// What was wrong.
    pub text: &'static str,
}

const fn refused(code: u16, enhanced: &'static str, text: &'static str) -> Refused {
    Refused { code, enhanced, text }
}

/// Parses one line without its CRLF.
///
/// # Errors
/// The reply that says what was wrong.
pub fn command(line: &[u8]) -> Result<Command, Refused> {
    let text =
        std::str::from_utf8(line).map_err(|_| refused(500, "5.5.2", "The command is not UTF-8"))?;
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim();
    let bare = |command: Command| {
        if argument.is_empty() {
            Ok(command)
        } else {
            Err(refused(501, "5.5.4", "This command takes no argument"))
        }
    };
    match verb.trim_end().to_ascii_uppercase().as_str() {
        "LHLO" if argument.is_empty() => Err(refused(501, "5.5.4", "LHLO needs the client's name")),
        "LHLO" => Ok(Command::Lhlo(argument.to_owned())),
        "HELO" | "EHLO" => Err(refused(500, "5.5.1", "This is LMTP: say LHLO")),
        "MAIL" => mail(argument).map(Command::Mail),
        "RCPT" => rcpt(argument).map(Command::Rcpt),
        "DATA" => bare(Command::Data),
        "RSET" => bare(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "QUIT" => bare(Command::Quit),
        _ => Err(refused(
            500,
            "5.5.1",
            "Unknown command: LHLO, MAIL, RCPT, DATA, RSET, NOOP, VRFY or QUIT",
        )),
    }
}

/// `"FROM:" reverse-path [SP mail-parameters]`
fn mail(argument: &str) -> Result<Mail, Refused> {
    let (path, parameters) = path(argument, "FROM:")?;
    let mut mail = Mail { sender: path.to_owned(), ..Mail::default() };
    for parameter in parameters.split_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_uppercase().as_str() {
            "SIZE" => {
                let size =
                    value.parse().map_err(|_| refused(501, "5.5.4", "SIZE needs a number"))?;
                mail.size = Some(size);
            }
            "BODY" if ["7BIT", "8BITMIME"].iter().any(|v| v.eq_ignore_ascii_case(value)) => {}
            "SMTPUTF8" if value.is_empty() => mail.utf8 = true,
            _ => return Err(refused(555, "5.5.4", "Unknown parameter: SIZE, BODY or SMTPUTF8")),
        }
    }
    Ok(mail)
}

/// `"TO:" forward-path`; no parameters, since DSN is not offered.
fn rcpt(argument: &str) -> Result<Mailbox, Refused> {
    let (path, parameters) = path(argument, "TO:")?;
    if !parameters.trim().is_empty() {
        return Err(refused(555, "5.5.4", "RCPT takes no parameters here"));
    }
    // An obsolete route, "@a,@b:", is to be ignored (RFC 5321 §4.1.1.3).
    let path = match path.split_once(':') {
        Some((route, rest)) if route.starts_with('@') => rest,
        _ => path,
    };
    let (local, domain) = match path.rsplit_once('@') {
        Some((local, domain)) => (local, Some(domain.to_owned())),
        None => (path, None),
    };
    let local = match local.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) {
        Some(quoted) => unescape(quoted),
        None => local.to_owned(),
    };
    if local.is_empty() || local.chars().any(char::is_control) {
        return Err(refused(501, "5.1.3", "The recipient needs a name"));
    }
    Ok(Mailbox { local, domain })
}

fn unescape(quoted: &str) -> String {
    let mut escaped = false;
    let keep = |ch: &char| {
        let is_escape = *ch == '\\' && !escaped;
        escaped = is_escape;
        !is_escape
    };
    quoted.chars().filter(keep).collect()
}

/// `keyword "<" path ">" [SP parameters]`; spaces behind the colon are let through.
fn path<'a>(argument: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Refused> {
    let wrong = refused(501, "5.5.4", "Say MAIL FROM:<address> or RCPT TO:<address>");
    let head = argument.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword));
    let rest = head.and(argument.get(keyword.len()..)).ok_or(wrong)?;
    let inner = rest.trim_start().strip_prefix('<').ok_or(wrong)?;
    let mut quoted = false;
    let mut escaped = false;
    let end = inner.find(|ch| {
        let closes = ch == '>' && !quoted;
        match ch {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        closes
    });
    let (path, rest) = inner.split_at(end.ok_or(wrong)?);
    let rest = rest.strip_prefix('>').unwrap_or_default();
    if path.chars().any(char::is_control) || !(rest.is_empty() || rest.starts_with(' ')) {
        return Err(wrong);
    }
    Ok((path, rest))
}

/// Writes a reply of one line; `enhanced` may be empty where none belongs (greeting, LHLO).
pub fn reply(out: &mut Vec<u8>, code: u16, enhanced: &str, text: &str) {
    let space = if enhanced.is_empty() { "" } else { " " };
    let text: String =
        text.chars().map(|ch| if (' '..='~').contains(&ch) { ch } else { '?' }).collect();
    let written = write!(out, "{code} {enhanced}{space}{text}\r\n");
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// Writes the reply to LHLO: the server's name and its extensions.
pub fn lhlo_reply(out: &mut Vec<u8>, name: &str, size_max: u64) {
    let written = write!(
        out,
        "250-{name}\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n\
         250-SMTPUTF8\r\n250 SIZE {size_max}\r\n"
    );
    debug_assert!(written.is_ok(), "writing to a Vec cannot fail");
}

/// Undoes dot-stuffing while a message streams in, and finds its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DotStream {
    /// At the begin of a line.
    #[default]
    LineStart,
    /// Behind a dot at the begin of a line, which has not been passed on.
    Dot,
    /// Behind such a dot and a CR.
    DotCr,
    /// Behind a CR.
    Cr,
    /// Inside a line.
    Line,
    /// Behind the end.
    Done,
}

impl DotStream {
    /// Passes octets on to `message`; answers how many were used. All of them, unless the end came first.
    pub fn take(&mut self, octets: &[u8], message: &mut Vec<u8>) -> usize {
        for (used, &octet) in octets.iter().enumerate() {
            if *self == Self::Done {
                return used;
            }
            self.octet(octet, message);
        }
        octets.len()
    }

    /// Whether the end has come.
    #[must_use]
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    fn octet(&mut self, octet: u8, message: &mut Vec<u8>) {
        match (*self, octet) {
            (Self::LineStart, b'.') => return *self = Self::Dot,
            (Self::Dot, b'\r') => return *self = Self::DotCr,
            (Self::DotCr, b'\n') => return *self = Self::Done,
            (Self::DotCr, _) => {
                message.push(b'\r');
                *self = Self::Cr;
            }
            _ => {}
        }
        message.push(octet);
        *self = match (*self, octet) {
            (Self::Cr, b'\n') => Self::LineStart,
            (_, b'\r') => Self::Cr,
            _ => Self::Line,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_what_is_wrong_with_them() {
        let Ok(Command::Mail(mail)) = command(b"mail from:<> SIZE=10 body=8bitmime SMTPUTF8")
        else {
            panic!()
        };
        assert_eq!((mail.sender.as_str(), mail.size, mail.utf8), ("", Some(10), true));
        let rcpt = |text: &str| match command(text.as_bytes()) {
            Ok(Command::Rcpt(to)) => Ok((to.local, to.domain)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.code),
        };
        let host = || Some("b".to_owned());
        assert_eq!(rcpt("RCPT TO:<a+x@b>"), Ok(("a+x".into(), host())));
        assert_eq!(rcpt("RCPT TO:<a>"), Ok(("a".into(), None)));
        assert_eq!(rcpt("RCPT TO:<@x,@y:a@b>"), Ok(("a".into(), host())));
        assert_eq!(rcpt("RCPT TO:<\"a>\\\"@\"@b>"), Ok(("a>\"@".into(), host())));
        assert_eq!(rcpt("RCPT TO:<>"), Err(501));
        assert_eq!(rcpt("RCPT TO:<a@b> NOTIFY=NEVER"), Err(555));
        assert_eq!(rcpt("RCPT TO:a@b"), Err(501));
        assert_eq!(rcpt("RCPT FROM:<a@b>"), Err(501));
        for (line, code) in [("EHLO x", 500), ("LHLO", 501), ("DATA x", 501), ("X", 500), ("", 500)]
        {
            assert_eq!(command(line.as_bytes()).unwrap_err().code, code, "{line}");
        }
        assert_eq!(command(b"\xff").unwrap_err().code, 500);
    }

    fn unstuffed(octets: &[u8], piece: usize) -> (Vec<u8>, usize) {
        let (mut stream, mut message, mut used) = (DotStream::default(), Vec::new(), 0);
        for part in octets.chunks(piece) {
            used += stream.take(part, &mut message);
            if stream.is_done() {
                break;
            }
        }
        assert!(stream.is_done(), "{}", String::from_utf8_lossy(octets));
        (message, used)
    }

    #[test]
    fn only_a_dot_between_crlfs_ends_a_message() {
        for (octets, message) in [
            (b"a\r\n.\r\n".as_slice(), b"a\r\n".as_slice()),
            (b".\r\n", b""),
            (b"..\r\n...x\r\n.\r\n", b".\r\n..x\r\n"),
            (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
            (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n"),
            (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
            (b"\0\xff\r\r\n.\r\n", b"\0\xff\r\r\n"),
        ] {
            for piece in [1, 2, 100] {
                assert_eq!(
                    unstuffed(octets, piece).0,
                    message,
                    "{}",
                    String::from_utf8_lossy(octets)
                );
            }
        }
        assert_eq!(unstuffed(b"x\r\n.\r\nQUIT\r\n", 100).1, 6, "what follows is left");
    }
}
